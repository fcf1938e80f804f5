"""Connections: which packets go through conntrack, in which zone, and when a connection is committed.

The zone is the tenant of the endpoint on this host: the source's before it is routed, the destination's once it is
found. A packet between two tenants on one host is looked up twice. Only endpoints that a policy may be about are
tracked, or whole tenants that ask for it; all other packets fall through these stages. What a look-up said is kept in
flags, because the next one overwrites it. Nothing skips policy for being established: `policy` judges every packet.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.model import Tenant
from controller.pipeline.flow import Action, Ct, Flow, Kind, Match, Move, Reason, drop, flow
from controller.pipeline.packet import (
    CT_INVALID,
    CT_NEW,
    CT_RELATED,
    CT_REPLY,
    ECHO_REPLY,
    ECHO_REPLY_V6,
    ICMP,
    ICMPV6,
    IPV4,
    IPV6,
    TCP,
    TIMESTAMP_REPLY,
    tracked,
)
from controller.pipeline.registers import (
    DESTINATION_IDENTITY,
    DESTINATION_JUDGED,
    DESTINATION_TENANT,
    DESTINATION_TENANT_BITS,
    EGRESS_MARK,
    FLAGS,
    HERE,
    INGRESS_MARK,
    NEW_AT_DESTINATION,
    NEW_AT_SOURCE,
    RELATED,
    REPLY,
    SOURCE_IDENTITY,
    SOURCE_JUDGED,
    SOURCE_TENANT_BITS,
    flag,
    flagged,
    is_identity,
    local_source_tenant,
)
from controller.pipeline.stages import Stage
from controller.selection import Identity
from controller.world import World

_SYN = 0x002
_LOW, _HIGH = 0, 0x8000

_ADMITTED = (Move(INGRESS_MARK, "ct_label", 32, 0, 32), Move(DESTINATION_TENANT, "ct_label", 16, 0, 64))
_OPENED = (Move(EGRESS_MARK, "ct_label", 32), *_ADMITTED)
"""What is noted in the label: bits 0 to 31 the egress rule, 32 to 63 the ingress rule that admitted the connection, 64
to 79 the destination's tenant. Of a connection between two tenants on one host both zones have an entry: the egress
rule is only in the source's, and the ingress rule counts only in the destination's."""
_OPEN_AT_SOURCE = Ct(SOURCE_TENANT_BITS, commit=True, notes=_OPENED)
_OPEN_AT_DESTINATION = Ct(DESTINATION_TENANT_BITS, commit=True, notes=_ADMITTED)


def _of_the_unseen(source: int, destination: int) -> tuple[Match, ...]:
    """TCP of a connection whose beginning was not tracked, with each port below 32768 (`_LOW`) or above (`_HIGH`)."""
    ports = Match("tcp_src", source, _HIGH), Match("tcp_dst", destination, _HIGH)
    return TCP, Match("tcp_flags", 0, _SYN), *ports


def _answer_to_the_unseen() -> tuple[Match, ...]:
    """Most likely from whom such a connection was opened to. It is judged as it stands, for nobody may call a packet an
    answer to be believed; but it opens nothing, or it would turn the connection round for its whole life."""
    return *_of_the_unseen(_LOW, _HIGH), tracked(CT_NEW)


def _undecided(ip: Match) -> Iterator[Flow]:
    """Such a connection's packets that may be its opener's or its answers. One that the destination, too, has accepted
    opens it: here, or at the destination's host. Were it opened as it leaves, each of two hosts could take its own end
    for the opener and so all of the other's packets for answers, whatever either's policies say."""
    opened = Match(FLAGS, NEW_AT_SOURCE, NEW_AT_SOURCE | REPLY)
    yield flow(Kind.BASE, Stage.COMMIT_SOURCE, 120, (ip, opened, HERE), (_OPEN_AT_SOURCE,), Stage.COMMIT_DESTINATION)
    for port in (_LOW, _HIGH):
        match = (ip, opened, *_of_the_unseen(port, port))
        yield flow(Kind.BASE, Stage.COMMIT_SOURCE, 110, match, (), Stage.COMMIT_DESTINATION)


def _echoes_of_the_unseen(judged: int) -> Iterator[tuple[Match, ...]]:
    """Answers to queries that were not tracked, so their connection is invalid. Where policy judges, it judges them as
    they stand: by rules about such messages, and by none that accept the query."""
    for ip, icmp, field, replies in (
        (IPV4, ICMP, "icmp_type", (ECHO_REPLY, TIMESTAMP_REPLY)),
        (IPV6, ICMPV6, "icmpv6_type", (ECHO_REPLY_V6,)),
    ):
        for reply in replies:
            yield ip, icmp, flagged(judged), tracked(CT_INVALID), Match(field, reply)


def base(world: World) -> list[Flow]:
    flows = [
        flow(Kind.BASE, Stage.TRACK_SOURCE, 0, (), goto=Stage.SERVICE),
        flow(Kind.BASE, Stage.TRACK_DESTINATION, 10, (flagged(SOURCE_JUDGED),), goto=Stage.NORMALIZE),
        flow(Kind.BASE, Stage.TRACK_DESTINATION, 0, (), goto=Stage.COMMIT_SOURCE),
        flow(Kind.BASE, Stage.COMMIT_SOURCE, 0, (), goto=Stage.COMMIT_DESTINATION),
        flow(Kind.BASE, Stage.COMMIT_DESTINATION, 0, (), goto=Stage.OUTPUT),
    ]
    for stage, then, new, judged in (
        (Stage.STATE_SOURCE, Stage.SERVICE, NEW_AT_SOURCE, SOURCE_JUDGED),
        (Stage.STATE_DESTINATION, Stage.IDENTIFY, NEW_AT_DESTINATION, DESTINATION_JUDGED),
    ):
        flows += [
            *(flow(Kind.BASE, stage, 110, match, (), then) for match in _echoes_of_the_unseen(judged)),
            drop(Reason.INVALID_CONNECTION, stage, 100, (tracked(CT_INVALID),)),
            flow(Kind.BASE, stage, 90, (tracked(CT_RELATED),), (flag(RELATED),), then),
            flow(Kind.BASE, stage, 80, (tracked(CT_REPLY),), (flag(REPLY),), then),
            *(flow(Kind.BASE, stage, 75, (ip, *_answer_to_the_unseen()), (), then) for ip in (IPV4, IPV6)),
            flow(Kind.BASE, stage, 70, (tracked(CT_NEW),), (flag(new),), then),
            flow(Kind.BASE, stage, 0, (), goto=then),
        ]
    for ip in (IPV4, IPV6):
        for stage, new, open, after in (
            (Stage.COMMIT_SOURCE, NEW_AT_SOURCE, _OPEN_AT_SOURCE, Stage.COMMIT_DESTINATION),
            (Stage.COMMIT_DESTINATION, NEW_AT_DESTINATION, _OPEN_AT_DESTINATION, Stage.OUTPUT),
        ):
            opened = Match(FLAGS, new, new | REPLY)  # a reply to a connection whose beginning was not seen opens none
            flows.append(flow(Kind.BASE, stage, 100, (ip, opened), (open,), after))
        flows += _undecided(ip)
    return flows


def tenant(world: World, tenant: Tenant) -> list[Flow]:
    """All connections of a tenant that asks for it, also those that no policy is about."""
    if not tenant.track_all:
        return []
    from_here = (local_source_tenant(tenant.id),)
    to_here = (Match(DESTINATION_TENANT, tenant.id), HERE)
    return _track(Kind.TENANT, 100, tenant.id, from_here, to_here, (), ())


def subject(world: World, identity: Identity) -> list[Flow]:
    """The connections of endpoints that a policy may be about."""
    from_here = is_identity(SOURCE_IDENTITY, identity.id)  # from the tunnel nothing comes through TRACK_SOURCE
    to_here = (*is_identity(DESTINATION_IDENTITY, identity.id), HERE)
    judged = (flag(SOURCE_JUDGED),), (flag(DESTINATION_JUDGED),)
    return _track(Kind.SUBJECT, 120, identity.tenant, from_here, to_here, *judged)


def _track(
    kind: Kind,
    priority: int,
    zone: int,
    from_here: tuple[Match, ...],
    to_here: tuple[Match, ...],
    source: tuple[Action, ...],
    destination: tuple[Action, ...],
) -> list[Flow]:
    # The source's look-up was in this zone: both ends are here and of one tenant.
    known = (*to_here, tracked(0), Match("ct_zone", zone))
    flows = [flow(kind, Stage.TRACK_DESTINATION, priority + 5, known, destination, Stage.NORMALIZE)]
    for ip in (IPV4, IPV6):
        flows += [
            flow(kind, Stage.TRACK_SOURCE, priority, (ip, *from_here), (*source, Ct(zone, table=Stage.STATE_SOURCE))),
            flow(
                kind,
                Stage.TRACK_DESTINATION,
                priority,
                (ip, *to_here),
                (*destination, Ct(zone, table=Stage.STATE_DESTINATION)),
            ),
        ]
    return flows
