"""Tenants and networks: whose addresses may overlap whose, what is freed, and what is refused with which words."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from controller.pipeline.packet import MESH, TRANSIT
from controller.pipeline.resolver import ASKERS
from db import networks, subnetting, tenants, transport, wanted
from db.addressing import parse_subnet
from db.changes import Transaction, current_revision, transaction
from db.engine import reading
from db.errors import Conflict, Invalid, NotFound, StaleVersion
from db.layout import Layout
from tests.db import steps


def subnets(engine: Engine, name: str) -> list[str]:
    with reading(engine) as session:
        return [subnet.cidr for subnet in networks.get(session, name).subnets]


def test_a_tenant_has_a_network_called_default_with_both_families(engine: Engine) -> None:
    acme, beta = steps.tenant(engine, "acme"), steps.tenant(engine, "beta")
    assert (acme.id, beta.id) == (1, 2)
    assert subnets(engine, "acme/default") == ["10.128.0.0/24", "fd00:77::/64"]
    assert subnets(engine, "beta/default") == ["10.128.1.0/24", "fd00:77:0:1::/64"]


def test_a_tenants_networks_share_its_zone_unless_isolated(engine: Engine) -> None:
    acme, beta = steps.tenant(engine, "acme"), steps.tenant(engine, "beta")
    web, alone = steps.network(engine, "acme/web"), steps.network(engine, "acme/alone", isolated=True)
    assert web.zone == acme.zone
    assert alone.zone not in (acme.zone, beta.zone)
    assert web.vni != alone.vni


def test_no_two_networks_of_two_tenants_overlap(engine: Engine) -> None:
    steps.tenant(engine, "acme"), steps.tenant(engine, "beta")
    steps.network(engine, "beta/db", "10.20.0.0/16")
    with pytest.raises(Conflict) as refused:
        steps.network(engine, "acme/web", "10.20.0.0/24")
    assert str(refused.value) == (
        "network acme/web: subnet 10.20.0.0/24 overlaps 10.20.0.0/16 of network beta/db; "
        "choose another subnet or create it with --private"
    )


@pytest.mark.parametrize("second", ["10.20.0.0/16", "10.0.0.0/9", "10.20.128.0/17", "10.20.7.0/30"])
def test_a_tenants_own_networks_never_overlap_private_or_not(engine: Engine, second: str) -> None:
    steps.tenant(engine)
    steps.network(engine, "acme/one", "10.20.0.0/16", private=True)
    for private in (False, True):
        with pytest.raises(Conflict, match=r"overlaps 10\.20\.0\.0/16 of network acme/one; choose another subnet$"):
            steps.network(engine, "acme/two", second, private=private)


def test_private_networks_of_two_tenants_may_have_the_same_addresses(engine: Engine) -> None:
    h1 = steps.host(engine)
    for name in ("acme", "beta"):
        steps.tenant(engine, name)
        steps.network(engine, f"{name}/lan", "192.168.0.0/24", "fd00:1::/64", private=True)
    a = steps.attach(engine, h1, "a", "acme/lan", addresses=["192.168.0.9"])
    b = steps.attach(engine, h1, "b", "beta/lan", addresses=["192.168.0.9"])
    assert a.addresses[0] == b.addresses[0] == "192.168.0.9/24"
    assert a.mac == b.mac and a.ofport != b.ofport


def test_a_public_network_may_lie_over_someone_elses_private_one(engine: Engine) -> None:
    steps.tenant(engine, "acme"), steps.tenant(engine, "beta")
    steps.network(engine, "acme/lan", "10.20.0.0/24", private=True)
    steps.network(engine, "beta/db", "10.20.0.0/24")
    steps.network(engine, "beta/lan", "10.30.0.0/24", private=True)
    assert subnets(engine, "beta/db") == ["10.20.0.0/24"]


def test_ipv6_subnets_overlap_as_ipv4_ones_do(engine: Engine) -> None:
    steps.tenant(engine, "acme"), steps.tenant(engine, "beta")
    steps.network(engine, "acme/web", "fd00:20:0:1::/64")
    steps.network(engine, "beta/near", "fd00:20:0:2::/64")
    with pytest.raises(Conflict, match="overlaps fd00:20:0:1::/64 of network acme/web"):
        steps.network(engine, "beta/web", "fd00:20:0:1:8000::/65")


def test_two_who_create_overlapping_networks_at_once_do_not_both_succeed(engine: Engine) -> None:
    for number in range(8):
        steps.tenant(engine, f"t{number}")

    def create(number: int) -> bool:
        try:
            steps.network(engine, f"t{number}/web", f"10.{20 if number % 2 else 21}.0.0/16")
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(create, range(8))) == 2


@pytest.mark.parametrize(
    ("subnet", "sentence"),
    [
        ("10.20.0.0/33", "'10.20.0.0/33' is not a subnet; write it like 10.20.0.0/24 or fd00:20::/64"),
        ("rubbish", "'rubbish' is not a subnet"),
        ("fd00:20::%x/64", "'fd00:20::%x/64' is not a subnet"),
        ("10.20.0.0", "subnet '10.20.0.0' has no prefix length"),
        ("10.20.0.9/24", "subnet 10.20.0.9/24 has bits set after its prefix; did you mean 10.20.0.0/24?"),
        ("fd00:20::%eth0/64", "'fd00:20::%eth0/64' is not a subnet"),
        ("fd77:6172:7265:6f75::/64", "which is what endpoints are called at their hosts' gateway"),
        ("fd77:6172:7265:6e::/96", "which is what endpoints are called at the resolver"),
        ("127.1.0.0/16", "subnet 127.1.0.0/16 overlaps 127.0.0.0/8, which is loopback"),
        ("169.254.7.0/24", "which is link-local"),
        ("224.0.0.0/24", "which is multicast"),
        ("0.0.0.0/0", "which is this network"),
        ("fe80::/64", "which is link-local"),
        ("ff02::/64", "which is multicast"),
        ("::/64", "which is loopback and unspecified"),
        ("10.20.0.0/32", "subnet 10.20.0.0/32 has prefix length 32; use /8 to /31 for IPv4"),
        ("fd00::/48", "subnet fd00::/48 has prefix length 48; use /64 to /127 for IPv6"),
    ],
)
def test_a_subnet_that_cannot_be_is_refused(engine: Engine, subnet: str, sentence: str) -> None:
    steps.tenant(engine)
    before = steps.revision(engine)
    with pytest.raises(Invalid) as refused:
        steps.network(engine, "acme/web", subnet)
    assert sentence in str(refused.value)
    assert refused.value.field == "subnets" and refused.value.remedy
    assert steps.revision(engine) == before


@pytest.mark.parametrize("calls", [TRANSIT, MESH, ASKERS])
def test_what_hosts_call_endpoints_is_no_endpoints_own_address(calls: dict[int, int]) -> None:
    """The flows look up networks first: every tenant's answers to its host would go to such a network."""
    for version, base in calls.items():
        with pytest.raises(Invalid, match="overlaps"):
            parse_subnet(str(ipaddress.ip_network((base, 24 if version == 4 else 120))))


