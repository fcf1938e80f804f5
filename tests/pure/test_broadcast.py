"""Broadcast and multicast on the software pipeline: who gets a copy, and what a change costs."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from controller.calc.engine import Engine
from controller.calc.membership import members
from controller.model import (
    Action,
    Block,
    Change,
    Direction,
    Endpoint,
    Members,
    Network,
    Policy,
    Requirement,
    Rule,
    Tier,
)
from controller.pipeline.broadcast import elsewhere, here
from controller.pipeline.flow import Bucket, Item, Output, Reason
from controller.pipeline.packet import link_local
from controller.pipeline.program import Key, Part, fragment, program
from controller.transport import TRANSPORTS, TUNNEL_OFPORTS
from controller.transport.transport import Transport
from controller.world import World
from tests.policies import case, policies_of
from tests.pure import worlds
from tests.pure.connections import Connections, Packet
from tests.pure.fabric import Fabric, untracked
from tests.pure.softswitch import Outcome, Switch
from tests.pure.worlds import NETWORK_A, NETWORK_B, TENANT_A, TENANT_B
from tests.sites import HOSTS

EVERYBODY = 0xFFFF_FFFF
GROUP = 0xE0000116  # 224.0.1.22
GROUP6 = (0xFF05 << 112) | 0x116


def broadcast(source: Endpoint, to: int = EVERYBODY, version: int = 4, own: int | None = None) -> Packet:
    """UDP to everybody, as the source's kernel sends it. `own` is another source address than its first."""
    prefix = "ip" if version == 4 else "ipv6"
    address = next((address.value for address in source.addresses if address.version == version), 0)
    multicast = 0x01005E000000 | to & 0x7FFFFF if version == 4 else 0x333300000000 | to & 0xFFFFFFFF
    return {
        "in_port": source.ofport,
        "eth_src": source.mac,
        "eth_dst": 0xFFFF_FFFF_FFFF if to == EVERYBODY else multicast,
        "eth_type": 0x0800 if version == 4 else 0x86DD,
        f"{prefix}_src": address if own is None else own,
        f"{prefix}_dst": to,
        "ip_proto": 17,
        "udp_src": 4000,
        "udp_dst": 5000,
        "nw_ttl": 1,
    }


def spread(world: World, source: int, packet: Packet) -> list[Outcome]:
    return Fabric(world).spread(world.endpoints[source], packet, untracked(world.hosts))


def heard(world: World, source: int, packet: Packet | None = None) -> Counter[int]:
    """How many copies each endpoint got, by id."""
    ports = {(e.host, e.ofport): e.id for e in world.endpoints.values()}
    by_port = {port: id for (_, port), id in ports.items()}
    assert len(by_port) == len(ports), "ports of these worlds are unique"
    outcomes = spread(world, source, packet or broadcast(world.endpoints[source]))
    return Counter(by_port[outcome.port] for outcome in outcomes if outcome.port is not None)


def lost(world: World, source: int, packet: Packet) -> list[Reason | None]:
    return [outcome.reason for outcome in spread(world, source, packet) if outcome.port is None]


def site(*more: Change) -> World:
    """`overlapping`, with a second endpoint of A on host 1 (111) and broadcast in both networks."""
    private = {"third": 7, "private": True, "broadcast": True}
    return worlds.world(
        *worlds.overlapping(),
        worlds.network(NETWORK_A, TENANT_A, **private),
        worlds.network(NETWORK_B, TENANT_B, **private),
        worlds.endpoint(111, NETWORK_A, 1, 21, third=7),
        *more,
    )


DIRECTED = (10 << 24) | (7 << 16) | 0xFF


@pytest.mark.parametrize(
    ("to", "version"), [(EVERYBODY, 4), (DIRECTED, 4), (GROUP, 4), (GROUP6, 6), ((0xFF02 << 112) | 1, 6)]
)
def test_every_other_endpoint_of_the_network_gets_one_copy_and_nobody_else(to: int, version: int) -> None:
    world = site()
    packet = broadcast(world.endpoints[101], to, version)
    assert heard(world, 101, packet) == {111: 1, 102: 1, 103: 1}
    assert heard(world, 203, broadcast(world.endpoints[203], to, version)) == {201: 1, 202: 1}
    assert lost(world, 101, packet) == [Reason.OWN_BROADCAST]


