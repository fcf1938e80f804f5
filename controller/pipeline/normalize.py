"""Every packet of a connection reads as its opener's: so policies have one form, for packets and for replies.

A reply is turned round for the judges (source and destination swap their identities, tenants and addresses, and what
is judged of whom) and turned back afterwards, before anything is sent: no bit of the packet changes. `SERVICE` gets
what the connection was opened to, protocol and port, so that a rule needs one flow for both directions and both address
families. The opener's own port is never read, so a cached decision serves all connections to a service. From a tunnel
comes no identity; it is found here by network and address.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from controller.model import Endpoint
from controller.pipeline.flow import SCRATCH, Action, Flow, Kind, Match, Move, Pop, Push, SetField, flow, read
from controller.pipeline.packet import (
    ECHO_REPLY,
    ECHO_REPLY_V6,
    ECHO_REQUEST,
    ECHO_REQUEST_V6,
    ICMP,
    ICMPV6,
    IPV4,
    IPV6,
    SCTP,
    TCP,
    TIMESTAMP,
    TIMESTAMP_REPLY,
    UDP,
    ip,
    ip_source,
)
from controller.pipeline.registers import (
    DESTINATION_IDENTITY,
    DESTINATION_JUDGED,
    DESTINATION_TENANT,
    FLAGS,
    FROM_TUNNEL,
    RELATED,
    REPLY,
    SERVICE,
    SOURCE_IDENTITY,
    SOURCE_JUDGED,
    SOURCE_NETWORK,
    SOURCE_TENANT,
    flagged,
    set_identity,
    unflagged,
)
from controller.pipeline.stages import Stage
from controller.world import World

STAGE = Stage.NORMALIZE


def base(world: World) -> list[Flow]:
    flows = [
        # Whoever is not known yet has no identity, and what is cached of that must hold for one address only.
        flow(Kind.BASE, Stage.IDENTIFY, 10, (IPV4, flagged(FROM_TUNNEL)), (read("ip_src"),), STAGE),
        flow(Kind.BASE, Stage.IDENTIFY, 10, (IPV6, flagged(FROM_TUNNEL)), (read("ipv6_src"),), STAGE),
        flow(Kind.BASE, Stage.IDENTIFY, 0, (), goto=STAGE),
        flow(Kind.BASE, STAGE, 200, (flagged(RELATED),), goto=Stage.COMMIT_SOURCE),
        flow(Kind.BASE, STAGE, 190, (unflagged(SOURCE_JUDGED, DESTINATION_JUDGED),), goto=Stage.COMMIT_SOURCE),
        flow(Kind.BASE, Stage.RESTORE, 0, (), goto=Stage.COMMIT_SOURCE),
    ]
    for family in _FAMILIES:
        turn = (*_TURN, *_swap(*family.ends))
        flows.append(flow(Kind.BASE, Stage.RESTORE, 100, (REPLIES, family.ip), turn, Stage.COMMIT_SOURCE))
        for priority, match, end_of_opener, end_of_called in _protocols(family):
            flows.append(_to_judge(priority, (family.ip, *match), (), end_of_called))
            flows.append(_to_judge(priority + 50, (REPLIES, family.ip, *match), turn, end_of_opener))
        for reply, request in family.queries.items():
            match = (REPLIES, family.ip, family.icmp, Match(f"{family.name}_type", reply))
            says = SetField(SERVICE, request << 8, 0xFF00), Move(f"{family.name}_code", SERVICE, 8)
            flows.append(_to_judge(120, match, turn, says))
    return flows


def remote(world: World, endpoint: Endpoint) -> list[Flow]:
    """Who speaks, of an endpoint on another host."""
    its = set_identity(SOURCE_IDENTITY, world.identity_of(endpoint).id)
    vni = Match(SOURCE_NETWORK, world.networks[endpoint.network].vni)
    return [
        flow(
            Kind.ENDPOINT,
            Stage.IDENTIFY,
            100,
            (flagged(FROM_TUNNEL), vni, ip(address.version), ip_source(address.version, address.value)),
            its,
            STAGE,
        )
        for address in endpoint.addresses
    ]


REPLIES = flagged(REPLY)


def _swap(one: str, other: str) -> tuple[Action, ...]:
    return Push(one), Push(other), Pop(one), Pop(other)


def _swap_bits(one: str, other: str, bits: int, at: int = 0, other_at: int = 0) -> tuple[Action, ...]:
    return (
        Move(one, SCRATCH, bits, at),
        Move(other, one, bits, other_at, at),
        Move(SCRATCH, other, bits, 0, other_at),
    )


_TURN = (
    *(action for pair in zip(SOURCE_IDENTITY, DESTINATION_IDENTITY, strict=True) for action in _swap(*pair)),
    *_swap_bits(SOURCE_TENANT, DESTINATION_TENANT, 16),
    *_swap_bits(FLAGS, FLAGS, 1, SOURCE_JUDGED.bit_length() - 1, DESTINATION_JUDGED.bit_length() - 1),
)


class _Family(NamedTuple):
    """`queries`: the ICMP type that a connection was opened with, by that of its replies."""

    ip: Match
    ends: tuple[str, str]
    icmp: Match
    name: str
    queries: dict[int, int]


_FAMILIES = (
    _Family(IPV4, ("ip_src", "ip_dst"), ICMP, "icmp", {ECHO_REPLY: ECHO_REQUEST, TIMESTAMP_REPLY: TIMESTAMP}),
    _Family(IPV6, ("ipv6_src", "ipv6_dst"), ICMPV6, "icmpv6", {ECHO_REPLY_V6: ECHO_REQUEST_V6}),
)

_Says = tuple[int, tuple[Match, ...], tuple[Action, ...], tuple[Action, ...]]


def _protocols(family: _Family) -> Iterator[_Says]:
    """Priority, match, and the low half of `SERVICE` as a reply has it and as any other packet has it."""
    for protocol, name in ((TCP, "tcp"), (UDP, "udp"), (SCTP, "sctp")):
        yield 60, (protocol,), (Move(f"{name}_src", SERVICE, 16),), (Move(f"{name}_dst", SERVICE, 16),)
    message = Move(f"{family.name}_type", SERVICE, 8, 0, 8), Move(f"{family.name}_code", SERVICE, 8)
    yield 60, (family.icmp,), message, message
    yield 50, (), (), ()


def _to_judge(priority: int, match: tuple[Match, ...], turn: tuple[Action, ...], says: tuple[Action, ...]) -> Flow:
    return flow(
        Kind.BASE,
        STAGE,
        priority,
        match,
        (*turn, Move("ip_proto", SERVICE, 8, 0, 16), *says),
        Stage.EGRESS_ADMIN,
    )
