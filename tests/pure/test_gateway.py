"""The way out and in: each endpoint by an address of its own, judged as itself, and nobody by another's."""

from __future__ import annotations

import ipaddress

import pytest

from controller.calc.membership import members
from controller.model import Action, Allowed, Block, Change, Direction, Endpoint, Members, Policy, Rule, Service, Tier
from controller.pipeline.flow import Reason
from controller.pipeline.packet import GATEWAY_OFPORT, ROUTER_MAC, TRANSIT
from controller.pipeline.program import program
from controller.world import World
from tests.pure import worlds
from tests.pure.connections import Connections, Packet
from tests.pure.softswitch import Always, Outcome, Switch
from tests.pure.test_firewall import block, firewall, rule

BOTH = pytest.mark.parametrize("version", [4, 6])
FAR = {4: "198.51.100.7", 6: "2001:db8::7"}
PREFIX = {4: "ip", 6: "ipv6"}
HOST = 1


class Host:
    """Host 1 of a world, and what its conntrack remembers."""

    def __init__(self, *changes: Change) -> None:
        self.world = worlds.world(*changes)
        self.connections = Connections()
        self._switch = Switch(program(self.world, members(self.world, HOST)))

    def change(self, *changes: Change) -> None:
        self.world = self.world.apply(self.world.revision + 1, changes)
        self._switch = Switch(program(self.world, members(self.world, HOST)))

    def send(self, packet: Packet) -> Outcome:
        return self._switch.send(packet, self.connections)

    def out(self, id: int, to: str, port: int = 443, source_port: int = 40_000, **more: int) -> Outcome:
        return self.send(leaving(self.world, self.world.endpoints[id], to, port, source_port) | more)

    def enter(self, id: int, source: str, port: int = 80, source_port: int = 50_000) -> Outcome:
        """What the host sends to the endpoint's other address."""
        called = TRANSIT[ipaddress.ip_address(source).version] | self.world.endpoints[id].ofport
        return self.send(entering(int(ipaddress.ip_address(source)), called, source_port, port, ":" in source))


def leaving(world: World, endpoint: Endpoint, to: str, port: int, source_port: int) -> Packet:
    address = ipaddress.ip_address(to)
    prefix, own = PREFIX[address.version], {a.version: a.value for a in endpoint.addresses}[address.version]
    return {
        "in_port": endpoint.ofport,
        "eth_src": endpoint.mac,
        "eth_dst": ROUTER_MAC,
        "eth_type": 0x0800 if address.version == 4 else 0x86DD,
        f"{prefix}_src": own,
        f"{prefix}_dst": int(address),
        "ip_proto": 6,
        "tcp_src": source_port,
        "tcp_dst": port,
        "nw_ttl": 64,
    }


def entering(source: int, destination: int, source_port: int, port: int, ipv6: bool) -> Packet:
    prefix = "ipv6" if ipv6 else "ip"
    return {
        "in_port": GATEWAY_OFPORT,
        "eth_src": ROUTER_MAC,
        "eth_dst": ROUTER_MAC,
        "eth_type": 0x86DD if ipv6 else 0x0800,
        f"{prefix}_src": source,
        f"{prefix}_dst": destination,
        "ip_proto": 6,
        "tcp_src": source_port,
        "tcp_dst": port,
        "nw_ttl": 63,
    }


def reply(sent: Outcome) -> Packet:
    """The host's answer to what left, or an endpoint's to what was delivered (with its own port and MAC to add)."""
    packet = sent.packet
    prefix = "ip" if packet["eth_type"] == 0x0800 else "ipv6"
    ends = packet[f"{prefix}_dst"], packet[f"{prefix}_src"], packet["tcp_dst"], packet["tcp_src"]
    return entering(ends[0], ends[1], ends[2], ends[3], prefix == "ipv6")


def from_endpoint(world: World, id: int, delivered: Outcome) -> Packet:
    endpoint = world.endpoints[id]
    return reply(delivered) | {"in_port": endpoint.ofport, "eth_src": endpoint.mac}


@BOTH
def test_two_with_one_address_get_out_at_once_and_each_hears_its_own_answer(version: int) -> None:
    host = Host(*worlds.outbound())
    field = PREFIX[version]
    sent = {id: host.out(id, FAR[version]) for id in (101, 201)}
    for id, one in sent.items():
        endpoint = host.world.endpoints[id]
        assert one.port == GATEWAY_OFPORT
        assert one.packet[f"{field}_src"] == TRANSIT[version] | endpoint.ofport
        assert (one.packet["eth_dst"], one.packet["nw_ttl"]) == (ROUTER_MAC, 63)
    for id, one in sent.items():
        endpoint = host.world.endpoints[id]
        own = {a.version: a.value for a in endpoint.addresses}[version]
        answer = host.send(reply(one))
        assert (answer.port, answer.packet[f"{field}_dst"], answer.packet["eth_dst"]) == (
            endpoint.ofport,
            own,
            endpoint.mac,
        )
        again = host.out(id, FAR[version])
        assert again.packet[f"{field}_src"] == one.packet[f"{field}_src"]