@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize(("group", "version"), [(0xE0000012, 4), ((0xFF02 << 112) | 0x12, 6)])
def test_vrrp_with_a_virtual_mac_is_heard_by_the_others(group: int, version: int, active: bool) -> None:
    """Its packets have the router's own address, whoever has the shared one."""
    routers = [site().endpoints[id] for id in (101, 102)]
    pair = worlds.allowed(7, 100, version, mac=0x00005E000133, active=active)
    shared = [(routers[0], pair), (routers[1], pair._replace(active=not active))]
    world = site(*(Change("endpoint", one.id, one._replace(allowed=(its,))) for one, its in shared))
    says = broadcast(routers[0], group, version) | {"eth_src": pair.mac, "ip_proto": 112}
    assert heard(world, 101, says) == {111: 1, 102: 1, 103: 1}
    if version == 6:
        assert heard(world, 101, says | {"ipv6_src": link_local(routers[0].mac)}) == {111: 1, 102: 1, 103: 1}
    field = "ip_src" if version == 4 else "ipv6_src"
    another = next(address.value for address in routers[1].addresses if address.version == version)
    assert lost(world, 101, says | {field: another}) == [Reason.SPOOFED]
    assert lost(world, 101, says | {"eth_src": pair.mac + 1}) == [Reason.SPOOFED]
    assert lost(world, 111, says | {"in_port": world.endpoints[111].ofport}) == [Reason.SPOOFED]
    assert lost(world, 101, says | {"eth_dst": routers[1].mac}) == [Reason.SPOOFED]


def test_another_host_gets_one_copy_however_many_endpoints_it_has_and_sends_none_on() -> None:
    world = site(*(worlds.endpoint(120 + n, NETWORK_A, 2, 40 + n, third=7) for n in range(5)))
    source = world.endpoints[101]
    switch = Switch(program(world, members(world, 1)))
    sent = [copy for copy in switch.copies(broadcast(source), Connections()) if copy.port in TUNNEL_OFPORTS]
    assert sorted(copy.packet["tun_dst"] & 0xFF for copy in sent) == [2, 3]
    assert {copy.packet["tun_id"] for copy in sent} == {world.networks[NETWORK_A].vni}
    assert len(heard(world, 101)) == 8
    assert not any(reason is Reason.NO_TUNNEL for reason in lost(world, 101, broadcast(source)))


def test_off_it_is_dropped_as_broadcast_also_when_a_host_sends_it_all_the_same() -> None:
    on = site()
    off = on.apply(2, [worlds.network(NETWORK_A, TENANT_A, third=7, private=True)])
    packet = broadcast(on.endpoints[101])
    assert lost(off, 101, packet) == [Reason.BROADCAST]
    from_tunnel = packet | {"in_port": 1, "tun_id": 1000 + NETWORK_A, "tun_src": (198 << 24) + (18 << 16) + 1}
    (dropped,) = Switch(program(off, members(off, 2))).copies(from_tunnel, Connections())
    assert dropped.reason is Reason.BROADCAST


def test_what_calls_itself_a_broadcast_on_the_link_only_reaches_nobody() -> None:
    world = site()
    stranger = broadcast(world.endpoints[101]) | {"ip_dst": world.endpoints[102].addresses[0].value}
    assert lost(world, 101, stranger) == [Reason.BROADCAST]


def test_the_source_is_guarded_and_an_unknown_sender_elsewhere_is_not_heard() -> None:
    world = site()
    own, other = world.endpoints[101], world.endpoints[102]
    assert lost(world, 101, broadcast(own, own=other.addresses[0].value)) == [Reason.SPOOFED]
    assert lost(world, 101, broadcast(own) | {"eth_src": other.mac}) == [Reason.SPOOFED]
    from_tunnel = broadcast(own) | {"in_port": 1, "tun_id": 1000 + NETWORK_A, "tun_src": (198 << 24) + (18 << 16) + 1}
    switch = Switch(program(world, members(world, 2)))
    (dropped,) = switch.copies(from_tunnel | {"eth_src": 0x02AAAAAAAAAA}, Connections())
    assert dropped.reason is Reason.BROADCAST


def test_a_dhcp_client_and_a_link_local_sender_are_heard() -> None:
    world = site()
    own = world.endpoints[101]
    discover = broadcast(own, own=0) | {"udp_src": 68, "udp_dst": 67}
    assert heard(world, 101, discover) == {111: 1, 102: 1, 103: 1}
    assert lost(world, 101, broadcast(own, own=0)) == [Reason.SPOOFED]
    mdns = broadcast(own, (0xFF02 << 112) | 0xFB, 6, own=link_local(own.mac))
    assert heard(world, 101, mdns) == {111: 1, 102: 1, 103: 1}
    off = world.apply(2, [worlds.network(NETWORK_A, TENANT_A, third=7, private=True)])
    assert lost(off, 101, discover) == lost(off, 101, mdns) == [Reason.SPOOFED]


