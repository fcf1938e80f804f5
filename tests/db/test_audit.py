"""The audit log: every change has its entry, without secrets; what is changed, removed or moved in it is noticed."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, delete, select, text, update
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from db import (
    audit,
    bindings,
    isolation,
    networks,
    policies,
    pools,
    records,
    reservations,
    tenants,
    tokens,
    transport,
    users,
)
from db.audit import Actor
from db.changes import changes_since, rehearsal, transaction
from db.engine import create_engine, reading, writing
from db.images import canonical
from db.tables import AuditHead, AuditRow
from tests.db import steps
from tests.db.test_quotas import document

ADA = Actor("user", "ada", "192.0.2.7", "POST /api/v1/tenants")


def did(engine: Engine, act, *args, **more) -> None:  # type: ignore[no-untyped-def]
    with transaction(engine, actor=ADA) as tx:
        act(tx, *args, **more)


def entries(engine: Engine) -> list[dict]:  # type: ignore[type-arg]
    with reading(engine) as session:
        return [row.document() for row in audit.find(session, oldest_first=True, limit=1000).items]


def verified(engine: Engine) -> audit.Verified:
    with reading(engine) as session:
        return audit.verify(session)


@pytest.fixture
def told(engine: Engine) -> Engine:
    did(engine, tenants.create, "acme")
    did(engine, networks.create, "acme/web", subnets=["10.20.0.0/24"])
    did(engine, tenants.update, "acme", labels={"team": "web"})
    did(engine, networks.delete, "acme/web")
    return engine


def test_an_entry_says_who_what_and_from_what_to_what(told: Engine) -> None:
    tenant, _, network, label, gone = entries(told)
    assert tenant["actor"] == {"kind": "user", "name": "ada"} and tenant["address"] == "192.0.2.7"
    assert (tenant["noun"], tenant["op"], tenant["name"]) == ("tenant", "create", "acme")
    assert tenant["before"] is None and tenant["after"]["name"] == "acme"
    assert network["name"] == "acme/web" and network["tenant"] == "acme"
    assert network["after"]["subnets"] == ["10.20.0.0/24"]
    assert label["before"] == {"labels": {}, "version": 1} and label["after"] == {
        "labels": {"team": "web"},
        "version": 2,
    }
    assert gone["op"] == "delete" and gone["before"]["subnets"] == ["10.20.0.0/24"] and gone["after"] is None
    assert [entry["revision"] for entry in entries(told)] == [1, 1, 2, 3, 4]
    assert verified(told) == audit.Verified(5, gone["hash"], None)


def test_what_is_changed_beside_the_objects_is_there_too(engine: Engine) -> None:
    for name in ("acme", "beta"):
        did(engine, tenants.create, name)
    did(engine, isolation.peer, "acme", "beta")
    did(engine, isolation.join, "acme", "beta")
    did(engine, isolation.set_mode, "flat")
    did(engine, policies.apply, [document("one")])
    did(engine, policies.delete, "acme/one")
    found = {(one["noun"], one["op"]): one for one in entries(engine)}
    assert found["peering", "create"]["after"]["low"] == "acme"
    moved = found["network", "update"]
    assert moved["before"]["zone"] != moved["after"]["zone"]
    assert (found["cluster", "update"]["before"]["mode"], found["cluster", "update"]["after"]["mode"]) == (
        "multitenant",
        "flat",
    )
    assert found["policy", "delete"]["before"]["document"]["metadata"]["name"] == "one"
    assert verified(engine).problem is None


def test_addresses_names_and_tunnels_are_there(told: Engine) -> None:
    did(told, pools.create, "second", "10.200.0.0/16")
    did(told, pools.set_state, "second", "draining")
    did(told, networks.create, "acme/db", subnets=["10.21.0.0/24"])
    did(told, reservations.create, "acme/db", "db1", addresses=["10.21.0.9"])
    did(told, records.put, "acme/db", "db", ["10.21.0.9"])
    did(told, records.set_domain, "example.internal")
    did(told, transport.set_udp_ports, {"vxlan": 8472})
    pool, drained, _, reserved, record, domain, ports = entries(told)[5:]
    assert (pool["name"], drained["after"]["state"]) == ("second", "draining")
    assert (reserved["name"], reserved["before"], reserved["after"]) == (
        *("acme/db", {"reservations": []}, {"reservations": ["db1 10.21.0.9"]}),
    )
    assert (record["noun"], record["name"], record["tenant"]) == ("record", "acme/db/db", "acme")
    assert (domain["noun"], domain["after"]["domain"]) == ("dns", "example.internal")
    assert (ports["noun"], ports["after"]["tunnel_ports"]["vxlan"]) == ("cluster", 8472)
    assert verified(told).problem is None


def test_no_secret_and_no_hash_of_one_is_there(engine: Engine) -> None:
    with transaction(engine, actor=ADA) as tx:
        user = users.create(tx, "bob", "correct horse battery", role="admin")
        token, secret = tokens.create(tx, "admin", name="ci", user_id=user.id)
    did(engine, lambda tx: users.set_password(tx, users.get(tx.session, "bob"), "another password"))
    did(engine, lambda tx: tokens.revoke(tx, token.id))
    text = json.dumps(entries(engine))
    assert "correct horse" not in text and "another password" not in text and "argon2" not in text
    assert secret.rpartition("_")[2] not in text and token.hash not in text
    assert {(one["noun"], one["op"]) for one in entries(engine)} == {
        *(("user", "create"), ("binding", "create"), ("token", "create"), ("user", "update"), ("token", "delete")),
    }


def test_what_did_not_happen_is_not_there(engine: Engine) -> None:
    with pytest.raises(RuntimeError), transaction(engine, actor=ADA) as tx:
        tenants.create(tx, "acme")
        raise RuntimeError
    with rehearsal(engine) as tx:
        tenants.create(tx, "acme")
    steps.tenant(engine, "beta")  # nobody's
    did(engine, tenants.update, "beta", labels={})  # changes nothing
    assert entries(engine) == [] and verified(engine).problem is None


def unguard(session: Session) -> None:
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SET LOCAL session_replication_role = replica"))  # no trigger fires in this transaction
        return
    for name in session.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all():
        session.execute(text(f"DROP TRIGGER {name}"))


def spoil(engine: Engine, statement: object) -> str | None:
    with writing(engine) as session:
        unguard(session)
        session.execute(statement)  # type: ignore[call-overload]
    return verified(engine).problem


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET entry = '{}' WHERE number = 3",
        "UPDATE audit SET actor = 'user eve'",
        "DELETE FROM audit WHERE number = 5",
        "UPDATE audit_head SET number = 4",
        "DELETE FROM audit_head",
    ],
)
def test_the_database_refuses_to_change_the_log(told: Engine, statement: str) -> None:
    before = verified(told)
    with pytest.raises(DatabaseError, match="the audit log only grows"), writing(told) as session:
        session.execute(text(statement))
    assert verified(told) == before


_OTHER = "at, actor, noun, tenant, '{}', hash FROM audit WHERE number = 3"
_COLUMNS = "at, actor, noun, tenant, entry, hash"


@pytest.mark.parametrize(
    "statement",
    [
        f"INSERT OR REPLACE INTO audit (number, {_COLUMNS}) SELECT number, {_OTHER}",
        f"REPLACE INTO audit (rowid, number, {_COLUMNS}) SELECT rowid, 99, {_OTHER}",
        "INSERT OR REPLACE INTO audit_head SELECT id, 4, hash FROM audit_head",
        "UPDATE OR REPLACE audit SET number = 4 WHERE number = 3",
        f"INSERT INTO audit (number, {_COLUMNS}) SELECT number, {_OTHER} ON CONFLICT DO NOTHING",
    ],
)
def test_nor_is_an_entry_put_in_place_of_another(sqlite_url: str, statement: str) -> None:
    sqlite_engine = create_engine(sqlite_url)
    did(sqlite_engine, tenants.create, "acme")
    did(sqlite_engine, tenants.create, "beta")
    before = entries(sqlite_engine), verified(sqlite_engine)
    with pytest.raises(DatabaseError, match="the audit log only grows"), writing(sqlite_engine) as session:
        session.execute(text(statement))
    assert (entries(sqlite_engine), verified(sqlite_engine)) == before
    sqlite_engine.dispose()


def test_nor_is_an_entry_that_is_there_updated_instead(told: Engine) -> None:
    """In the words that both databases have."""
    statement = f"INSERT INTO audit (number, {_COLUMNS}) SELECT number, {_OTHER}"
    statement += " ON CONFLICT (number) DO UPDATE SET entry = excluded.entry"
    before = verified(told)
    with pytest.raises(DatabaseError, match="the audit log only grows"), writing(told) as session:
        session.execute(text(statement))
    assert verified(told) == before


@pytest.mark.parametrize("table", ["audit", "audit_head"])
def test_nor_can_it_be_emptied_at_once(postgresql_engine: Engine, table: str) -> None:
    did(postgresql_engine, tenants.create, "acme")
    with pytest.raises(DatabaseError, match="the audit log only grows"), writing(postgresql_engine) as session:
        session.execute(text(f"TRUNCATE {table}"))
    assert verified(postgresql_engine).entries == 2


def test_a_lost_head_and_an_entry_that_is_none_are_noticed(told: Engine) -> None:
    assert spoil(told, delete(AuditHead)) == "what was written last is noted nowhere any more"
    hash = audit.sha256(b"{}").hexdigest()
    forged = update(AuditRow).where(AuditRow.number == 2).values(entry="{}", hash=hash)
    assert spoil(told, forged) == "entry 2 was changed to what is none"


def test_a_changed_entry_is_noticed(told: Engine) -> None:
    with reading(told) as session:
        entry = session.execute(select(AuditRow.entry).where(AuditRow.number == 3)).scalar_one()
    forged = update(AuditRow).where(AuditRow.number == 3).values(entry=entry.replace("ada", "eve"))
    assert spoil(told, forged) == "entry 3 was changed"


def test_an_entry_that_is_filed_under_another_name_is_noticed(told: Engine) -> None:
    forged = update(AuditRow).where(AuditRow.number == 3).values(actor="user eve")
    assert spoil(told, forged) == "entry 3 is filed under what it does not say"


def test_a_changed_entry_with_a_new_hash_is_noticed(told: Engine) -> None:
    with reading(told) as session:
        entry = session.execute(select(AuditRow.entry).where(AuditRow.number == 3)).scalar_one()
    entry = entry.replace("192.0.2.7", "192.0.2.8")
    hash = audit.sha256(entry.encode()).hexdigest()
    forged = update(AuditRow).where(AuditRow.number == 3).values(entry=entry, hash=hash)
    assert spoil(told, forged) == "entry 4 does not follow entry 3: one of them was put there"


@pytest.mark.parametrize(("number", "problem"), [(1, "entry 1 is missing"), (3, "entry 3 is missing")])
def test_a_removed_entry_is_noticed(told: Engine, number: int, problem: str) -> None:
    assert spoil(told, delete(AuditRow).where(AuditRow.number == number)) == problem


def test_entries_taken_off_the_end_are_noticed(told: Engine) -> None:
    problem = spoil(told, delete(AuditRow).where(AuditRow.number >= 4))
    assert problem == "the log ends with entry 3, and 5 were written"


def test_two_entries_that_changed_places_are_noticed(told: Engine) -> None:
    with writing(told) as session:
        unguard(session)
        for step in ("number = -2 WHERE number = 2", "number = 2 WHERE number = 3", "number = 3 WHERE number = -2"):
            session.execute(text(f"UPDATE audit SET {step}"))
    assert verified(told).problem == "entry 2 was changed"


def test_a_log_is_verified_in_parts_as_it_is_at_once(told: Engine) -> None:
    def parts() -> list[audit.Verified]:
        with reading(told) as session:
            found = [audit.verify(session, most=2)]
            while found[-1].more:
                found.append(audit.verify(session, found[-1], most=2))
            return found

    whole, good = verified(told), parts()
    assert whole.problem is None and whole.entries > 4 and good[-1] == whole
    assert [one.entries for one in good[:-1]] == list(range(2, whole.entries, 2))
    for number in (1, 2, 3, whole.entries):
        with writing(told) as session:
            unguard(session)
            hash = session.execute(select(AuditRow.hash).where(AuditRow.number == number)).scalar_one()
            session.execute(update(AuditRow).where(AuditRow.number == number).values(hash="0" * 64))
        assert parts()[-1] == verified(told) and verified(told).problem == f"entry {number} was changed"
        with writing(told) as session:
            unguard(session)
            session.execute(update(AuditRow).where(AuditRow.number == number).values(hash=hash))
    with writing(told) as session:
        unguard(session)
        session.execute(delete(AuditRow).where(AuditRow.number > 2))
    assert parts()[-1] == verified(told)
    assert parts()[-1].problem == f"the log ends with entry 2, and {whole.entries} were written"


def test_entries_of_many_at_once_follow_each_other(engine: Engine) -> None:
    """Those that end with one object as those that end with several, or tell of what is no change."""

    def make(number: int) -> None:
        did(engine, tenants.create, f"t{number}")
        for step in range(3):
            with transaction(engine, actor=ADA._replace(name='ü "quoted" \\ %(x)s :x')) as tx:
                tenants.update(tx, f"t{number}", labels={"step": f"{step}"})
        with transaction(engine) as tx:
            tx.tell(audit.Told(ADA, "session", "create", "ada", {"method": "password"}))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(24)))
    with reading(engine) as session:
        found = audit.verify(session)
        assert found == audit.Verified(144, session.execute(select(AuditHead.hash)).scalar_one(), None)
        rows = session.execute(select(AuditRow)).scalars().all()
        assert all(row.entry == canonical(json.loads(row.entry)) for row in rows)
        logged = changes_since(session, 0) or []
    told = {json.loads(row.entry)["revision"] for row in rows if row.noun != "session"}
    assert sorted({one.revision for one in logged}) == list(range(1, 97)) == sorted(told)


def test_a_tenants_people_read_of_their_tenant_since_there_is_one(told: Engine) -> None:
    did(told, tenants.delete, "acme")
    did(told, tenants.create, "acme")
    did(told, tenants.create, "beta")
    with reading(told) as session:
        acme = tenants.get(session, "acme")
        seen = audit.find(session, tenants=[acme.id], oldest_first=True).items
        assert [(row.noun, row.tenant) for row in seen] == [("tenant", "acme"), ("network", "acme")]
        assert seen[0].number > 5
        assert audit.find(session, tenants=[]).items == []


def test_filters_and_pages(told: Engine) -> None:
    with transaction(told, actor=Actor("token", "ci")) as tx:
        bindings.grant(tx, "viewer", user=users.create(tx, "eve").name)
    with reading(told) as session:
        assert {row.noun for row in audit.find(session, actor="token ci").items} == {"user", "binding"}
        assert [row.noun for row in audit.find(session, noun="user").items] == ["user"]
        first = audit.find(session, limit=3)
        second = audit.find(session, limit=10, cursor=int(first.next or 0))
        assert [row.number for row in (*first.items, *second.items)] == [7, 6, 5, 4, 3, 2, 1]
        moment = first.items[0].at
        assert audit.find(session, until=moment).items[0].number == 5
        assert len(audit.find(session, since=moment).items) == 2