def test_nobody_takes_a_subnet_out_of_the_cluster_pool_by_hand(engine: Engine) -> None:
    steps.tenant(engine)
    for private in (False, True):
        with pytest.raises(Conflict, match=r"overlaps the cluster pool 10\.128\.0\.0/14"):
            steps.network(engine, "acme/web", "10.129.0.0/16", private=private)


def test_a_gateway_is_the_first_address_or_the_one_that_was_asked_for(engine: Engine) -> None:
    steps.tenant(engine)
    web = steps.network(engine, "acme/web", "10.20.0.0/24", "fd00:20::/64")
    assert [subnet.gateway for subnet in web.subnets] == ["10.20.0.1", "fd00:20::1"]
    db = steps.network(engine, "acme/db", "10.21.0.0/24", "fd00:21::/64", layout=Layout(gateways=["10.21.0.254"]))
    assert [subnet.gateway for subnet in db.subnets] == ["10.21.0.254", "fd00:21::1"]
    for gateway in ("10.21.0.1", "10.22.0.0", "10.22.0.255"):
        with pytest.raises(Invalid, match=f"gateway {gateway}"):
            steps.network(engine, "acme/bad", "10.22.0.0/24", layout=Layout(gateways=[gateway]))


@pytest.mark.parametrize("name", ["", "Acme", "a_b", "-a", "a-", "a.b", "é", "a b", "a" * 64])
def test_names_are_dns_labels(engine: Engine, name: str) -> None:
    with pytest.raises(Invalid) as refused:
        steps.tenant(engine, name)
    assert refused.value.field == "name" and refused.value.remedy
    steps.tenant(engine, "acme")
    with pytest.raises(Invalid):
        steps.network(engine, f"acme/{name}")


