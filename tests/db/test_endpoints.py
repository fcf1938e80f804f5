"""Attach and detach: what an endpoint gets, that asking twice is asking once, and that nothing is left behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine

from db import attachments, endpoints, hosts, networks, wanted
from db.changes import transaction
from db.engine import reading
from db.errors import Conflict, DomainError, Exhausted, Invalid, NotFound
from db.tables import Host
from tests.db import steps


@pytest.fixture
def h1(engine: Engine) -> Host:
    """A host, and the network acme/web with six addresses of IPv4 and many of IPv6."""
    steps.tenant(engine)
    steps.network(engine, "acme/web", "10.20.0.0/29", "fd00:20::/64")
    return steps.host(engine)


def test_an_endpoint_gets_an_address_of_each_family_and_a_mac_made_of_the_first(engine: Engine, h1: Host) -> None:
    web1 = steps.attach(engine, h1, "web1", netns="/run/netns/web1")
    assert web1._asdict() == {
        "id": web1.id,
        "name": "acme/web1",
        "network": "acme/web",
        "ofport": 100,
        "port_name": f"wrn{web1.id}",
        "mac": "02:00:0a:14:00:02",
        "addresses": ["10.20.0.2/29", "fd00:20::2/64"],
        "gateways": ["10.20.0.1", "fd00:20::1"],
        "mtu": 1450,
        "route_mtu": 1450,
        "container_id": "web1",
        "ifname": "eth0",
        "netns": "/run/netns/web1",
        "interface": "",
        "from_host": True,
        "dns": {
            "nameservers": ["10.20.0.1", "fd00:20::1"],
            "search": ["web.acme.warren.internal", "acme.warren.internal"],
        },
        "limits": {"ingress_rate": 0, "ingress_burst": 0, "egress_rate": 0, "egress_burst": 0},
    }


def test_what_attach_answers_is_what_the_database_says_later(engine: Engine, h1: Host) -> None:
    web1 = steps.attach(engine, h1, "web1")
    with reading(engine) as session:
        assert wanted.endpoint(session, web1.id) == attachments.find(session, h1.id, "web1", "eth0") == web1
        row = endpoints.get(session, "acme/web1")
        assert [str(address) for address in row.addresses] == web1.addresses
        assert (row.host.name, row.network.qualified_name, row.state) == ("h1", "acme/web", "pending")


def test_an_endpoint_of_an_ipv6_network_has_a_mac_of_its_own_kind(engine: Engine, h1: Host) -> None:
    steps.network(engine, "acme/six", "fd00:21::/64")
    assert steps.attach(engine, h1, "six", "acme/six").mac == "02:01:00:00:00:02"
    high = steps.attach(engine, h1, "high", "acme/six", addresses=["fd00:21::8000:0:0:9"])
    assert high.addresses == ["fd00:21::8000:0:0:9/64"] and high.mac == "02:01:00:00:00:09"
    low = steps.attach(engine, h1, "low", "acme/six", addresses=["fd00:21::9"])
    assert low.mac == "02:02:00:00:00:09"
    steps.detach(engine, h1, "high")
    assert steps.attach(engine, h1, "again", "acme/six", addresses=["fd00:21::8000:0:0:9"]).addresses == high.addresses


def test_an_address_of_ones_own_choice_may_be_of_one_family_only(engine: Engine, h1: Host) -> None:
    web1 = steps.attach(engine, h1, "web1", addresses=["10.20.0.5/29"])
    assert web1.addresses == ["10.20.0.5/29", "fd00:20::2/64"]
    both = steps.attach(engine, h1, "both", addresses=["fd00:20::99", "10.20.0.6"])
    assert both.addresses == ["10.20.0.6/29", "fd00:20::99/64"]


def test_asking_again_finds_the_same_endpoint_and_takes_no_revision(engine: Engine, h1: Host) -> None:
    asked: dict[str, Any] = {"labels": {"app": "web"}, "ports": [{"name": "http", "port": 80, "protocol": "tcp"}]}
    first = steps.attach(engine, h1, "web1", **asked)
    before, held = steps.revision(engine), steps.held(engine)
    with transaction(engine) as tx:
        again = attachments.attach(tx, h1.id, "web1", "eth0", network="acme/web", name="web1", **asked)
    assert again == (first, False)
    assert (tx.revision, steps.held(engine)) == (before, held)


def test_asking_again_after_someone_labelled_the_endpoint_still_finds_it(engine: Engine, h1: Host) -> None:
    first = steps.attach(engine, h1, "web1", labels={"app": "web"})
    with transaction(engine) as tx:
        endpoints.update(tx, "acme/web1", labels={"app": "shop"})
    assert steps.attach(engine, h1, "web1", labels={"app": "web"}) == first
    with reading(engine) as session:
        assert endpoints.get(session, "acme/web1").labels == {"app": "shop"}


def test_many_who_attach_the_same_interface_at_once_make_one_endpoint(engine: Engine, h1: Host) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: steps.attach(engine, h1, "web1"), range(8)))
    assert len(set(map(str, made))) == 1
    assert steps.held(engine)[:2] == (1, 2)


def test_32_who_attach_at_once_get_32_addresses_and_ofports(engine: Engine, h1: Host) -> None:
    steps.network(engine, "acme/big", "10.21.0.0/24")
    h2 = steps.host(engine, "h2", "198.18.0.12")
    with ThreadPoolExecutor(32) as threads:
        made = list(threads.map(lambda n: steps.attach(engine, (h1, h2)[n % 2], f"big{n}", "acme/big"), range(64)))
    assert len({endpoint.addresses[0] for endpoint in made}) == 64
    assert len({endpoint.mac for endpoint in made}) == 64
    assert sorted(endpoint.ofport for endpoint in made) == sorted([*range(100, 132)] * 2)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "other"}, "interface eth0 of container web1 on host h1 is attached already, as endpoint web1"),
        ({"labels": {"app": "db"}}, "is attached already"),
        ({"netns": "/run/netns/other"}, "is attached already"),
        ({"container_id": "c2"}, "endpoint acme/web1 exists already on host h1 (container web1, eth0); choose another"),
        ({"name": "web2", "container_id": "c2", "addresses": ["10.20.0.2"]}, "is endpoint acme/web1's"),
        ({"name": "web2", "container_id": "c2", "addresses": ["10.20.0.1"]}, "is the gateway's"),
        ({"name": "web2", "container_id": "c2", "mac": "02:42:00:00:00:01"}, "is endpoint acme/mac's"),
    ],
)
def test_what_collides_with_an_endpoint_is_refused(
    engine: Engine, h1: Host, change: dict[str, Any], sentence: str
) -> None:
    steps.attach(engine, h1, "web1")
    steps.attach(engine, h1, "mac", mac="02:42:00:00:00:01")
    before, held = steps.revision(engine), steps.held(engine)
    asked = {"container_id": "web1", "ifname": "eth0", "network": "acme/web", "name": "web1"} | change
    with pytest.raises(Conflict) as refused, transaction(engine) as tx:
        attachments.attach(tx, h1.id, **asked)
    assert sentence in str(refused.value) and refused.value.remedy
    assert (steps.revision(engine), steps.held(engine)) == (before, held)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"network": "acme/none"}, "there is no network acme/none; create it with `warren network create acme/none`"),
        ({"network": "none/web"}, "there is no tenant none"),
        ({"network": "web"}, "network name 'web' has no tenant; write TENANT/NAME"),
        ({"name": "Web_1"}, "endpoint name 'Web_1' is not a DNS label"),
        ({"name": "w" * 64}, "has 64 characters; use at most 63"),
        ({"addresses": ["rubbish"]}, "'rubbish' is not an address"),
        ({"addresses": ["fd00:20::9%x"]}, "'fd00:20::9%x' is not an address"),
        ({"addresses": ["10.99.0.1"]}, "address 10.99.0.1 is outside of network acme/web"),
        ({"addresses": ["10.20.0.0"]}, "is the network or broadcast address"),
        ({"addresses": ["10.20.0.7"]}, "is the network or broadcast address"),
        ({"addresses": ["10.20.0.3/24"]}, "has another prefix than subnet 10.20.0.0/29; write 10.20.0.3"),
        ({"addresses": ["10.20.0.3", "10.20.0.4"]}, "are both IPv4; an endpoint has one address of each family"),
        ({"mac": "rubbish"}, "'rubbish' is not a MAC address"),
        ({"mac": "00:00:00:00:00:00"}, "MAC 00:00:00:00:00:00 is nobody's address; write one like 02:42:"),
        ({"mac": "03:00:00:00:00:01"}, "is a multicast address"),
        ({"mac": "02:77:61:72:72:6e"}, "is the gateway's on every host"),
        ({"mac": "02:00:0a:14:00:06"}, "looks like one that Warren derives from an address"),
        ({"ports": [{"name": "http", "port": 0}]}, "port http has number 0; use 1 to 65535"),
        ({"ports": [{"name": "http", "port": 80, "protocol": "icmp"}]}, "port http has protocol 'icmp'"),
        ({"ports": [{"name": "a", "port": 1}, {"name": "a", "port": 2}]}, "port a is named twice"),
        ({"labels": {"a b": "c"}}, "label 'a b' is not a label name"),
        ({"ifname": "much-too-long-for-linux"}, "is not an interface name"),
        ({"container_id": ""}, "a container id has 1 to 128 printable characters"),
    ],
)
def test_an_attach_that_is_refused_leaves_nothing(
    engine: Engine, h1: Host, change: dict[str, Any], sentence: str
) -> None:
    before, held = steps.revision(engine), steps.held(engine)
    asked = {"container_id": "c1", "ifname": "eth0", "network": "acme/web", "name": "web1"} | change
    with pytest.raises(DomainError) as refused, transaction(engine) as tx:
        attachments.attach(tx, h1.id, **asked)
    assert sentence in str(refused.value) and refused.value.remedy
    assert isinstance(refused.value, Invalid | NotFound)
    assert (steps.revision(engine), steps.held(engine)) == (before, held)


def test_an_attach_that_breaks_off_leaves_nothing(engine: Engine, h1: Host) -> None:
    before, held = steps.revision(engine), steps.held(engine)
    with pytest.raises(KeyboardInterrupt), transaction(engine) as tx:
        attachments.attach(tx, h1.id, "c1", "eth0", network="acme/web", name="web1")
        raise KeyboardInterrupt
    assert (steps.revision(engine), steps.held(engine)) == (before, held)
    assert steps.attach(engine, h1, "web1").addresses[0] == "10.20.0.2/29"


def test_a_mac_may_be_asked_for_also_the_one_that_follows_from_the_address(engine: Engine, h1: Host) -> None:
    assert steps.attach(engine, h1, "web1", mac="02-42-0A-14-00-02").mac == "02:42:0a:14:00:02"
    own = steps.attach(engine, h1, "web2", mac="02:00:0a:14:00:05", addresses=["10.20.0.5"])
    assert own.mac == "02:00:0a:14:00:05"


def test_a_full_subnet_says_so_and_frees_nothing_by_it(engine: Engine, h1: Host) -> None:
    for number in range(5):
        steps.attach(engine, h1, f"web{number}")
    held = steps.held(engine)
    with pytest.raises(Exhausted) as refused:
        steps.attach(engine, h1, "web5")
    assert str(refused.value) == (
        "subnet 10.20.0.0/29 of network acme/web is full: all 6 are in use; remove endpoints or add a subnet"
    )
    assert steps.held(engine) == held


def test_an_address_freed_by_one_endpoint_is_not_handed_out_at_once(engine: Engine, h1: Host) -> None:
    gone = steps.attach(engine, h1, "web0")
    steps.detach(engine, h1, "web0")
    others = [steps.attach(engine, h1, f"web{number}") for number in range(1, 5)]
    assert gone.addresses[0] not in [endpoint.addresses[0] for endpoint in others]
    assert gone.ofport not in [endpoint.ofport for endpoint in others]
    with pytest.raises(Exhausted, match="1 freed a moment ago rest") as refused:
        steps.attach(engine, h1, "web5")
    assert refused.value.retry_after is not None and 0 < refused.value.retry_after <= 5


def test_detach_of_the_unknown_succeeds_and_takes_no_revision(engine: Engine, h1: Host) -> None:
    before = steps.revision(engine)
    with transaction(engine) as tx:
        assert attachments.detach(tx, h1.id, "nobody", "eth0") is None
    assert tx.revision == before


def test_500_cycles_leave_what_was_there_before(engine: Engine, h1: Host) -> None:
    steps.network(engine, "acme/big", "10.21.0.0/22", "fd00:21::/64")
    before = steps.held(engine)
    for number in range(500):
        steps.attach(engine, h1, f"web{number}", "acme/big")
        assert steps.detach(engine, h1, f"web{number}") is not None
    assert steps.held(engine) == before


def test_an_id_is_never_used_again(engine: Engine, h1: Host) -> None:
    first = steps.attach(engine, h1, "web1").id
    steps.detach(engine, h1, "web1")
    assert steps.attach(engine, h1, "web1").id > first


def test_endpoints_are_found_by_tenant_network_host_label_and_text(engine: Engine, h1: Host) -> None:
    h2 = steps.host(engine, "h2", "198.18.0.12")
    steps.tenant(engine, "beta")
    steps.network(engine, "acme/db", "10.21.0.0/24")
    steps.attach(engine, h1, "web1", labels={"app": "web", "example.org/tier": "1"})
    steps.attach(engine, h2, "web2", labels={"app": "web"})
    steps.attach(engine, h2, "db1", "acme/db", labels={"app": "db"})
    steps.attach(engine, h2, "web1b", "beta/default", labels={"app": "web"})

    def found(**which: Any) -> list[str]:
        with reading(engine) as session:
            return [endpoint.qualified_name for endpoint in endpoints.find(session, **which).items]

    assert found() == ["acme/db1", "acme/web1", "acme/web2", "beta/web1b"]
    assert found(tenant="acme", host="h2") == ["acme/db1", "acme/web2"]
    assert found(network="acme/web") == ["acme/web1", "acme/web2"]
    assert found(labels={"app": "web"}, tenant="acme") == ["acme/web1", "acme/web2"]
    assert found(labels={"app": "web", "example.org/tier": "1"}) == ["acme/web1"]
    assert found(text="web1") == ["acme/web1", "beta/web1b"]
    assert found(text="10.21.0.2") == ["acme/db1"] and found(text="%") == []
    assert found(cursor="name~acme/web1", limit=1) == ["acme/web2"]


def test_a_network_deleted_while_someone_attaches_is_kept_or_the_attach_is_refused(engine: Engine, h1: Host) -> None:
    def delete() -> bool:
        with transaction(engine) as tx:
            networks.delete(tx, "acme/web")
        return True

    def attach() -> bool:
        return bool(steps.attach(engine, h1, "web1"))

    def tried(act: Any) -> bool:
        try:
            return bool(act())
        except (Conflict, NotFound):
            return False

    with ThreadPoolExecutor(2) as threads:
        outcome = list(threads.map(tried, (delete, attach)))
    assert sum(outcome) == 1
    assert steps.held(engine)[0] == (1 if outcome[1] else 0)


def test_an_endpoint_may_be_removed_by_name(engine: Engine, h1: Host) -> None:
    before = steps.held(engine)
    steps.attach(engine, h1, "web1")
    with transaction(engine) as tx:
        endpoints.delete(tx, "acme/web1")
    assert steps.held(engine) == before
    with pytest.raises(NotFound, match="there is no endpoint acme/web1"), transaction(engine) as tx:
        endpoints.delete(tx, "acme/web1")


def test_a_host_with_endpoints_goes_only_by_force_and_frees_what_it_held(engine: Engine, h1: Host) -> None:
    before = steps.held(engine)
    h2 = steps.host(engine, "h2", "198.18.0.12")
    steps.attach(engine, h2, "web1")
    with pytest.raises(Conflict, match="host h2 has endpoints: acme/web1; remove them first, or use --force"):
        with transaction(engine) as tx:
            hosts.delete(tx, "h2")
    with transaction(engine) as tx:
        hosts.delete(tx, "h2", force=True)
    assert steps.held(engine) == before
    with reading(engine) as session:
        assert [host.name for host in hosts.find(session).items] == ["h1"]
