"""Who takes a shared address over: what the controller writes down of what it hears."""

from __future__ import annotations

import pytest
from scapy.layers.l2 import ARP, Ether
from sqlalchemy import Engine

from controller.announcements import MOMENT_SECONDS, Announcements
from controller.openflow.decode import PacketIn
from controller.watch import first_world
from db import endpoints
from db.changes import transaction
from tests.db import steps

VIP = "10.20.0.100"


@pytest.fixture
def ears(engine: Engine) -> Announcements:
    """lb1 and lb2 on h1 share an address, which lb1 has."""
    steps.tenant(engine)
    steps.network(engine, "acme/web", "10.20.0.0/24")
    h1 = steps.host(engine)
    for name in ("lb1", "lb2"):
        steps.attach(engine, h1, name)
        with transaction(engine) as tx:
            endpoints.update(tx, f"acme/{name}", allowed=[{"address": VIP}])
    return Announcements(engine, first_world(engine))


def announcement(port: int) -> PacketIn:
    return PacketIn(0, {"in_port": port}, bytes(Ether() / ARP(op=1, psrc=VIP, pdst=VIP)))


def test_an_address_changes_hands_at_most_once_in_a_moment(engine: Engine, ears: Announcements) -> None:
    (host,) = first_world(engine).hosts
    assert ears.take(host, announcement(101), 100.0)
    before = steps.revision(engine)
    ears.follow(first_world(engine))
    assert not ears.take(host, announcement(101), 100.1), "it has it"
    assert not ears.take(host, announcement(100), 100.2), "too soon"
    assert not ears.take(host, announcement(77), 101.0), "nobody's port"
    assert steps.revision(engine) == before
    assert ears.take(host, announcement(100), 100.0 + MOMENT_SECONDS)
    assert steps.revision(engine) == before + 1
