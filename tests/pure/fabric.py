"""All hosts of a world as software switches joined by their tunnels: packets from endpoint to endpoint.

It knows what a packet of a connection looks like and carries it over one or two hosts; what should become of it is the
test's to say. Each host's connections are the test's to keep, so that a connection can outlive a change of the world.
"""

from __future__ import annotations

from collections.abc import Iterable

from controller.calc.membership import members
from controller.model import Endpoint
from controller.pipeline.packet import ROUTER_MAC
from controller.pipeline.program import program
from controller.transport import TUNNEL_OFPORTS
from controller.world import World
from tests.oracle import Question
from tests.pure.connections import ESTABLISHED, QUERIES, Connections, Packet
from tests.pure.softswitch import Outcome, Switch, arrive
from tests.sites import PROTOCOLS

Tracked = dict[int, Connections]
"""By host."""


def untracked(hosts: Iterable[int]) -> Tracked:
    return {host: Connections() for host in hosts}


class Fabric:
    def __init__(self, world: World) -> None:
        self.world = world
        self._switches = {host: Switch(program(world, members(world, host))) for host in world.hosts}

    def carry(self, source: Endpoint, packet: Packet, tracked: Tracked) -> Outcome:
        outcome = self._switches[source.host].send(packet, tracked[source.host])
        if outcome.port not in TUNNEL_OFPORTS:
            return outcome
        there = next(host.id for host in self.world.hosts.values() if host.address == (4, outcome.packet["tun_dst"]))
        address = self.world.hosts[source.host].address
        assert address is not None
        return self._switches[there].send(arrive(outcome, address), tracked[there])

    def spread(self, source: Endpoint, packet: Packet, tracked: Tracked) -> list[Outcome]:
        """Where a packet's copies end, on all hosts."""
        address = self.world.hosts[source.host].address
        assert address is not None
        ends: list[Outcome] = []
        for copy in self._switches[source.host].copies(packet, tracked[source.host]):
            if copy.port not in TUNNEL_OFPORTS:
                ends.append(copy)
                continue
            to = (4, copy.packet["tun_dst"])
            there = next(host.id for host in self.world.hosts.values() if host.address == to)
            ends += self._switches[there].copies(arrive(copy, address), tracked[there])
        return ends

    def ask(self, question: Question, tracked: Tracked) -> bool:
        """Whether the connection's packet reaches its destination."""
        source, destination = self._ends(question)
        return self._reaches(source, destination, self.request(question), tracked)

    def answer(self, question: Question, tracked: Tracked) -> bool:
        """Whether the reply reaches who asked."""
        source, destination = self._ends(question)
        return self._reaches(destination, source, self.reply(question), tracked)

    def request(self, question: Question) -> Packet:
        ends = self._ends(question)
        if question.protocol in ("icmp", "icmpv6"):
            return self._packet(*ends, question, {"type": question.port, "code": question.code})
        return self._packet(*ends, question, {"src": question.source_port, "dst": question.port})

    def reply(self, question: Question) -> Packet:
        source, destination = self._ends(question)
        if question.protocol in ("icmp", "icmpv6"):
            return self._packet(destination, source, question, {"type": QUERIES[question.port], "code": question.code})
        return self._packet(destination, source, question, {"src": question.port, "dst": question.source_port})

    def host(self, endpoint: str) -> int:
        return self.world.endpoints[int(endpoint[1:])].host

    def knows(self, endpoint: str, packet: Packet, tracked: Tracked) -> bool:
        """Whether the endpoint's host has the packet's connection among those of the endpoint's tenant."""
        return bool(self.sees(endpoint, packet, tracked) & ESTABLISHED)

    def sees(self, endpoint: str, packet: Packet, tracked: Tracked) -> int:
        """The packet's ct_state at the endpoint's host, among the connections of the endpoint's tenant."""
        end = self.world.endpoints[int(endpoint[1:])]
        return tracked[end.host].look(self.world.networks[end.network].tenant, packet)

    def _reaches(self, source: Endpoint, destination: Endpoint, packet: Packet, tracked: Tracked) -> bool:
        outcome = self.carry(source, packet, tracked)
        assert outcome.port in (None, destination.ofport), f"{packet} came out at the wrong port: {outcome}"
        return outcome.delivered

    def _ends(self, question: Question) -> tuple[Endpoint, Endpoint]:
        source, destination = (int(name[1:]) for name in (question.source, question.destination))
        return self.world.endpoints[source], self.world.endpoints[destination]

    def _packet(self, source: Endpoint, destination: Endpoint, question: Question, layer4: dict[str, int]) -> Packet:
        """As the sender's kernel would send it: to its gateway when the other end is in another network."""
        ip = "ip" if question.version == 4 else "ipv6"
        value = {address.version: address.value for address in source.addresses}[question.version]
        to = {address.version: address.value for address in destination.addresses}[question.version]
        return {
            "in_port": source.ofport,
            "eth_src": source.mac,
            "eth_dst": destination.mac if source.network == destination.network else ROUTER_MAC,
            "eth_type": 0x0800 if question.version == 4 else 0x86DD,
            f"{ip}_src": value,
            f"{ip}_dst": to,
            "ip_proto": PROTOCOLS[question.protocol],
            "nw_ttl": 64,
            **{f"{question.protocol}_{field}": number for field, number in layer4.items()},
        }
