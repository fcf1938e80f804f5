"""Questions for an address become their answers: ARP for IPv4, neighbour solicitation for IPv6."""

from __future__ import annotations

from controller.pipeline.flow import SCRATCH, Action, Flow, InPort, Kind, Match, Move, SetField, flow
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
_ALL_NODES, _ALL_NODES_MAC = 0xFF02 << 112 | 1, 0x3333_0000_0001
ROUTER, _SOLICITED, _OVERRIDE = 1 << 31, 1 << 30, 1 << 29  # RFC 4861 section 4.4

ADVERTISED: tuple[Action, ...] = (Move("eth_src", "nd_tll", 48),)
"""The rest of an advertisement."""
ADVERTISED_TO_ALL: tuple[Action, ...] = (
    SetField("eth_dst", _ALL_NODES_MAC),
    SetField("ipv6_dst", _ALL_NODES),
    SetField(_FLAGS, 0, _SOLICITED),
    Move(_FLAGS, "nd_reserved", 32),
    *ADVERTISED,
)
"""The rest of an advertisement to somebody who has no address yet."""


def arp_reply(
    kind: Kind,
    asker: tuple[Match, ...],
    target: Match,
    mac: int,
    priority: int = 100,
    tag: tuple[Action, ...] = (),
) -> Flow:
    """Who has `target`, one address or a range of them: it is at `mac`. `tag` is put on the answer."""
    match = (*asker, ARP, Match("arp_op", ARP_REQUEST), target)
    asked: tuple[Action, ...] = ()
    says: tuple[Action, ...] = (SetField("arp_spa", target.value),)
    if target.mask is not None:
        asked, says = (Move("arp_tpa", SCRATCH, 32),), (Move(SCRATCH, "arp_spa", 32),)
    actions: tuple[Action, ...] = (
        *asked,
        *swap_ethernet(mac),
        SetField("arp_op", ARP_REPLY),
        Move("arp_sha", "arp_tha", 48),
        SetField("arp_sha", mac),
        Move("arp_spa", "arp_tpa", 32),
        *says,
        *tag,
        InPort(),
    )
    return flow(kind, Stage.ANSWER, priority, match, actions)


def neighbor_reply(
    kind: Kind, asker: tuple[Match, ...], target: Match, mac: int, priority: int = 100, flags: int = 0
) -> Flow:
    """The same as `arp_reply` for IPv6 (RFC 4861)."""
    match = (*asker, *icmpv6(NEIGHBOR_SOLICITATION), target)
    actions: tuple[Action, ...] = (
        *swap_ethernet(mac),
        Move("ipv6_src", "ipv6_dst", 128),
        SetField("ipv6_src", target.value) if target.mask is None else Move("nd_target", "ipv6_src", 128),
        # Moved rather than set: the kernel's data path leaves these two to vswitchd, which refuses them only as set.
        SetField(_FLAGS, flags | _SOLICITED | _OVERRIDE),
        Move(_FLAGS, "nd_reserved", 32),
        SetField(_OPTION, _TARGET_LINK_LAYER_OPTION),
        Move(_OPTION, "nd_options_type", 8),
        SetField("icmpv6_type", NEIGHBOR_ADVERTISEMENT),
    )
    return flow(kind, Stage.ANSWER, priority, match, actions, Stage.ADVERTISE)


def swap_ethernet(mac: int) -> tuple[Action, Action]:
    return Move("eth_src", "eth_dst", 48), SetField("eth_src", mac)
