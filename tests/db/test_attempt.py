"""A part of a transaction that is refused leaves nothing: no row, no revision, no entry of the audit log, no claim."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, func, select

from db import audit, hosts, tenants
from db.changes import Transaction, changes_since, rehearsal, transaction
from db.engine import reading
from db.errors import Conflict
from db.tables import Claim, Tenant
from tests.db import steps

BOSS = audit.Actor("user", "boss", "198.18.0.9", "POST /x")


def refused(tx: Transaction, name: str) -> None:
    """Makes much, and is refused at its end."""
    with pytest.raises(Conflict, match="exists already"), tx.attempt():
        tenants.create(tx, name)
        hosts.create(tx, f"host-of-{name}")
        tenants.update(tx, "acme", labels={"by": name})
        tenants.create(tx, "acme")


def test_what_is_refused_leaves_nothing_and_the_rest_stays(engine: Engine) -> None:
    with transaction(engine, actor=BOSS) as tx:
        tenants.create(tx, "acme")
        before, claims = tx.recorded, _claims(tx)
        refused(tx, "beta")
        assert (tx.recorded, _claims(tx)) == (before, claims)
        with tx.attempt():
            tenants.create(tx, "gamma")
        assert tx.recorded > before
        refused(tx, "delta")
    with reading(engine) as session:
        assert set(session.execute(select(Tenant.name)).scalars()) == {"acme", "gamma"}
        assert tenants.get(session, "acme").labels == {}
        tenants_changed = [one for one in changes_since(session, tx.revision - 1) or () if one.noun == "tenant"]
        assert len(tenants_changed) == 2
        said = {(one["noun"], one["name"]) for one in (row.document() for row in audit.find(session, limit=100).items)}
        assert ("tenant", "gamma") in said and not any("beta" in name or "delta" in name for _, name in said)
    assert steps.tenant(engine, "beta").name == "beta"


def test_it_can_be_tried_in_a_rehearsal(engine: Engine) -> None:
    steps.tenant(engine)
    with rehearsal(engine) as tx:
        refused(tx, "beta")
        with tx.attempt():
            tenants.create(tx, "gamma")
        seen = set(tx.session.execute(select(Tenant.name)).scalars())
    assert seen == {"acme", "gamma"}
    with reading(engine) as session:
        assert set(session.execute(select(Tenant.name)).scalars()) == {"acme"}


def _claims(tx: Transaction) -> int:
    return int(tx.session.execute(select(func.count()).select_from(Claim)).scalar_one())