def test_a_name_of_63_characters_is_a_name(engine: Engine) -> None:
    longest = "a" * 63
    steps.tenant(engine, longest)
    assert subnets(engine, f"{longest}/default")


@pytest.mark.parametrize(
    "labels",
    [{"": "x"}, {"a b": "x"}, {"app": "a b"}, {"app": "x" * 64}, {"x" * 64: "y"}, {"-/a": "b"}, {"a/": "b"}],
)
def test_labels_are_those_of_kubernetes(engine: Engine, labels: dict[str, str]) -> None:
    with pytest.raises(Invalid) as refused:
        steps.tenant(engine, "acme", labels=labels)
    assert refused.value.field == "labels"
    steps.tenant(engine, "acme", labels={"app.kubernetes.io/name": "web", "empty": "", "Tier": "a_b.C"})


def test_a_name_is_taken_once(engine: Engine) -> None:
    steps.tenant(engine, "acme")
    steps.network(engine, "acme/web")
    with pytest.raises(Conflict, match="tenant acme exists already"):
        steps.tenant(engine, "acme")
    with pytest.raises(Conflict, match="network acme/web exists already"):
        steps.network(engine, "acme/web")
    with pytest.raises(NotFound, match="there is no tenant nobody; create it with `warren tenant create nobody`"):
        steps.network(engine, "nobody/web")


def test_of_many_who_create_the_same_tenant_one_succeeds(engine: Engine) -> None:
    def create(_: int) -> bool:
        try:
            steps.tenant(engine, "acme")
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(create, range(8))) == 1


def test_tenants_and_isolated_networks_created_at_once_do_not_wait_for_each_other(engine: Engine) -> None:
    steps.tenant(engine, "acme")

    def create(number: int) -> object:
        if number % 2:
            return steps.tenant(engine, f"t{number}")
        return steps.network(engine, f"acme/n{number}", isolated=True)

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(create, range(48)))


def test_a_network_that_holds_endpoints_stays_and_so_does_its_tenant(engine: Engine) -> None:
    h1 = steps.host(engine)
    steps.tenant(engine)
    steps.network(engine, "acme/web", "10.20.0.0/24")
    steps.attach(engine, h1, "web1")
    with pytest.raises(Conflict, match="network acme/web has endpoints: acme/web1; remove the endpoints first"):
        with transaction(engine) as tx:
            networks.delete(tx, "acme/web")
    with pytest.raises(Conflict, match="tenant acme has endpoints in acme/web; remove the endpoints first"):
        with transaction(engine) as tx:
            tenants.delete(tx, "acme")
    steps.detach(engine, h1, "web1")
    with transaction(engine) as tx:
        tenants.delete(tx, "acme")
    with reading(engine) as session:
        assert networks.find(session).items == [] and tenants.find(session).items == []


def test_what_a_tenant_held_is_free_when_it_is_gone(engine: Engine) -> None:
    before = steps.held(engine)
    steps.tenant(engine)
    steps.network(engine, "acme/web", "10.20.0.0/24", isolated=True)
    with transaction(engine) as tx:
        tenants.delete(tx, "acme")
    assert steps.held(engine) == before
    steps.tenant(engine, "beta")
    steps.network(engine, "beta/web", "10.20.0.0/24")


