"""Address pools: where networks get a subnet from, in which order, and what may not be."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text

from db import endpoints, migrate, networks, pools, reservations
from db.changes import transaction
from db.engine import create_engine, reading, writing
from db.errors import Conflict, Exhausted, Invalid, NotFound
from tests.db import steps


def subnets(engine: Engine, name: str) -> list[str]:
    with reading(engine) as session:
        return [subnet.cidr for subnet in networks.get(session, name).subnets]


def state(engine: Engine, name: str, state: str) -> None:
    steps.do(engine, pools.set_state, name, state)


def only(engine: Engine, *cidrs: str, **options: int) -> None:
    """Pools p0, p1, ... and no other that is enabled."""
    for name in ("default", "default6"):
        state(engine, name, pools.DISABLED)
    for number, cidr in enumerate(cidrs):
        steps.do(engine, pools.create, f"p{number}", cidr, **options)


def test_pools_are_used_in_their_order_and_the_next_when_one_is_full(engine: Engine) -> None:
    only(engine, "10.99.0.0/23", "10.98.0.0/24")
    steps.tenant(engine)
    steps.network(engine, "acme/two"), steps.network(engine, "acme/three")
    found = [subnets(engine, f"acme/{name}") for name in ("default", "two", "three")]
    assert found == [["10.99.0.0/24"], ["10.99.1.0/24"], ["10.98.0.0/24"]]
    before = steps.held(engine)
    with pytest.raises(Exhausted, match=r"the cluster pools 10\.99\.0\.0/23, 10\.98\.0\.0/24 are all full"):
        steps.network(engine, "acme/four")
    assert steps.held(engine) == before


def test_a_single_pool_that_is_used_up_says_so(engine: Engine) -> None:
    only(engine, "10.99.0.0/24", prefix=25)
    steps.tenant(engine)
    steps.network(engine, "acme/web")
    with pytest.raises(Exhausted, match=r"the cluster pool 10\.99\.0\.0/24 is full: all 2 are in use; choose a subnet"):
        steps.network(engine, "acme/db")


def test_a_disabled_pool_gives_no_subnet_and_what_it_gave_goes_on(engine: Engine) -> None:
    h1 = steps.host(engine)
    steps.tenant(engine)
    state(engine, "default", pools.DISABLED)
    steps.network(engine, "acme/six")
    assert subnets(engine, "acme/six") == ["fd00:77:0:1::/64"]
    assert steps.attach(engine, h1, "web1", "acme/default").addresses == ["10.128.0.2/24", "fd00:77::2/64"]
    state(engine, "default6", pools.DISABLED)
    with pytest.raises(Conflict, match=r"acme/none: no pool is enabled; choose a subnet with --subnet"):
        steps.network(engine, "acme/none")
    state(engine, "default", pools.ENABLED)
    steps.network(engine, "acme/four")
    assert subnets(engine, "acme/four") == ["10.128.1.0/24"]


def test_a_draining_pool_gives_no_address_and_another_subnet_takes_over(engine: Engine) -> None:
    h1 = steps.host(engine)
    only(engine, "10.99.0.0/24", "10.98.0.0/24")
    steps.tenant(engine)
    steps.attach(engine, h1, "web1", "acme/default")
    state(engine, "p0", pools.DRAINING)
    for asked in ([], ["10.99.0.9"]):
        with pytest.raises(Conflict, match=r"subnet 10\.99\.0\.0/24 .* is from a pool that is being drained"):
            steps.attach(engine, h1, "web2", "acme/default", addresses=asked)
    steps.do(engine, reservations.create, "acme/default", "web1", addresses=["10.99.0.2"])  # which has it
    for asked in ([], ["10.99.0.9"]):
        with pytest.raises(Conflict, match=r"subnet 10\.99\.0\.0/24 .* is from a pool that is being drained"):
            steps.do(engine, reservations.create, "acme/default", "later", addresses=asked)
    with pytest.raises(Conflict, match=r"subnet 10\.99\.0\.0/24 .* is from a pool that is being drained"):
        steps.do(engine, endpoints.update, "acme/web1", allowed=[{"address": "10.99.0.9"}])
    steps.do(engine, networks.add_subnet, "acme/default", None)
    steps.do(engine, reservations.create, "acme/default", "later")
    assert steps.attach(engine, h1, "later", "acme/default").addresses == ["10.98.0.2/24"]
    assert steps.attach(engine, h1, "web2", "acme/default").addresses == ["10.98.0.3/24"]
    with pytest.raises(Conflict, match=r"subnet 10\.99\.0\.0/24 .* is in use by acme/web1"):
        steps.do(engine, networks.remove_subnet, "acme/default", "10.99.0.0/24")
    with pytest.raises(Conflict, match="pool p0 is in use by acme/default"):
        steps.do(engine, pools.delete, "p0")
    steps.detach(engine, h1, "web1")
    steps.do(engine, networks.remove_subnet, "acme/default", "10.99.0.0/24")
    steps.do(engine, pools.delete, "p0")
    with reading(engine) as session, pytest.raises(NotFound, match="there is no pool p0"):
        pools.get(session, "p0")


@pytest.mark.parametrize(
    ("cidr", "prefix", "sentence"),
    [
        ("10.129.0.0/16", None, "overlaps 10.128.0.0/14 of pool default"),
        ("10.20.0.0/16", None, "overlaps 10.20.0.0/24 of network acme/web"),
        ("10.99.0.0/25", None, "10.99.0.0/25 cannot be cut into subnets of /24; use /25 to /30"),
        ("10.0.0.0/24", 31, "use /24 to /30"),
        ("fd00::/72", None, "give another range"),
        ("fd00::/32", None, "give another range"),
        ("10.99.0.1/24", None, "did you mean 10.99.0.0/24?"),
        ("rubbish", None, "'rubbish' is not a range"),
        ("224.0.0.0/16", None, "which is multicast"),
    ],
)
def test_a_pool_that_cannot_be_is_refused(engine: Engine, cidr: str, prefix: int | None, sentence: str) -> None:
    steps.tenant(engine)
    steps.network(engine, "acme/web", "10.20.0.0/24", private=True)
    with pytest.raises((Invalid, Conflict)) as refused:
        steps.do(engine, pools.create, "new", cidr, prefix=prefix)
    assert sentence in str(refused.value)


def test_of_many_who_make_overlapping_pools_and_networks_at_once_one_succeeds(engine: Engine) -> None:
    steps.tenant(engine)

    def make(number: int) -> bool:
        try:
            if number % 2:
                steps.do(engine, pools.create, f"p{number}", "10.99.0.0/16")
            else:
                steps.network(engine, f"acme/n{number}", "10.99.7.0/24")
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(make, range(8))) == 1


def test_the_cluster_pool_of_an_older_database_becomes_the_first_pools(tmp_path: object) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/old.db")
    migrate.upgrade(engine, "0006")
    rows = (
        'UPDATE setting SET value = \'{"v4": "10.99.0.0/16", "v4_prefix": 26, "v6": null, "v6_prefix": 64}\' '
        "WHERE name = 'cluster_pool'",
        "INSERT INTO tenant (id, name, zone, labels, track_all, default_deny, version, created_at, updated_at) "
        "VALUES (7, 'acme', 7, '{}', FALSE, '[]', 1, '2026-01-01', '2026-01-01')",
        "INSERT INTO network (id, tenant_id, name, vni, zone, private, isolated, labels, version, created_at, "
        "updated_at) VALUES (3, 7, 'web', 30, 7, FALSE, FALSE, '{}', 1, '2026-01-01', '2026-01-01')",
        "INSERT INTO pool (id, kind, first, last, next, gaps, rest_seconds) VALUES (16, 'address', 1, 62, 3, FALSE, 5)",
        "INSERT INTO claim (pool_id, number) VALUES (4, 0), (16, 1)",
        "UPDATE pool SET next = 1, last = 1023 WHERE id = 4",
        "INSERT INTO subnet (id, network_id, family, cidr, low, high, gateway, pool_id, block) "
        "VALUES (1, 3, 4, '10.99.0.0/26', '0a630000', '0a63003f', '10.99.0.1', 16, 0)",
    )
    with writing(engine) as session:
        for row in rows:
            session.execute(text(row))
    migrate.upgrade(engine)
    migrate.check(engine)
    with reading(engine) as session:
        found = pools.find(session).items
        assert [(pool.name, pool.cidr, pool.prefix, pool.state) for pool in found] == [
            ("default", "10.99.0.0/16", 26, "enabled")
        ]
        assert networks.get(session, "acme/web").subnets[0].address_pool_id == found[0].id
    steps.network(engine, "acme/next")
    assert subnets(engine, "acme/next") == ["10.99.0.64/26"]
    with transaction(engine) as tx:
        networks.delete(tx, "acme/web")
    steps.do(engine, networks.delete, "acme/next")
    migrate.downgrade(engine, "0006")
    with reading(engine) as session:
        value = session.execute(text("SELECT value FROM setting WHERE name = 'cluster_pool'")).scalar_one()
    assert "10.99.0.0/16" in value
    migrate.upgrade(engine)
    migrate.check(engine)
    engine.dispose()