def test_a_local_network_broadcasts_on_its_host() -> None:
    changes = [
        *(worlds.tenant(1), worlds.host(1)),
        worlds.network(10, 1, transport="local", broadcast=True),
        *(worlds.endpoint(100 + n, 10, 1, 10 + n) for n in range(3)),
    ]
    assert heard(worlds.world(*changes), 100) == {101: 1, 102: 1}


DB, WEB = (("app", "db"),), (("app", "web"),)
IS_DB = (Requirement("app", "In", ("db",)),)


def labelled(*policies: Policy) -> World:
    """101 (db) and 111 (web) on host 1, 102 (db) and 112 (web) on host 2; all hear each other but for policies."""
    return worlds.world(
        *(worlds.tenant(1), worlds.host(1), worlds.host(2), worlds.network(10, 1, broadcast=True)),
        *(worlds.endpoint(100 + host, 10, host, 10 + host, labels=DB) for host in (1, 2)),
        *(worlds.endpoint(110 + host, 10, host, 20 + host, labels=WEB) for host in (1, 2)),
        *map(worlds.policy, policies),
    )


def about_db(direction: Direction, *peers: Members | Block) -> Policy:
    """Accepts what comes from (or goes to) `peers`, and nothing else."""
    rules = (Rule("", Action.ACCEPT, peers, None),) if peers else ()
    both = (rules, None) if direction is Direction.INGRESS else (None, rules)
    return Policy(1, "t1/p", 1, Tier.TENANT, 1, 0, None, IS_DB, *both)


def test_ingress_policies_hold_for_each_receiver() -> None:
    closed = labelled(about_db(Direction.INGRESS))
    assert heard(closed, 111) == {112: 1}
    among = labelled(about_db(Direction.INGRESS, Members(None, IS_DB)))
    assert heard(among, 111) == {112: 1}
    assert heard(among, 101) == {111: 1, 102: 1, 112: 1}


def test_egress_policies_of_the_sender_hold_for_each_receiver_on_every_host() -> None:
    closed = labelled(about_db(Direction.EGRESS))
    assert heard(closed, 101) == {}
    assert heard(closed, 111) == {101: 1, 102: 1, 112: 1}
    among = labelled(about_db(Direction.EGRESS, Members(None, IS_DB)))
    assert heard(among, 101) == {102: 1}
    everybody = labelled(about_db(Direction.EGRESS, Block(4, EVERYBODY, 32)))
    assert heard(everybody, 101) == {111: 1, 102: 1, 112: 1}
    assert heard(everybody, 101, broadcast(everybody.endpoints[101], GROUP)) == {}


def test_a_deny_of_the_clusters_for_a_label_holds_on_another_host() -> None:
    rule = Rule("", Action.DENY, (Members((), IS_DB),), None)
    world = labelled(Policy(2, "deny", 0, Tier.ADMIN, 1, 0, (), (Requirement("app", "In", ("web",)),), None, (rule,)))
    assert heard(world, 111) == {112: 1}


def test_copies_are_not_tracked_and_make_no_answer_pass() -> None:
    world = labelled(about_db(Direction.INGRESS))
    world = world.apply(2, [worlds.tenant(1, track_all=True)])
    fabric, tracked = Fabric(world), untracked(world.hosts)
    source, far = world.endpoints[101], world.endpoints[112]
    ports = {copy.port for copy in fabric.spread(source, broadcast(source), tracked)}
    assert far.ofport in ports
    answer = broadcast(far, source.addresses[0].value) | {"eth_dst": source.mac, "udp_src": 5000, "udp_dst": 4000}
    assert fabric.carry(far, answer, tracked).reason is Reason.INGRESS_POLICY
    assert not any(fabric.knows(f"e{id}", broadcast(source), tracked) for id in world.endpoints)


@pytest.mark.parametrize("seed", range(60))
def test_a_copy_is_judged_as_a_packet_to_its_receiver_is(seed: int) -> None:
    """Of policies that name no addresses: those see the address of everybody."""
    drawn = case(Random(seed))
    policies = [p for p in policies_of(drawn.before, drawn.plan) if not any(map(_names_addresses, _peers(p)))]
    world = World().apply(1, [*drawn.plan.changes(), *map(worlds.policy, policies)])
    networks = [Change("network", n.id, n._replace(broadcast=True)) for n in world.networks.values()]
    world = world.apply(2, networks)
    fabric = Fabric(world)
    for source in world.endpoints.values():
        if not any(address.version == 4 for address in source.addresses):
            continue
        packet = broadcast(source)
        copies = [c for c in fabric.spread(source, packet, untracked(HOSTS)) if c.delivered]
        reached = sorted((c.packet["reg12"] << 32 | c.packet["reg13"], c.port) for c in copies)
        expected = []
        for end in world.endpoints_of_network[source.network].values():
            to = next((a.value for a in end.addresses if a.version == 4), None)
            if end.id == source.id or to is None:
                continue
            if fabric.carry(source, packet | {"eth_dst": end.mac, "ip_dst": to}, untracked(HOSTS)).delivered:
                expected.append((world.identity_of(end).id, end.ofport))
        assert reached == sorted(expected), (seed, source)