def test_labels_are_laid_over_those_there_and_none_takes_one_away(engine: Engine) -> None:
    steps.tenant(engine, labels={"a": "1", "b": "2"})
    with transaction(engine) as tx:
        tenant = tenants.update(tx, "acme", labels={"b": None, "c": "3"})
    assert tenant.labels == {"a": "1", "c": "3"} and tenant.version == 2


def test_a_change_that_changes_nothing_takes_no_revision(engine: Engine) -> None:
    steps.tenant(engine, labels={"a": "1"})
    before = steps.revision(engine)
    with transaction(engine) as tx:
        tenants.update(tx, "acme", labels={"a": "1"}, track_all=False)
    assert tx.revision == before == steps.revision(engine)


def test_who_has_seen_an_older_version_is_refused(engine: Engine) -> None:
    steps.tenant(engine)
    with transaction(engine) as tx:
        tenants.update(tx, "acme", track_all=True, version=1)
    for act in (
        lambda tx: tenants.update(tx, "acme", track_all=False, version=1),
        lambda tx: tenants.delete(tx, "acme", version=1),
    ):
        with pytest.raises(StaleVersion, match="tenant acme is at version 2, not 1"), transaction(engine) as tx:
            act(tx)


def test_lists_come_in_pages_that_deletions_do_not_shift(engine: Engine) -> None:
    for name in "abcde":
        steps.tenant(engine, name, labels={"odd": "yes" if name in "ace" else "no"})
    with reading(engine) as session:
        first = tenants.find(session, limit=2)
        assert [tenant.name for tenant in first.items] == ["a", "b"] and first.next == "name~b"
    with transaction(engine) as tx:
        tenants.delete(tx, "a")
    with reading(engine) as session:
        second = tenants.find(session, limit=2, cursor=first.next)
        assert [tenant.name for tenant in second.items] == ["c", "d"]
        assert tenants.find(session, cursor=second.next).next is None
        assert [tenant.name for tenant in tenants.find(session, labels={"odd": "yes"}).items] == ["c", "e"]
        names = [network.qualified_name for network in networks.find(session, cursor="name~b/default", limit=2).items]
        assert names == ["c/default", "d/default"]
        assert [network.qualified_name for network in networks.find(session, tenant="d").items] == ["d/default"]
        assert [network.qualified_name for network in networks.find(session, text="128.3.").items] == ["d/default"]


def test_counts_and_sizes_are_what_people_expect(engine: Engine) -> None:
    h1 = steps.host(engine)
    steps.tenant(engine)
    steps.network(engine, "acme/web", "10.20.0.0/29")
    steps.attach(engine, h1, "web1")
    with reading(engine) as session:
        web, acme = networks.get(session, "acme/web"), tenants.get(session, "acme")
        assert (web.endpoint_count, acme.endpoint_count, acme.network_count) == (1, 1, 2)
        assert (subnetting.size(web.subnets[0]), web.subnets[0].used) == (5, 1)


def test_an_mtu_leaves_room_for_the_tunnel_of_every_host(engine: Engine) -> None:
    with reading(engine) as session:
        assert transport.mtus(session)["vxlan"] == 1450
    steps.host(engine, "h1", "198.18.0.11")
    steps.host(engine, "h2", "fd00:198:18::12")
    with reading(engine) as session:
        free = dict.fromkeys(("host-gw", "vlan", "local"), 1500)
        assert transport.mtus(session) == {"vxlan": 1430, "geneve": 1430, "gre": 1438} | free
    steps.tenant(engine)
    with pytest.raises(Invalid, match="MTU 1279 is not possible; use 1280 to 65535"):
        steps.network(engine, "acme/web", "fd00:20::/64", mtu=1279)


