"""What hosts counted, in the database: one row each, replaced whole, summed over endpoints of their own hosts only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, func, select

from db import hosts, networks, traffic
from db.changes import current_revision, transaction
from db.engine import reading, writing
from db.tables import HostTraffic
from db.traffic import Count, Total, Tunnel
from tests.db import steps

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def prepared(engine: Engine) -> tuple[list[int], list[int]]:
    """Hosts h1 and h2 with two endpoints each of network acme/web; the ids of both."""
    own = [steps.host(engine, name, f"198.18.0.{11 + at}") for at, name in enumerate(("h1", "h2"))]
    steps.tenant(engine, "acme")
    steps.network(engine, "acme/web", "10.20.0.0/24")
    ends = [steps.attach(engine, own[at // 2], f"web{at}", "acme/web").id for at in range(4)]
    return [host.id for host in own], ends


def test_the_newest_counters_are_kept_and_nothing_else(engine: Engine) -> None:
    (h1, h2), (one, two, three, _) = prepared(engine)
    with reading(engine) as session:
        before = current_revision(session)
    for at in range(3):
        with writing(engine) as session:
            counts = {str(one): [at, 100 * at, 0, 2 * at, 200 * at, 1], str(two): [10, 1000, 0, 0, 0, 0]}
            traffic.count(session, h1, counts, NOW + timedelta(seconds=at))
    with writing(engine) as session:
        # What another host says of an endpoint that is not there counts for nothing.
        traffic.count(session, h2, {str(three): [1, 10, 0, 1, 10, 0], str(one): [9, 9, 9, 9, 9, 9]}, NOW)
        assert session.execute(select(func.count()).select_from(HostTraffic)).scalar_one() == 2
    with reading(engine) as session:
        assert current_revision(session) == before
        of = traffic.of_endpoints
        assert of(session, [(one, h1)]) == Total(NOW + timedelta(seconds=2), Count(2, 200, 0), Count(4, 400, 1))
        its = networks.get(session, "acme/web").id
        whole = of(session, traffic.placed(session, network=its))
        assert whole == Total(NOW, Count(13, 1210, 0), Count(5, 410, 1))
        assert of(session, traffic.placed(session, host=h1))[1:] == (Count(12, 1200, 0), Count(4, 400, 1))
        assert of(session, []) == Total(None, Count(0, 0, 0), Count(0, 0, 0))


def test_tunnels_are_named_and_go_with_their_hosts(engine: Engine) -> None:
    (h1, h2), _ = prepared(engine)
    other = steps.host(engine, "h3", "198.18.0.13").id
    with writing(engine) as session:
        traffic.carry(session, {h1: {h2: (3, 300, 2, 200), other: (1, 100, 0, 0)}, h2: {h1: (2, 200, 3, 300)}})
    with reading(engine) as session:
        assert traffic.tunnels(session, "h1") == [Tunnel("h1", "h2", 3, 300, 2, 200), Tunnel("h1", "h3", 1, 100, 0, 0)]
        assert traffic.tunnels(session)[-1] == Tunnel("h2", "h1", 2, 200, 3, 300)
    with transaction(engine) as tx:
        hosts.delete(tx, "h3")
    with writing(engine) as session:
        traffic.carry(session, {other: {h1: (9, 9, 9, 9)}})  # a controller that has not heard of it yet
    with reading(engine) as session:
        assert [one.peer for one in traffic.tunnels(session, "h1")] == ["h2"]
        assert {one.host_id for one in traffic.latest(session)} == {h1, h2}