def _peers(policy: Policy) -> list[object]:
    rules = (*(policy.ingress or ()), *(policy.egress or ()))
    return [peer for rule in rules for peer in rule.peers or ()]


def _names_addresses(peer: object) -> bool:
    return not isinstance(peer, Members)


def engine_of(world: World) -> Engine[Item]:
    engine: Engine[Item] = Engine(world, fragment)
    for host in world.hosts:
        engine.attach(host)
    return engine


def buckets(items: list[Item]) -> list[int]:
    return [item.group for item in items if isinstance(item, Bucket)]


def test_a_new_endpoint_changes_the_group_of_its_own_host_by_one_bucket() -> None:
    world = site()
    engine = engine_of(world)
    new = worlds.endpoint(150, NETWORK_A, 1, 50, third=7)
    deltas = engine.advance(world.apply(2, [new]), [new])
    assert engine.work.fragments == 2
    network = world.networks[NETWORK_A]
    assert {host: buckets(delta.added) for host, delta in deltas.items()} == {1: [here(network)], 2: [], 3: []}
    assert not any(buckets(delta.removed) for delta in deltas.values())


def test_the_first_endpoint_on_a_host_is_one_bucket_on_each_other_host_and_the_last_takes_it_away() -> None:
    world = site(worlds.host(4))
    engine = engine_of(world)
    new = worlds.endpoint(150, NETWORK_A, 4, 50, third=7)
    network = world.networks[NETWORK_A]
    there = engine.advance(engine.world.apply(2, [new]), [new])
    assert {host: buckets(delta.added) for host, delta in there.items() if host != 4} == {
        host: [elsewhere(network)] for host in (1, 2, 3)
    }
    gone = Change("endpoint", 150, None)
    back = engine.advance(engine.world.apply(3, [gone]), [gone])
    assert {host: buckets(delta.removed) for host, delta in back.items() if host != 4} == {
        host: [elsewhere(network)] for host in (1, 2, 3)
    }
    assert not engine.carried(4) & {Key(Part.BROADCAST, NETWORK_A)}


def test_a_network_without_broadcast_has_no_group_and_no_flow_more() -> None:
    off = worlds.world(*worlds.two_tenants())
    assert not buckets(list(program(off, members(off, 1))))
    on = off.apply(2, [worlds.network(NETWORK_A, TENANT_A, broadcast=True)])
    more = program(on, members(on, 1)) - program(off, members(off, 1))
    assert len(more) < 20


def test_a_transport_may_carry_broadcasts_out_by_a_bucket_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Segment(Transport):
        name, number = "segment", 9

        def to_host(self, *_: object) -> tuple[()]:
            return ()

        def outside(self, *_: object) -> list[tuple[object, ...]]:
            return [(Output(77),)]

    monkeypatch.setitem(TRANSPORTS, "segment", Segment())  # type: ignore[misc]
    world = worlds.world(
        *(worlds.tenant(1), worlds.host(1), worlds.host(2), worlds.network(10, 1, transport="segment", broadcast=True)),
        *(worlds.endpoint(100 + host, 10, host, 10 + host) for host in (1, 2)),
    )
    group = elsewhere(world.networks[10])
    of_group = (i for i in program(world, members(world, 1)) if isinstance(i, Bucket) and i.group == group)
    assert {bucket.actions for bucket in of_group} == {(), (Output(77),)}


def test_what_is_kept_of_a_network_that_went_is_not_taken_for_a_new_one_of_its_id() -> None:
    def network(vni: int) -> Change:
        change = worlds.network(10, 1, broadcast=True)
        assert isinstance(change.value, Network)
        return change._replace(value=change.value._replace(vni=vni))

    ends = [worlds.endpoint(100 + host, 10, host, 10 + host) for host in (1, 2)]
    engine = engine_of(worlds.world(worlds.tenant(1), worlds.host(1), worlds.host(2), network(5000), *ends))
    gone = [[Change("endpoint", 101, None)], [Change("endpoint", 102, None)], [Change("network", 10, None)]]
    switches = {host: set(program(engine.world, members(engine.world, host))) for host in (1, 2)}
    for revision, changes in enumerate([*gone, [network(6000)], ends[:1], ends[1:]], 2):
        for host, delta in engine.advance(engine.world.apply(revision, changes), changes).items():
            switches[host] = (switches[host] - set(delta.removed)) | set(delta.added)
    assert switches == {host: program(engine.world, members(engine.world, host)) for host in (1, 2)}