def test_each_transport_has_its_own_mtu_for_agents_and_people(engine: Engine) -> None:
    h1 = steps.host(engine, "h1", "198.18.0.11")
    steps.tenant(engine)
    for name, mtu in (("vxlan", 1450), ("geneve", 1450), ("gre", 1458), ("local", 1500)):
        with transaction(engine) as tx:
            networks.create(tx, f"acme/{name}", carried_by=name)
        found = steps.attach(engine, h1, f"e-{name}", to=f"acme/{name}")
        assert (found.mtu, found.route_mtu) == (mtu, 1450), name
        with reading(engine) as session:
            assert wanted.endpoint(session, found.id).mtu == mtu


def test_a_network_that_may_need_a_tunnel_leaves_room_for_it(engine: Engine) -> None:
    h1 = steps.host(engine, "h1", "198.18.0.11")
    steps.tenant(engine)
    steps.network(engine, "acme/web", "10.20.0.0/24", carried_by="host-gw", cross_subnet=True)
    assert steps.attach(engine, h1, "c1").mtu == 1450
    before = steps.revision(engine)
    assert steps.do(engine, networks.update, "acme/web", carried_by="host-gw") == before, "it is carried so already"
    with transaction(engine) as tx:
        networks.update(tx, "acme/web", cross_subnet=False)
    assert steps.attach(engine, h1, "c2").mtu == 1500


def test_bridges_have_the_tunnels_that_networks_use_and_the_default(engine: Engine) -> None:
    h1 = steps.host(engine, "h1", "198.18.0.11")
    steps.tenant(engine)

    def types() -> list[str]:
        with reading(engine) as session:
            return [tunnel["type"] for tunnel in wanted.wanted(session, h1.id).tunnels]

    def is_told(change: Callable[[Transaction], object]) -> bool:
        with transaction(engine) as tx:
            before = current_revision(tx.session)
            change(tx)
        with reading(engine) as session:
            return wanted.changed_for_host(session, h1.id, before)

    assert types() == ["vxlan"]
    assert is_told(lambda tx: networks.create(tx, "acme/a", carried_by="geneve")) and types() == ["vxlan", "geneve"]
    assert not is_told(lambda tx: networks.create(tx, "acme/b", carried_by="geneve")), "nothing new for bridges"
    assert is_told(lambda tx: networks.update(tx, "acme/a", carried_by="gre")) and types() == ["vxlan", "geneve", "gre"]
    assert is_told(lambda tx: networks.delete(tx, "acme/b")) and types() == ["vxlan", "gre"]
    assert is_told(lambda tx: networks.update(tx, "acme/a", carried_by="host-gw")) and types() == ["vxlan"]
    with reading(engine) as session:
        said = wanted.wanted(session, h1.id)
        assert said.segments == [{"name": "underlay", "ofport": 9}]
        assert said.tunnels_revision == said.revision == current_revision(session)


def test_a_local_network_keeps_to_one_host(engine: Engine) -> None:
    h1, h2 = steps.host(engine, "h1", "198.18.0.11"), steps.host(engine, "h2", "198.18.0.12")
    steps.tenant(engine)
    steps.network(engine, "acme/web", "10.20.0.0/24")
    for host, name in ((h1, "web1"), (h2, "web2")):
        steps.attach(engine, host, name)
    with (
        pytest.raises(Conflict, match="acme/web has endpoints on h1 and h2: local keeps to one host"),
        transaction(engine) as tx,
    ):
        networks.update(tx, "acme/web", carried_by="local")
    steps.detach(engine, h2, "web2")
    with transaction(engine) as tx:
        networks.update(tx, "acme/web", carried_by="local")
    with pytest.raises(Conflict, match="acme/web has its endpoints on h1: local keeps to one host; attach it on h1"):
        steps.attach(engine, h2, "web2")


def test_an_unknown_transport_is_refused_with_those_there_are(engine: Engine) -> None:
    steps.tenant(engine)
    with (
        pytest.raises(Invalid, match="transport 'ipip' is unknown; use one of vxlan, geneve"),
        transaction(engine) as tx,
    ):
        networks.create(tx, "acme/web", carried_by="ipip")
