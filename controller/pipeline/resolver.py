"""The way to the host's resolver and back: DNS queries to a network's gateway go to a port behind which it listens.
Those to one address that is the same in all networks do, too, for who must name a resolver before there is a network.

Networks may use the same addresses, so the resolver is not shown the asker's: a query reaches it from an address that
holds the number of the port it came in by, which nobody can choose, and its answer finds the way back by that number.
The asker sees its gateway answer. What is answered, and what of it policies believe, is not decided here.
"""

from __future__ import annotations

from controller.model import Address, Endpoint, Subnet
from controller.pipeline.flow import Flow, Kind, Match, Output, Reason, SetField, drop, flow
from controller.pipeline.hearing import DNS_PORT
from controller.pipeline.packet import (
    IPV4,
    IPV6,
    MULTICAST,
    RESOLVER_MAC,
    RESOLVER_OFPORT,
    ROUTER_MAC,
    TCP,
    UDP,
    ip,
    ip_destination,
    ip_source,
)
from controller.pipeline.registers import DESTINATION_TENANT, FROM_RESOLVER, OUTPUT_PORT, flag
from controller.pipeline.stages import Stage
from controller.transport import transport
from controller.world import World

ASKERS = {4: 169 << 24 | 254 << 16, 6: 0xFD7761727265006E << 64}
"""169.254.0.0/16 and fd77:6172:7265:6e::/112, which are addresses behind the resolver's port and nowhere else; the low
16 bits are a port's number."""
ANYWHERE = 169 << 24 | 254 << 16 | 53 << 8 | 53
"""169.254.53.53, the resolver in every network."""
ANYWHERE_ASKERS = 240 << 24 | 53 << 16
"""240.53.0.0/16: in place of 169.254.0.0/16 for queries to that address, so that their answers come from it."""
SERVER = 1
"""The low 16 bits of the resolver's own address."""


def base(world: World) -> list[Flow]:
    port = Match("in_port", RESOLVER_OFPORT)
    answers = [
        flow(
            Kind.BASE,
            Stage.CLASSIFY,
            100,
            (port, ip, protocol, Match(field, DNS_PORT)),
            (flag(FROM_RESOLVER),),
            Stage.RESOLVED,
        )
        for ip in (IPV4, IPV6)
        for protocol, field in ((UDP, "udp_src"), (TCP, "tcp_src"))
    ]
    return [
        *answers,
        drop(Reason.BROADCAST, Stage.CLASSIFY, 90, (port, MULTICAST)),
        drop(Reason.NO_ENDPOINT, Stage.RESOLVED, 0, (IPV4,), exact="ip_dst"),
        drop(Reason.NO_ENDPOINT, Stage.RESOLVED, 0, (IPV6,), exact="ipv6_dst"),
    ]


def local(world: World, endpoint: Endpoint) -> list[Flow]:
    network = world.networks[endpoint.network]
    if transport(network.transport).on_segment:  # somebody else's router has the gateway's address
        return []
    flows = []
    for address in endpoint.addresses:
        own = (subnet for subnet in network.subnets if subnet.has(address.version, address.value))
        for asked, askers in (way for subnet in own for way in _ways(subnet)):
            flows += _queries(endpoint, address, asked, askers)
            flows.append(_answers(world, endpoint, address, asked, askers))
    return flows


def _ways(subnet: Subnet) -> list[tuple[int, int]]:
    """The addresses that may be asked, each with what an asker's port is added to."""
    return [(subnet.gateway, ASKERS[subnet.version])] + [(ANYWHERE, ANYWHERE_ASKERS)] * (subnet.version == 4)


def _queries(endpoint: Endpoint, address: Address, resolver: int, askers: int) -> list[Flow]:
    version = address.version
    asked = (
        Match("in_port", endpoint.ofport),
        ip(version),
        ip_source(version, address.value),
        ip_destination(version, resolver),
    )
    source, destination = _fields(version)
    actions = (
        SetField("eth_dst", RESOLVER_MAC),
        SetField(source, askers | endpoint.ofport),
        SetField(destination, ASKERS[version] | SERVER),
        Output(RESOLVER_OFPORT),
    )
    return [
        flow(Kind.ENDPOINT, Stage.ANSWER, 100, (*asked, protocol, Match(field, DNS_PORT)), actions)
        for protocol, field in ((UDP, "udp_dst"), (TCP, "tcp_dst"))
    ]


def _answers(world: World, endpoint: Endpoint, address: Address, resolver: int, askers: int) -> Flow:
    version = address.version
    source, destination = _fields(version)
    actions = (
        SetField("eth_src", ROUTER_MAC),
        SetField("eth_dst", endpoint.mac),
        SetField(source, resolver),
        SetField(destination, address.value),
        SetField(DESTINATION_TENANT, world.networks[endpoint.network].tenant),
        SetField(OUTPUT_PORT, endpoint.ofport),
    )
    match = (ip(version), ip_destination(version, askers | endpoint.ofport))
    return flow(Kind.ENDPOINT, Stage.RESOLVED, 100, match, actions, Stage.OUTPUT)


def _fields(version: int) -> tuple[str, str]:
    return ("ip_src", "ip_dst") if version == 4 else ("ipv6_src", "ipv6_dst")
