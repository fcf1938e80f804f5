"""The hosts' own network: no endpoint may have an address there that hosts have routes to."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from db import controllers, hosts, networks, pools
from db.changes import transaction
from db.engine import reading, writing
from db.errors import CollidesElsewhere, Conflict
from db.tables import Host, utcnow
from tests.db import steps


def told(engine: Engine, host: Host, prefix: int | None = 24, *addresses: str) -> None:
    """What the host's agent reports."""
    underlay = {"interface": "eth0", "mtu": 1500, "prefix": prefix} if prefix else None
    report: dict[str, Any] = {"underlay": underlay, "addresses": list(addresses), "physical": ["dc"]}
    with writing(engine) as session:
        hosts.report(session, host.id, report, utcnow())


@pytest.fixture
def h1(engine: Engine) -> Host:
    host = steps.host(engine)  # 198.18.0.11
    steps.tenant(engine)
    told(engine, host, 24, "198.18.0.11", "172.17.0.1", "fd00:18::11")
    with writing(engine) as session:
        controllers.seen(session, "ctl1", "ssl:[fd00:19::1]:6653", 1, utcnow())
        controllers.seen(session, "ctl2", "tcp:198.18.9.1:6653", 1, utcnow())
    return host


@pytest.mark.parametrize(
    ("subnet", "whose"),
    [
        ("198.18.0.0/24", r"198\.18\.0\.0/24, the network of host h1 \(198\.18\.0\.11\)"),
        ("198.18.0.200/29", r"198\.18\.0\.0/24, the network of host h1"),
        ("198.18.0.0/16", r"198\.18\.0\.0/24, the network of host h1"),
        ("172.17.0.0/24", r"172\.17\.0\.1/32, an address of host h1"),
        ("fd00:18::/64", "fd00:18::11/128, an address of host h1"),
        ("fd00:19::/64", "fd00:19::1/128, the address of controller ctl1"),
        ("198.18.9.0/24", r"198\.18\.9\.1/32, the address of controller ctl2"),
    ],
)
def test_no_network_and_no_pool_has_what_is_in_the_hosts_own(engine: Engine, h1: Host, subnet: str, whose: str) -> None:
    steps.network(engine, "acme/web", "10.20.0.0/24")
    before = steps.held(engine)
    with pytest.raises(CollidesElsewhere, match=f"network acme/db: subnet {subnet} overlaps {whose}.*--private") as no:
        steps.network(engine, "acme/db", subnet)
    assert no.value.discreet == f"network acme/db: subnet {subnet} overlaps the hosts' own network"
    with pytest.raises(CollidesElsewhere, match=f"network acme/web: subnet {subnet} overlaps {whose}"):
        steps.do(engine, networks.add_subnet, "acme/web", subnet)
    with pytest.raises(CollidesElsewhere, match=f"pool more: {subnet} overlaps {whose}"):
        steps.do(engine, pools.create, "more", subnet, prefix=64 if ":" in subnet else 30)
    assert steps.held(engine) == before


def test_networks_that_no_host_has_routes_to_may(engine: Engine, h1: Host) -> None:
    steps.network(engine, "acme/hidden", "198.18.0.128/25", private=True)
    with transaction(engine) as tx:
        networks.create(tx, "acme/phys", subnets=["198.18.0.0/25"], carried_by="vlan", physical="dc", private=False)
    with pytest.raises(CollidesElsewhere, match=r"network acme/phys: subnet 198\.18\.0\.0/25 overlaps"):
        steps.do(engine, networks.update, "acme/phys", carried_by="vxlan")


def test_beside_the_hosts_own_there_is_room(engine: Engine, h1: Host) -> None:
    steps.network(engine, "acme/web", "198.18.1.0/24", "fd00:18:0:1::/64")
    told(engine, h1, None)
    steps.network(engine, "acme/db", "198.18.0.64/26")  # the agent says no prefix: only the address itself is known
    with pytest.raises(CollidesElsewhere, match=r"198\.18\.0\.11/32"):
        steps.network(engine, "acme/more", "198.18.0.0/28")


def test_a_pool_passes_over_what_hosts_have_got_since(engine: Engine, h1: Host) -> None:
    for name in ("default", "default6"):
        steps.do(engine, pools.set_state, name, pools.DISABLED)
    steps.do(engine, pools.create, "p", "10.99.0.0/22")
    told(engine, h1, 24, "10.99.0.7")
    steps.network(engine, "acme/web")
    told(engine, h1, 24)
    steps.network(engine, "acme/db")
    with reading(engine) as session:
        found = [networks.get(session, f"acme/{name}").subnets[0].cidr for name in ("web", "db")]
    assert found == ["10.99.1.0/24", "10.99.2.0/24"]
    before = steps.held(engine)
    told(engine, h1, 24, "10.99.0.7", "10.99.3.7")
    with pytest.raises(Conflict, match="is full"):
        steps.network(engine, "acme/none")
    assert steps.held(engine) == before


def test_a_host_gets_no_address_that_endpoints_may_have(engine: Engine, h1: Host) -> None:
    steps.network(engine, "acme/web", "10.20.0.0/24")
    steps.network(engine, "acme/hidden", "10.30.0.0/24", private=True)
    where = r"address 10\.20\.0\.9 of host h\d is in subnet 10\.20\.0\.0/24 of network acme/web"
    with pytest.raises(Conflict, match=where):
        steps.do(engine, hosts.create, "h2", address="10.20.0.9")
    with pytest.raises(Conflict, match=where):
        steps.host(engine, "h2", "10.20.0.9")
    with pytest.raises(Conflict, match=where):
        steps.do(engine, hosts.update, "h1", address="10.20.0.9")
    with pytest.raises(Conflict, match=r"is in 10\.128\.0\.0/14 of pool default.*`warren pool delete default`"):
        steps.do(engine, hosts.create, "h3", address="10.129.0.9")
    steps.do(engine, hosts.create, "h3", address="10.30.0.9")
    steps.do(engine, hosts.update, "h1", address="198.18.0.11", mtu=1400)