@BOTH
def test_what_the_switch_closes_is_closed_at_the_next_packet_both_ways(version: int) -> None:
    host = Host(*worlds.outbound())
    sent = host.out(101, FAR[version])
    host.change(worlds.network(worlds.NETWORK_A, worlds.TENANT_A, third=7, private=True, outbound=False))
    assert host.out(101, FAR[version]).reason is Reason.NO_ROUTE
    assert host.send(reply(sent)).reason is Reason.NO_ENDPOINT
    assert host.out(201, FAR[version]).port == GATEWAY_OFPORT, "the other network stays open"


@BOTH
def test_nobody_gets_from_inside_to_the_addresses_between_bridge_and_host(version: int) -> None:
    host = Host(*worlds.outbound())
    other = TRANSIT[version] | host.world.endpoints[201].ofport
    for to in (other, TRANSIT[version] | 1, TRANSIT[version] | 0xFFFF):
        assert host.out(101, str(ipaddress.ip_address(to))).reason is Reason.NO_ROUTE
    assert host.out(101, "127.0.0.1").reason is Reason.NO_ROUTE


@BOTH
def test_no_tunnel_leaves_with_the_address_of_a_host(version: int) -> None:
    """Hosts have more addresses than Warren knows, and take tunnels by all of them."""
    host = Host(*worlds.outbound())
    for tunnel in ({"ip_proto": 17, "udp_src": 5000, "udp_dst": 4789}, {"ip_proto": 47}):
        packet = leaving(host.world, host.world.endpoints[101], FAR[version], 0, 0) | tunnel
        assert Switch(program(host.world, members(host.world, HOST))).send(packet, Always(0x21)).reason is (
            Reason.TUNNEL_PORT
        )


def test_an_endpoint_cannot_leave_by_the_address_of_another() -> None:
    """Not even if it may use any address, and conntrack lets its packet as it was."""
    everything = Allowed(4, 0, 0, 0x0200_0A07_000B)
    host = Host(*worlds.outbound())
    endpoint = host.world.endpoints[101]
    host.change(Change("endpoint", 101, endpoint._replace(allowed=(everything,))))
    victim = TRANSIT[4] | host.world.endpoints[201].ofport
    assert host.out(101, FAR[4], ip_src=victim).packet["ip_src"] == TRANSIT[4] | endpoint.ofport
    stray = leaving(host.world, endpoint, FAR[4], 0, 0) | {"ip_src": victim, "ip_proto": 1, "icmp_type": 3}
    for field in ("tcp_src", "tcp_dst"):
        del stray[field]
    assert host.send(stray).reason is Reason.INVALID_CONNECTION


@BOTH
def test_who_enters_reaches_the_endpoint_by_its_own_address_and_is_answered(version: int) -> None:
    host = Host(*worlds.outbound())
    field = PREFIX[version]
    entered = host.enter(101, FAR[version])
    endpoint = host.world.endpoints[101]
    own = {a.version: a.value for a in endpoint.addresses}[version]
    assert (entered.port, entered.packet[f"{field}_dst"]) == (endpoint.ofport, own)
    assert entered.packet[f"{field}_src"] == int(ipaddress.ip_address(FAR[version])), "the client's address is kept"
    answer = host.send(from_endpoint(host.world, 101, entered))
    assert (answer.port, answer.packet[f"{field}_src"]) == (GATEWAY_OFPORT, TRANSIT[version] | endpoint.ofport)
    entered = host.enter(101, str(ipaddress.ip_address(TRANSIT[version] | 1)))
    assert host.send(from_endpoint(host.world, 101, entered)).port == GATEWAY_OFPORT, "the host itself is answered, too"


def test_nobody_enters_to_who_is_not_there() -> None:
    host = Host(*worlds.outbound())
    stranger = entering(1, TRANSIT[4] | 9999, 50_000, 80, False)
    assert host.send(stranger).reason is Reason.NO_ENDPOINT


def policy(direction: Direction, rules: tuple[Rule, ...]) -> Change:
    ingress, egress = (rules, None) if direction is Direction.INGRESS else (None, rules)
    return worlds.policy(Policy(1, "a/p", worlds.TENANT_A, Tier.TENANT, 1, 0, None, (), ingress, egress))


