"""Address questions are answered here, from the database: nothing is ever flooded to find an endpoint.

One flow answers one address to whoever asks inside its network: ARP for IPv4, neighbour solicitation for IPv6, and
echo requests to the gateway. Duplicate address detection is answered for addresses that somebody else has.
What is left of ARP, ND, broadcast and multicast is dropped with its reason.
"""

from __future__ import annotations

from controller.model import Address, Endpoint, Network
from controller.pipeline.flow import Flow, InPort, Kind, Match, Move, Reason, SetField, drop, flow
from controller.pipeline.neighbor import ADVERTISED, ADVERTISED_TO_ALL, ROUTER, arp_reply, neighbor_reply, swap_ethernet
from controller.pipeline.packet import (
    ARP,
    ECHO_REPLY,
    ECHO_REPLY_V6,
    ECHO_REQUEST,
    ECHO_REQUEST_V6,
    ICMP,
    IPV4,
    IPV6,
    MULTICAST,
    NEIGHBOR_ADVERTISEMENT,
    NEIGHBOR_SOLICITATION,
    ROUTER_MAC,
    icmpv6,
    ip_destination,
)
from controller.pipeline.registers import SOURCE_NETWORK
from controller.pipeline.stages import Stage
from controller.transport import transport
from controller.world import World

STAGE = Stage.ANSWER


def base(world: World) -> list[Flow]:
    return [
        drop(Reason.UNANSWERED, STAGE, 50, (ARP,), exact="arp_tpa"),
        drop(Reason.UNANSWERED, STAGE, 50, icmpv6(NEIGHBOR_SOLICITATION), exact="nd_target"),
        drop(Reason.UNANSWERED, STAGE, 50, icmpv6(NEIGHBOR_ADVERTISEMENT)),
        drop(Reason.BROADCAST, STAGE, 40, (MULTICAST,)),
        flow(Kind.BASE, STAGE, 10, (IPV4,), goto=Stage.TRACK_SOURCE),
        flow(Kind.BASE, STAGE, 10, (IPV6,), goto=Stage.TRACK_SOURCE),
        drop(Reason.NO_STAGE, STAGE, 0),
        # A solicitation has become an advertisement; only now may its target's link-layer address be written.
        flow(
            Kind.BASE,
            Stage.ADVERTISE,
            100,
            icmpv6(NEIGHBOR_ADVERTISEMENT),
            (*ADVERTISED, InPort()),
        ),
        # Who asks without an address is told as all nodes are, and not as solicited (RFC 4861 section 7.2.4).
        flow(
            Kind.BASE,
            Stage.ADVERTISE,
            110,
            (*icmpv6(NEIGHBOR_ADVERTISEMENT), Match("ipv6_dst", 0)),
            (*ADVERTISED_TO_ALL, InPort()),
        ),
        drop(Reason.NO_STAGE, Stage.ADVERTISE, 0),
    ]


def network(world: World, network: Network) -> list[Flow]:
    """The gateway has one MAC on every host, and answers a ping; on a physical segment it is somebody else."""
    flows: list[Flow] = []
    if transport(network.transport).on_segment:
        return flows
    asker = (Match(SOURCE_NETWORK, network.vni),)
    for subnet in network.subnets:
        gateway = subnet.version, subnet.gateway
        if subnet.version == 4:
            flows.append(arp_reply(Kind.NETWORK, asker, Match("arp_tpa", subnet.gateway), ROUTER_MAC))
        else:
            target = Match("nd_target", subnet.gateway)
            flows.append(neighbor_reply(Kind.NETWORK, asker, target, ROUTER_MAC, flags=ROUTER))
        flows.append(_echo_reply(network.vni, *gateway))
    return flows


def endpoint(world: World, endpoint: Endpoint) -> list[Flow]:
    """The same flows wherever the endpoint is."""
    asker = (Match(SOURCE_NETWORK, world.networks[endpoint.network].vni),)
    return [
        arp_reply(Kind.ENDPOINT, asker, Match("arp_tpa", address.value), endpoint.mac)
        if address.version == 4
        else neighbor_reply(Kind.ENDPOINT, asker, Match("nd_target", address.value), endpoint.mac)
        for address in endpoint.addresses
    ]


def local(world: World, endpoint: Endpoint) -> list[Flow]:
    """An endpoint that asks for its own address must hear nothing, or it would give the address up."""
    if transport(world.networks[endpoint.network].transport).on_segment:
        return []  # what is outside may answer
    return [_own_arp_probe(endpoint, address) for address in endpoint.addresses if address.version == 4]


def _own_arp_probe(endpoint: Endpoint, address: Address) -> Flow:
    match = (Match("in_port", endpoint.ofport), ARP, Match("arp_tpa", address.value))
    return drop(Reason.OWN_PROBE, STAGE, 110, match)


def _echo_reply(vni: int, version: int, address: int) -> Flow:
    destination = ip_destination(version, address)
    match: tuple[Match, ...]
    if version == 4:
        match = (IPV4, ICMP, Match("icmp_type", ECHO_REQUEST), destination)
        reply = (Move("ip_src", "ip_dst", 32), SetField("ip_src", address), SetField("icmp_type", ECHO_REPLY))
    else:
        match = (*icmpv6(ECHO_REQUEST_V6), destination)
        reply = (
            Move("ipv6_src", "ipv6_dst", 128),
            SetField("ipv6_src", address),
            SetField("icmpv6_type", ECHO_REPLY_V6),
        )
    actions = (*swap_ethernet(ROUTER_MAC), *reply, InPort())
    return flow(Kind.NETWORK, STAGE, 100, (Match(SOURCE_NETWORK, vni), *match), actions)
