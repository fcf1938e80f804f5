"""Questions for an address become their answers: ARP for IPv4, neighbour solicitation for IPv6."""

from __future__ import annotations

from controller.pipeline.flow import Action, Flow, InPort, Kind, Match, Move, SetField, flow
from controller.pipeline.packet import (
    ARP,
    ARP_REPLY,
    ARP_REQUEST,
    NEIGHBOR_ADVERTISEMENT,
    NEIGHBOR_SOLICITATION,
    icmpv6,
)
from controller.pipeline.stages import Stage

_TARGET_LINK_LAYER_OPTION = 2  # RFC 4861 section 4.6.1
_FLAGS, _OPTION = "reg14", "reg15"
ROUTER, _SOLICITED, _OVERRIDE = 1 << 31, 1 << 30, 1 << 29  # RFC 4861 section 4.4
_ALL_NODES, _ALL_NODES_MAC = (0xFF02 << 112) | 1, 0x3333_0000_0001  # RFC 4291 section 2.7.1, RFC 2464 section 7


def arp_reply(
    kind: Kind, priority: int, asker: tuple[Match, ...], address: int, mac: int, tag: tuple[Action, ...] = ()
) -> Flow:
    """`tag` is put on the answer."""
    match = (*asker, ARP, Match("arp_op", ARP_REQUEST), Match("arp_tpa", address))
    actions: tuple[Action, ...] = (
        *swap_ethernet(mac),
        SetField("arp_op", ARP_REPLY),
        Move("arp_sha", "arp_tha", 48),
        SetField("arp_sha", mac),
        Move("arp_spa", "arp_tpa", 32),
        SetField("arp_spa", address),
        *tag,
        InPort(),
    )
    return flow(kind, Stage.ANSWER, priority, match, actions)


def neighbor_reply(
    kind: Kind,
    priority: int,
    asker: tuple[Match, ...],
    address: int,
    mac: int,
    flags: int = 0,
    probe: bool = False,
) -> Flow:
    """`probe`: who asks has no address yet, so all are told (RFC 4861 section 7.2.4)."""
    match = (*asker, *icmpv6(NEIGHBOR_SOLICITATION), Match("nd_target", address))
    asked: tuple[Action, ...] = (*swap_ethernet(mac), Move("ipv6_src", "ipv6_dst", 128))
    if probe:
        match = (*match, Match("ipv6_src", 0))
        asked = (SetField("eth_src", mac), SetField("eth_dst", _ALL_NODES_MAC), SetField("ipv6_dst", _ALL_NODES))
    actions: tuple[Action, ...] = (
        *asked,
        SetField("ipv6_src", address),
        # Moved rather than set: the kernel's data path leaves these two to vswitchd, which refuses them only as set.
        SetField(_FLAGS, flags | (0 if probe else _SOLICITED) | _OVERRIDE),
        Move(_FLAGS, "nd_reserved", 32),
        SetField(_OPTION, _TARGET_LINK_LAYER_OPTION),
        Move(_OPTION, "nd_options_type", 8),
        SetField("icmpv6_type", NEIGHBOR_ADVERTISEMENT),
    )
    return flow(kind, Stage.ANSWER, priority, match, actions, Stage.ADVERTISE)


def swap_ethernet(mac: int) -> tuple[Action, Action]:
    return Move("eth_src", "eth_dst", 48), SetField("eth_src", mac)
