"""Which networks are open to broadcasts, as the controller is told."""

from __future__ import annotations

from sqlalchemy import Engine

from controller import model
from db import networks, snapshot
from db.changes import transaction
from db.engine import reading
from tests.db import steps


def test_a_network_is_closed_to_broadcasts_until_it_is_opened(engine: Engine) -> None:
    steps.tenant(engine)

    def opened() -> dict[str, bool]:
        with reading(engine) as session:
            _, changes = snapshot.snapshot(session)
        found = (change.value for change in changes)
        return {value.name: value.broadcast for value in found if isinstance(value, model.Network)}

    with transaction(engine) as tx:
        networks.create(tx, "acme/web")
        networks.create(tx, "acme/cluster", broadcast=True)
    assert opened() == {"acme/default": False, "acme/web": False, "acme/cluster": True}
    with transaction(engine) as tx:
        networks.update(tx, "acme/web", broadcast=True)
        networks.update(tx, "acme/cluster", isolated=True)
    assert opened() == {"acme/default": False, "acme/web": True, "acme/cluster": True}
    with transaction(engine) as tx:
        networks.update(tx, "acme/cluster", broadcast=False)
    assert not opened()["acme/cluster"]
