"""Endpoints that all hosts publish: clients come by any host, are judged at the endpoint's, and are answered by the
host where they came."""

from __future__ import annotations

import ipaddress

import pytest

from controller.calc.membership import members
from controller.model import Action, Allowed, Block, Change, Direction, Rule, Service
from controller.pipeline.flow import Reason
from controller.pipeline.packet import GATEWAY_OFPORT, MESH, MESH_ENDPOINT_BITS, ROUTER_MAC, TRANSIT
from controller.pipeline.program import program
from controller.pipeline.stages import Stage
from controller.transport.vxlan import VXLAN
from tests.pure import worlds
from tests.pure.connections import Connections, Packet
from tests.pure.softswitch import Outcome, Switch, arrive
from tests.pure.test_gateway import BOTH, FAR, HOST, PREFIX, entering, from_endpoint, leaving, policy

A1, B1 = 101, 201


class Hosts:
    """All hosts of a world, each with what its conntrack remembers."""

    def __init__(self, *changes: Change) -> None:
        self.world = worlds.world(*changes)
        self.connections = {id: Connections() for id in self.world.hosts}
        self.change()

    def change(self, *changes: Change) -> None:
        self.world = self.world.apply(self.world.revision + 1, changes)
        self._switches = {id: Switch(program(self.world, members(self.world, id))) for id in self.world.hosts}

    def move(self, id: int, host: int) -> None:
        self.change(Change("endpoint", id, self.world.endpoints[id]._replace(host=host)))

    def send(self, host: int, packet: Packet) -> tuple[int, Outcome]:
        """On which host it ends, and how."""
        sent = self._switches[host].send(packet, self.connections[host])
        if sent.port != VXLAN.ofport:
            return host, sent
        there = next(one.id for one in self.world.hosts.values() if one.address == (4, sent.packet["tun_dst"]))
        source = self.world.hosts[host].address
        assert source is not None and sent.packet["tun_id"] == 0
        return there, self._switches[there].send(arrive(sent, source), self.connections[there])

    def enter(
        self, by: int, number: int, source: str, port: int = 80, source_port: int = 50_000
    ) -> tuple[int, Outcome]:
        """A client comes to the gateway of host `by`, whose rules called the endpoint of that number for it."""
        version = ipaddress.ip_address(source).version
        called = address(version, by, number)
        return self.send(by, entering(int(ipaddress.ip_address(source)), called, source_port, port, version == 6))


def address(version: int, host: int, number: int) -> int:
    return MESH[version] | host << MESH_ENDPOINT_BITS | number


@BOTH
@pytest.mark.parametrize("by", [2, 3])
def test_a_client_reaches_the_endpoint_by_another_host_and_is_answered_by_that(version: int, by: int) -> None:
    hosts = Hosts(*worlds.meshed())
    field = PREFIX[version]
    for number, id in ((1, A1), (2, B1)):
        endpoint = hosts.world.endpoints[id]
        own = {a.version: a.value for a in endpoint.addresses}[version]
        there, entered = hosts.enter(by, number, FAR[version])
        assert (there, entered.port, entered.packet[f"{field}_dst"]) == (HOST, endpoint.ofport, own)
        assert entered.packet["eth_dst"] == endpoint.mac
        assert entered.packet[f"{field}_src"] == int(ipaddress.ip_address(FAR[version])), "the client's address is kept"
        back, answer = hosts.send(HOST, from_endpoint(hosts.world, id, entered))
        assert (back, answer.port, answer.packet["eth_dst"]) == (by, GATEWAY_OFPORT, ROUTER_MAC)
        assert answer.packet[f"{field}_src"] == address(version, by, number)
        assert answer.packet[f"{field}_dst"] == int(ipaddress.ip_address(FAR[version]))


@BOTH
def test_one_client_by_two_hosts_and_by_the_endpoints_own_is_answered_by_each(version: int) -> None:
    hosts = Hosts(*worlds.meshed())
    field = PREFIX[version]
    entered = [hosts.enter(by, 1, FAR[version], source_port=by)[1] for by in (2, 3)]
    transit = TRANSIT[version] | hosts.world.endpoints[A1].ofport
    own = entering(int(ipaddress.ip_address(FAR[version])), transit, 1, 80, version == 6)
    entered.append(hosts.send(HOST, own)[1])
    answers = [hosts.send(HOST, from_endpoint(hosts.world, A1, one)) for one in entered]
    assert [(by, one.port) for by, one in answers] == [(by, GATEWAY_OFPORT) for by in (2, 3, HOST)]
    assert answers[-1][1].packet[f"{field}_src"] == transit


