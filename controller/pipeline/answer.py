"""Address questions are answered here, from the database: nothing is ever flooded to find an endpoint.

One flow answers one address to whoever asks inside its network: ARP for IPv4, neighbour solicitation for IPv6, and
echo requests to the gateway. Duplicate address detection is answered for addresses that somebody else has.
What is left of ARP, ND, broadcast and multicast is dropped with its reason.
"""

from __future__ import annotations

from controller.model import Address, Endpoint, Network
from controller.pipeline.flow import SCRATCH, Action, Flow, InPort, Kind, Match, Move, Reason, SetField, drop, flow
from controller.pipeline.packet import (
    ARP,
    ARP_REPLY,
    ARP_REQUEST,
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
from controller.world import World

STAGE = Stage.ANSWER

_TARGET_LINK_LAYER_OPTION = 2  # RFC 4861 section 4.6.1
_FLAGS, _OPTION = "reg14", "reg15"
_ALL_NODES, _ALL_NODES_MAC = 0xFF02 << 112 | 1, 0x3333_0000_0001
_ROUTER, _SOLICITED, _OVERRIDE = 1 << 31, 1 << 30, 1 << 29  # RFC 4861 section 4.4


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
            (Move("eth_src", "nd_tll", 48), InPort()),
        ),
        # Who asks without an address is told as all nodes are, and not as solicited (RFC 4861 section 7.2.4).
        flow(
            Kind.BASE,
            Stage.ADVERTISE,
            110,
            (*icmpv6(NEIGHBOR_ADVERTISEMENT), Match("ipv6_dst", 0)),
            (
                SetField("eth_dst", _ALL_NODES_MAC),
                SetField("ipv6_dst", _ALL_NODES),
                SetField(_FLAGS, 0, _SOLICITED),
                Move(_FLAGS, "nd_reserved", 32),
                Move("eth_src", "nd_tll", 48),
                InPort(),
            ),
        ),
        drop(Reason.NO_STAGE, Stage.ADVERTISE, 0),
    ]


def network(world: World, network: Network) -> list[Flow]:
    """The gateway has one MAC on every host, and answers a ping."""
    flows = []
    for subnet in network.subnets:
        gateway = subnet.version, subnet.gateway
        if subnet.version == 4:
            flows.append(arp_reply(Kind.NETWORK, network.vni, Match("arp_tpa", subnet.gateway), ROUTER_MAC))
        else:
            flows.append(
                neighbor_reply(Kind.NETWORK, network.vni, Match("nd_target", subnet.gateway), ROUTER_MAC, flags=_ROUTER)
            )
        flows.append(_echo_reply(network.vni, *gateway))
    return flows


def endpoint(world: World, endpoint: Endpoint) -> list[Flow]:
    """The same flows wherever the endpoint is."""
    vni = world.networks[endpoint.network].vni
    return [
        arp_reply(Kind.ENDPOINT, vni, Match("arp_tpa", address.value), endpoint.mac)
        if address.version == 4
        else neighbor_reply(Kind.ENDPOINT, vni, Match("nd_target", address.value), endpoint.mac)
        for address in endpoint.addresses
    ]


def local(world: World, endpoint: Endpoint) -> list[Flow]:
    """An endpoint that asks for its own address must hear nothing, or it would give the address up."""
    return [_own_arp_probe(endpoint, address) for address in endpoint.addresses if address.version == 4]


def _own_arp_probe(endpoint: Endpoint, address: Address) -> Flow:
    match = (Match("in_port", endpoint.ofport), ARP, Match("arp_tpa", address.value))
    return drop(Reason.OWN_PROBE, STAGE, 110, match)


def arp_reply(kind: Kind, vni: int, target: Match, mac: int, priority: int = 100) -> Flow:
    """Who has `target`, one address or a range of them: it is at `mac`."""
    match = (Match(SOURCE_NETWORK, vni), ARP, Match("arp_op", ARP_REQUEST), target)
    asked: tuple[Action, ...] = ()
    says: tuple[Action, ...] = (SetField("arp_spa", target.value),)
    if target.mask is not None:
        asked, says = (Move("arp_tpa", SCRATCH, 32),), (Move(SCRATCH, "arp_spa", 32),)
    actions: tuple[Action, ...] = (
        *asked,
        *_swap_ethernet(mac),
        SetField("arp_op", ARP_REPLY),
        Move("arp_sha", "arp_tha", 48),
        SetField("arp_sha", mac),
        Move("arp_spa", "arp_tpa", 32),
        *says,
        InPort(),
    )
    return flow(kind, STAGE, priority, match, actions)


def neighbor_reply(kind: Kind, vni: int, target: Match, mac: int, priority: int = 100, flags: int = 0) -> Flow:
    """As `arp_reply`, of IPv6."""
    match = (Match(SOURCE_NETWORK, vni), *icmpv6(NEIGHBOR_SOLICITATION), target)
    actions: tuple[Action, ...] = (
        *_swap_ethernet(mac),
        Move("ipv6_src", "ipv6_dst", 128),
        SetField("ipv6_src", target.value) if target.mask is None else Move("nd_target", "ipv6_src", 128),
        # Moved rather than set: the kernel's data path leaves these two to vswitchd, which refuses them only as set.
        SetField(_FLAGS, flags | _SOLICITED | _OVERRIDE),
        Move(_FLAGS, "nd_reserved", 32),
        SetField(_OPTION, _TARGET_LINK_LAYER_OPTION),
        Move(_OPTION, "nd_options_type", 8),
        SetField("icmpv6_type", NEIGHBOR_ADVERTISEMENT),
    )
    return flow(kind, STAGE, priority, match, actions, Stage.ADVERTISE)


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
    actions = (*_swap_ethernet(ROUTER_MAC), *reply, InPort())
    return flow(Kind.NETWORK, STAGE, 100, (Match(SOURCE_NETWORK, vni), *match), actions)


def _swap_ethernet(mac: int) -> tuple[Action, Action]:
    return Move("eth_src", "eth_dst", 48), SetField("eth_src", mac)