def test_egress_policies_judge_what_leaves_and_answers_come_back() -> None:
    allowed = Rule("", Action.ACCEPT, (Block(4, 198 << 24 | 51 << 16 | 100 << 8, 24),), (Service(6, 443, 443),))
    host = Host(*worlds.outbound(), policy(Direction.EGRESS, (allowed,)))
    sent = host.out(101, FAR[4])
    assert sent.port == GATEWAY_OFPORT
    assert host.send(reply(sent)).port == host.world.endpoints[101].ofport
    assert host.out(101, FAR[4], port=80).reason is Reason.EGRESS_POLICY
    assert host.out(101, "203.0.113.1").reason is Reason.EGRESS_POLICY
    assert host.out(201, "203.0.113.1").port == GATEWAY_OFPORT
    host.change(policy(Direction.EGRESS, ()))
    assert host.out(101, FAR[4]).reason is Reason.EGRESS_POLICY, "also of an open connection"
    assert host.send(reply(sent)).reason is Reason.EGRESS_POLICY


def test_ingress_policies_judge_who_enters_by_address() -> None:
    allowed = Rule("", Action.ACCEPT, (Block(4, 198 << 24 | 51 << 16 | 100 << 8, 24),), (Service(6, 80, 80),))
    host = Host(*worlds.outbound(), policy(Direction.INGRESS, (allowed,)))
    entered = host.enter(101, FAR[4])
    assert entered.port == host.world.endpoints[101].ofport
    assert host.send(from_endpoint(host.world, 101, entered)).port == GATEWAY_OFPORT
    assert host.enter(101, FAR[4], port=81).reason is Reason.INGRESS_POLICY
    assert host.enter(101, "203.0.113.1").reason is Reason.INGRESS_POLICY
    assert host.enter(101, str(ipaddress.ip_address(TRANSIT[4] | 1))).reason is Reason.INGRESS_POLICY, "the host, too"


@BOTH
def test_all_endpoints_of_all_tenants_are_not_everybody(version: int) -> None:
    """`namespaceSelector: {}` and `namespaces: {}` say all pods in Kubernetes, and neither hosts nor the outside."""
    all_endpoints = Rule("", Action.ACCEPT, (Members((), ()),), None)
    host = Host(*worlds.outbound(), policy(Direction.EGRESS, (all_endpoints,)))
    assert host.out(101, FAR[version]).reason is Reason.EGRESS_POLICY
    host = Host(*worlds.outbound(), policy(Direction.INGRESS, (all_endpoints,)))
    assert host.enter(101, FAR[version]).reason is Reason.INGRESS_POLICY
    itself = str(ipaddress.ip_address(TRANSIT[version] | 1))
    assert host.enter(101, itself).reason is Reason.INGRESS_POLICY, "the host is none, too"
    wall = Policy(2, "wall", 0, Tier.ADMIN, 1, 0, (), (), *[(all_endpoints._replace(action=Action.DENY),)] * 2)
    host = Host(*worlds.outbound(), worlds.policy(wall))
    assert host.out(101, FAR[version]).port == GATEWAY_OFPORT
    assert host.enter(101, FAR[version]).port == host.world.endpoints[101].ofport
    again = TRANSIT[version] | host.world.endpoints[201].ofport
    assert host.enter(101, str(ipaddress.ip_address(again))).reason is Reason.INGRESS_POLICY, "whom it knows is one"


def test_the_egress_firewall_judges_what_is_opened_and_no_answers() -> None:
    host = Host(*worlds.outbound(), firewall(rule(Action.DENY, block("0.0.0.0/0"))))
    assert host.out(101, FAR[4]).reason is Reason.EGRESS_FIREWALL
    entered = host.enter(101, FAR[4])
    assert host.send(from_endpoint(host.world, 101, entered)).port == GATEWAY_OFPORT


def test_who_comes_back_in_by_an_address_of_the_hosts_is_known() -> None:
    """a1 calls an address of the host's that leads to a4, beside it: the host turns it round without another source."""
    labels = (("app", "web"),)
    there = worlds.endpoint(104, worlds.NETWORK_A, HOST, 14, third=7)
    from_a1 = Rule("", Action.ACCEPT, (worlds.members_of(labels),), None)
    host = Host(
        *worlds.outbound(),
        there,
        worlds.endpoint(101, worlds.NETWORK_A, HOST, 11, third=7, labels=labels),
        policy(Direction.INGRESS, (from_a1,)),
    )
    a1, a4 = (TRANSIT[4] | host.world.endpoints[id].ofport for id in (101, 104))
    assert host.out(101, "192.0.2.1", 8080).port == GATEWAY_OFPORT
    entered = host.send(entering(a1, a4, 40_000, 80, False))
    assert entered.port == host.world.endpoints[104].ofport
    answer = host.send(from_endpoint(host.world, 104, entered))
    assert (answer.port, answer.packet["ip_src"], answer.packet["ip_dst"]) == (GATEWAY_OFPORT, a4, a1)
    back = host.send(entering(int(ipaddress.ip_address("192.0.2.1")), a1, 8080, 40_000, False))
    assert back.port == host.world.endpoints[101].ofport
    b1 = TRANSIT[4] | host.world.endpoints[201].ofport
    assert host.send(entering(b1, a4, 40_000, 80, False)).reason is Reason.INGRESS_POLICY