def test_policies_at_the_endpoints_host_judge_the_client_and_the_endpoints_port() -> None:
    allowed = Rule("", Action.ACCEPT, (Block(4, 198 << 24 | 51 << 16 | 100 << 8, 24),), (Service(6, 80, 80),))
    hosts = Hosts(*worlds.meshed(), policy(Direction.INGRESS, (allowed,)))
    there, entered = hosts.enter(2, 1, FAR[4])
    assert (there, entered.port) == (HOST, hosts.world.endpoints[A1].ofport)
    assert hosts.send(HOST, from_endpoint(hosts.world, A1, entered))[1].port == GATEWAY_OFPORT
    assert hosts.enter(2, 1, FAR[4], port=81)[1].reason is Reason.INGRESS_POLICY
    assert hosts.enter(2, 1, "203.0.113.1")[1].reason is Reason.INGRESS_POLICY
    assert hosts.enter(2, 2, "203.0.113.1")[1].port, "the other tenant's"
    hosts.change(policy(Direction.INGRESS, ()))
    assert hosts.enter(2, 1, FAR[4])[1].reason is Reason.INGRESS_POLICY, "also of an open connection"
    assert hosts.send(HOST, from_endpoint(hosts.world, A1, entered))[1].reason is Reason.INGRESS_POLICY


def test_who_comes_from_another_hosts_gateway_is_no_endpoint_here() -> None:
    """Whatever address it has: endpoints' own names at a gateway are those of their own host."""
    labels = (("app", "web"),)
    from_web = Rule("", Action.ACCEPT, (worlds.members_of(labels),), None)
    web = worlds.endpoint(104, worlds.NETWORK_A, HOST, 14, third=7, labels=labels)
    hosts = Hosts(*worlds.meshed(), web, policy(Direction.INGRESS, (from_web,)))
    posing = str(ipaddress.ip_address(TRANSIT[4] | hosts.world.endpoints[104].ofport))
    assert hosts.enter(2, 1, posing)[1].reason is Reason.INGRESS_POLICY


@BOTH
def test_it_follows_the_endpoint_and_ends_with_the_publication_and_the_network(version: int) -> None:
    hosts = Hosts(*worlds.meshed())
    hosts.move(A1, 3)
    assert [hosts.enter(by, 1, FAR[version])[0] for by in (HOST, 2)] == [3, 3]
    hosts.change(worlds.network(worlds.NETWORK_A, worlds.TENANT_A, third=7, private=True, outbound=False))
    assert hosts.enter(2, 1, FAR[version])[1].reason is Reason.NO_ENDPOINT
    assert hosts.enter(2, 2, FAR[version])[0] == HOST, "the other network stays open"
    hosts.change(Change("endpoint", B1, hosts.world.endpoints[B1]._replace(mesh=0)))
    assert hosts.enter(2, 2, FAR[version])[1].reason is Reason.NO_ENDPOINT


def test_a_host_that_joins_knows_the_way() -> None:
    hosts = Hosts(*worlds.meshed())
    hosts.connections[4] = Connections()
    hosts.change(worlds.host(4))
    assert hosts.enter(4, 1, FAR[4])[0] == HOST


@BOTH
def test_what_no_host_sends_ends_at_the_tunnel(version: int) -> None:
    hosts = Hosts(*worlds.meshed())
    here = hosts.world.hosts[2].address
    assert here is not None
    unknown = entering(1, address(version, 2, 77), 50_000, 80, version == 6)
    for packet, reason in (
        ({**unknown, "tun_src": here[1]}, Reason.NO_ENDPOINT),
        ({**unknown, "tun_src": here[1] + 100}, Reason.UNKNOWN_TUNNEL_SOURCE),
    ):
        arrived = packet | {"in_port": VXLAN.ofport, "tun_id": 0}
        assert hosts.send(HOST, arrived)[1].reason is reason


@BOTH
def test_nobody_gets_from_inside_to_the_addresses_between_hosts(version: int) -> None:
    hosts = Hosts(*worlds.meshed())
    for id in (A1, B1):
        to = str(ipaddress.ip_address(address(version, 2, 1)))
        there, outcome = hosts.send(HOST, leaving(hosts.world, hosts.world.endpoints[id], to, 80, 40_000))
        assert (there, outcome.reason) == (HOST, Reason.NO_ROUTE)


@BOTH
def test_what_belongs_to_no_connection_goes_to_no_other_host(version: int) -> None:
    """An endpoint that may use any address sends what conntrack leaves as it is: from one that points to a host."""
    hosts = Hosts(*worlds.meshed())
    everything = tuple(Allowed(one, 0, 0, 0x0200_0A07_000B) for one in (4, 6))
    hosts.change(Change("endpoint", A1, hosts.world.endpoints[A1]._replace(allowed=everything)))
    field, icmp = PREFIX[version], {4: (1, "icmp"), 6: (58, "icmpv6")}[version]
    stray = leaving(hosts.world, hosts.world.endpoints[A1], FAR[version], 0, 0)
    stray |= {f"{field}_src": address(version, 2, 1), "ip_proto": icmp[0], f"{icmp[1]}_type": 3, f"{icmp[1]}_code": 1}
    for layer4 in ("tcp_src", "tcp_dst"):
        del stray[layer4]
    there, outcome = hosts.send(HOST, stray)
    assert (there, outcome.reason, outcome.path[-1]) == (HOST, Reason.INVALID_CONNECTION, Stage.LEAVE)
