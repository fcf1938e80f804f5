"""The state of all addresses: how full, what does not agree, and what is repaired."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import Engine, delete, event, select
from sqlalchemy.orm import Session

from db import allocate, endpoints, hosts, ipam, reservations
from db.changes import current_revision, transaction
from db.engine import reading, writing
from db.errors import Exhausted
from db.layout import Layout
from db.tables import Claim, Endpoint, Host, Subnet
from tests.db import steps


@pytest.fixture
def h1(engine: Engine) -> Host:
    steps.tenant(engine)
    steps.network(engine, "acme/web", "10.20.0.0/28", layout=Layout(excludes=["10.20.0.9"], aux={"lb": "10.20.0.8"}))
    h1 = steps.host(engine)
    report(engine, h1)
    return h1


def report(engine: Engine, host: Host, **more: Any) -> None:
    with writing(engine) as session:
        said = {"ports": {}, "missing": [], "gone": [], "strays": [], "revision": current_revision(session)}
        hosts.report(session, host.id, said | more, datetime.now(UTC))


def found(engine: Engine, seconds: float = 0) -> dict[str, str]:
    """Kind to subject."""
    with reading(engine) as session:
        return {one.kind: one.subject for one in ipam.check(session, datetime.now(UTC) + timedelta(seconds=seconds))}


def pools(session: Session) -> list[int]:
    return list(session.execute(select(Subnet.pool_id)).scalars())


def pool(engine: Engine) -> int:
    with reading(engine) as session:
        return session.execute(select(Subnet.pool_id).where(Subnet.cidr == "10.20.0.0/28")).scalar_one()


def test_where_all_is_well_nothing_differs(engine: Engine, h1: Host) -> None:
    steps.attach(engine, h1, "web1")
    with transaction(engine) as tx:
        reservations.create(tx, "acme/web", "db1")
    report(engine, h1)
    assert found(engine) == {}


def test_what_differs_is_named_and_repaired(engine: Engine, h1: Host) -> None:
    a, b = steps.attach(engine, h1, "a"), steps.attach(engine, h1, "b")
    steps.attach(engine, h1, "c")
    steps.network(engine, "acme/blocks", "10.30.0.0/24", layout=Layout(plan="per-host"))
    steps.attach(engine, h1, "d", "acme/blocks")
    steps.detach(engine, h1, "d")
    with transaction(engine) as tx:
        soon = tx.now + timedelta(milliseconds=1)
        reservations.create(tx, "acme/web", "old", addresses=["10.20.0.13"], expires_at=soon)
    with writing(engine) as session:
        assert allocate.claim_exact(session, pool(engine), 12)
        assert allocate.claim_exact(session, h1.pool_id, 4711)
        session.execute(delete(Claim).where(Claim.pool_id == pool(engine), Claim.number == 2))
    strays = [{"name": "eth9", "endpoint": None, "container_id": ""}]
    report(engine, h1, gone=[b.id], missing=[b.id], strays=strays)
    differences = {
        "claim-without-endpoint": "10.20.0.12",
        "endpoint-without-claim": "10.20.0.2",
        "ofport-without-endpoint": "h1:4711",
        "port-missing": "acme/b",
        "port-without-endpoint": "h1:eth9",
        "container-gone": "acme/b",
        "reservation-expired": "10.20.0.13",
        "block-empty": "10.30.0.0/26",
    }
    later = datetime.now(UTC) + timedelta(seconds=10)
    assert found(engine, 10) == differences
    with reading(engine) as session, patch("db.ipam._doubtful", lambda session, now: pools(session)):
        one_by_one = {one.kind: one.subject for one in ipam.check(session, later)}
    with patch("db.ipam.MOST_NAMED", 0):
        assert found(engine, 10) == differences
    assert one_by_one == differences, "what is looked at all at once is what is found one by one"
    with transaction(engine, later) as tx:
        repaired = {one.kind for one in ipam.collect(tx) if one.repair}
    assert repaired == differences.keys() - {"port-missing", "port-without-endpoint"}
    assert found(engine, 10) == {"port-without-endpoint": "h1:eth9"}
    with reading(engine) as session:
        assert session.execute(select(Endpoint.name).order_by(Endpoint.name)).scalars().all() == ["a", "c"]
    assert a.addresses == ["10.20.0.2/28"]


def test_what_changed_since_a_host_spoke_is_no_difference(engine: Engine, h1: Host) -> None:
    a = steps.attach(engine, h1, "a")
    stray = [{"name": a.port_name, "endpoint": a.id, "container_id": "a"}]
    report(engine, h1)
    steps.detach(engine, h1, "a")
    with reading(engine) as session:
        before = hosts.get(session, "h1").status.agent_report["revision"]
    report(engine, h1, strays=stray, revision=before)
    assert found(engine) == {}
    report(engine, h1, strays=stray)
    assert found(engine) == {"port-without-endpoint": f"h1:{a.port_name}"}


def test_a_container_that_came_back_since_its_host_spoke_is_not_gone(engine: Engine, h1: Host) -> None:
    a = steps.attach(engine, h1, "a", netns="/proc/7/ns/net")
    report(engine, h1, gone=[a.id], missing=[a.id])
    assert found(engine) == {"container-gone": "acme/a", "port-missing": "acme/a"}
    steps.attach(engine, h1, "a", netns="/proc/9/ns/net", move=True)
    assert found(engine) == {}
    with transaction(engine) as tx:
        assert ipam.collect(tx) == []
    report(engine, h1, gone=[a.id])
    assert found(engine) == {"container-gone": "acme/a"}


def test_a_host_that_is_silent_is_not_judged(engine: Engine, h1: Host) -> None:
    a = steps.attach(engine, h1, "a")
    report(engine, h1, gone=[a.id])
    assert found(engine, 60) == {"host-unheard": "h1"}
    with transaction(engine, datetime.now(UTC) + timedelta(seconds=60)) as tx:
        assert [one.repair for one in ipam.collect(tx)] == [""]
    report(engine, h1, gone=[a.id], revision=None)
    assert found(engine) == {"host-unheard": "h1"}


def test_nearly_full_is_said_before_it_is_full(engine: Engine, h1: Host) -> None:
    def said() -> list[str]:
        with reading(engine) as session:
            return ipam.warnings(session, datetime.now(UTC))

    for number in range(9):
        steps.attach(engine, h1, f"web{number}")
    assert said() == []
    steps.attach(engine, h1, "web9")
    assert said() == ["subnet 10.20.0.0/28 of network acme/web has 1 of 11 addresses left"]


def test_a_strict_network_says_that_other_hosts_get_no_block_before_that_is_so(engine: Engine, h1: Host) -> None:
    h2, h3 = steps.host(engine, "h2", "198.18.0.12"), steps.host(engine, "h3", "198.18.0.13")

    def said() -> list[str]:
        with reading(engine) as session:
            return ipam.warnings(session, datetime.now(UTC))

    strict = Layout(plan="per-host", block_sizes=[30], strict=True)
    steps.network(engine, "acme/strict", "10.71.0.0/29", layout=strict)
    steps.network(engine, "acme/lax", "10.72.0.0/29", layout=strict._replace(strict=False))
    assert said() == []
    for network in ("acme/strict", "acme/lax"):
        steps.attach(engine, h1, f"one-{network[5:]}", network)
    left = "subnet 10.71.0.0/29 of network acme/strict, which is strict, has {} of 2 blocks left for hosts without one"
    assert said() == [left.format(1)]
    for network in ("acme/strict", "acme/lax"):
        steps.attach(engine, h2, f"two-{network[5:]}", network)
    assert said() == [left.format(0)]
    with pytest.raises(Exhausted, match="has no block left for host h3, which has none; remove endpoints"):
        steps.attach(engine, h3, "three", "acme/strict")
    for number in range(2):
        steps.attach(engine, h2, f"more{number}", "acme/strict")
    with pytest.raises(Exhausted, match="has no block left for host h2, whose own are full"):
        steps.attach(engine, h2, "full", "acme/strict")


def test_a_declared_address_is_not_taken_for_a_leak(engine: Engine) -> None:
    h1 = steps.host(engine)
    steps.tenant(engine)
    steps.network(engine, "acme/web", "10.20.0.0/24")
    steps.attach(engine, h1, "web1")
    steps.do(engine, endpoints.update, "acme/web1", allowed=[{"address": "10.20.0.100"}])
    with reading(engine) as session:
        found = {one.kind for one in ipam.check(session, datetime.now(UTC))}
        assert found <= {"host-unheard"}


def test_a_check_takes_as_many_statements_however_many_subnets_agree(engine: Engine, h1: Host) -> None:
    def statements() -> int:
        asked: list[str] = []

        def heard(_connection: Any, _cursor: Any, text: str, *_rest: Any) -> None:
            asked.append(text)

        event.listen(engine, "before_cursor_execute", heard)
        assert found(engine) == {}
        event.remove(engine, "before_cursor_execute", heard)
        return len(asked)

    steps.attach(engine, h1, "web1")
    report(engine, h1)
    before = statements()
    for number in range(5):
        steps.network(
            engine, f"acme/more{number}", f"10.3{number}.0.0/24", layout=Layout(excludes=[f"10.3{number}.0.9"])
        )
        steps.attach(engine, h1, f"more{number}", f"acme/more{number}")
        with transaction(engine) as tx:
            reservations.create(tx, f"acme/more{number}", "kept")
    report(engine, h1)
    assert statements() == before
