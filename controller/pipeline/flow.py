"""What a flow and a group are: a match, actions and where the packet goes next, as plain values.

This module knows the shape of OpenFlow, not its bytes (`controller.openflow`) and not what Warren uses it for
(the other modules of this package). Building a flow checks it against the stage graph, so a flow that
jumps backwards or reaches a stage it has no business with fails where it is written.
"""

from __future__ import annotations

from enum import IntEnum, unique
from typing import NamedTuple

from controller.model import Direction
from controller.pipeline.stages import NEXT, Stage

SCRATCH = "reg5"
"""A register that nobody reads after the flow that wrote it."""


@unique
class Kind(IntEnum):
    """Who owns a flow: the high 16 bits of its cookie. The value 0 is never used, so a foreign flow shows."""

    BASE = 0x7701
    HOST = 0x7702
    NETWORK = 0x7703
    ZONE = 0x7704
    ENDPOINT = 0x7705
    TENANT = 0x7706
    SUBJECT = 0x7707
    CLAUSE = 0x7708  # a part of what a rule must find
    ANSWERS = 0x7709  # DNS answers that the controller hears
    ANNOUNCEMENT = 0x770A  # of a shared address, by who would take it over; the controller hears it
    POLICY = 0x77C0  # what a rule decides; near the drops, so that one question tells the counters of both
    DROP = 0x77D0  # plus Reason, up to 0x77ff


@unique
class Reason(IntEnum):
    """Why a packet was dropped; `Kind.DROP + reason` is its flow's owner kind, so the counters of a reason add up."""

    NO_STAGE = 0  # fell through a stage that nothing should fall through
    UNKNOWN_PORT = 1
    UNKNOWN_TUNNEL_SOURCE = 2
    UNKNOWN_NETWORK = 3
    SPOOFED = 4
    TUNNEL_PORT = 5
    BROADCAST = 6
    UNANSWERED = 7
    INVALID_CONNECTION = 8
    TTL_EXPIRED = 9
    NO_ROUTE = 10
    NO_ENDPOINT = 11
    TENANT_ISOLATION = 12
    NO_TUNNEL = 13  # the destination's host has no address, or the packet already came through a tunnel
    OWN_PROBE = 14  # duplicate address detection of an endpoint's own address: silence is the answer
    EGRESS_POLICY = 15  # a policy about the endpoint that opened the connection
    INGRESS_POLICY = 16  # a policy about the endpoint that was called
    EGRESS_FIREWALL = 17  # the tenant's rules for addresses outside
    OTHER_HOST = 18  # the source's network keeps to its host
    OTHER_SEGMENT = 19  # the destination's host cannot be reached without a tunnel
    SEGMENT = 20  # came from a physical segment, and is for nobody here
    OWN_BROADCAST = 21  # the copy of a broadcast for who sent it
    UNKNOWN_VLAN = 22  # came from a physical segment, with a tag that is no network's


class Match(NamedTuple):
    """One field of a match. `mask` None is an exact match; field names are those of ovs-fields(7)."""

    field: str
    value: int
    mask: int | None = None


class SetField(NamedTuple):
    """`set_field:value[/mask]->field` (OpenFlow set_field; NXAST_REG_LOAD where a mask is given)."""

    field: str
    value: int
    mask: int | None = None


class Move(NamedTuple):
    """`move:source[0..n-1]->destination[0..n-1]` over the whole of the shorter field."""

    source: str
    destination: str
    bits: int
    source_offset: int = 0
    destination_offset: int = 0


class Output(NamedTuple):
    port: int


class OutputReg(NamedTuple):
    """Output to the port whose number is in the low 16 bits of a register."""

    register: str


class InPort(NamedTuple):
    """Send the packet back where it came from."""


class DecTtl(NamedTuple):
    pass


class PushVlan(NamedTuple):
    """Give the packet an 802.1Q tag; which, is written to `vlan_vid` afterwards."""


class PopVlan(NamedTuple):
    """Take the packet's outermost tag away. The flow's match must ask for one."""


class Push(NamedTuple):
    """Onto the packet's stack (NXAST_STACK_PUSH): the whole field."""

    field: str


class Pop(NamedTuple):
    """From the packet's stack (NXAST_STACK_POP) into the whole field."""

    field: str


class Conjunction(NamedTuple):
    """`conjunction(id, clause/clauses)`: one of several things that must all match; `clause` counts from 1.

    A flow has these alone, and only counts when another flow of the same priority does for each other clause.
    """

    id: int
    clause: int
    clauses: int


ANSWERS_METER = 1
"""The meter of DNS answers that are copied: so a flood of denied packets, of which copies have another limit, hides
none."""


class ToController(NamedTuple):
    """A copy of the first `max_len` bytes (0xFFFF: all), within the limit of a meter; None: of that for all copies."""

    max_len: int
    meter: int | None = None


class ToGroup(NamedTuple):
    """Through every bucket of the group, each with a copy of the packet and its registers as they are now."""

    group: int


class Resubmit(NamedTuple):
    """To a stage, from a bucket (NXAST_RESUBMIT_TABLE); in a flow that is `goto`."""

    stage: Stage


class Nat(NamedTuple):
    """`nat(src=ADDRESS)` or `nat(dst=ADDRESS)` of a connection that is committed. One that is known is translated as it
    was, also where `end` is empty."""

    end: str = ""
    version: int = 4
    address: int = 0


class Ct(NamedTuple):
    """`ct(zone=..., table=..., commit, nat(...), exec(...))`. `zone` is a number or the name of a 16-bit field such as
    `reg0[0..15]`; `notes` go into the label of the connection that is committed."""

    zone: int | str
    commit: bool = False
    table: Stage | None = None
    notes: tuple[Move, ...] = ()
    nat: Nat | None = None


Action = (
    SetField
    | Move
    | Output
    | OutputReg
    | InPort
    | DecTtl
    | PushVlan
    | PopVlan
    | Push
    | Pop
    | Conjunction
    | ToController
    | ToGroup
    | Resubmit
    | Ct
)


class RuleRef(NamedTuple):
    """A rule of a policy; `number` counts from 0. `policy` 0: what denies the rest, in the tenant of that number."""

    policy: int
    direction: Direction
    number: int


class Flow(NamedTuple):
    """One flow. `owner` is the high 16 bits of the cookie; from `Kind.DROP` on it is a drop.

    `rule` is the policy's rule that it carries out, and is not told to the switch.
    """

    table: Stage
    priority: int
    match: tuple[Match, ...]
    actions: tuple[Action, ...]
    goto: Stage | None
    owner: int
    rule: RuleRef | None = None


class Bucket(NamedTuple):
    """One of a group's buckets. A group is all of its buckets, whichever fragments they come from; it is there as long
    as it has one, and one without actions says no more than that.

    Open vSwitch takes the actions of a bucket for a set: fields are set first, then one of them sends the packet on.
    """

    group: int
    actions: tuple[Action, ...]


Item = Flow | Bucket
"""What programs are made of."""


def bucket(stage: Stage, group: int, actions: tuple[Action, ...] = ()) -> Bucket:
    """A bucket, checked against the stage graph; `stage` is that of the flows which send packets to its group."""
    for action in actions:
        if isinstance(action, Resubmit) and action.stage not in NEXT[stage]:
            raise ValueError(f"no way from stage {stage.name} to {action.stage.name}")
    return Bucket(group, actions)


def flow(
    kind: Kind,
    stage: Stage,
    priority: int,
    match: tuple[Match, ...],
    actions: tuple[Action, ...] = (),
    goto: Stage | None = None,
    rule: RuleRef | None = None,
) -> Flow:
    """A flow, checked against the stage graph. Raises ValueError for an edge that `stages.NEXT` does not have."""
    targets = [goto] if goto is not None else []
    targets += [action.table for action in actions if isinstance(action, Ct) and action.table is not None]
    for target in targets:
        if target not in NEXT[stage]:
            raise ValueError(f"no way from stage {stage.name} to {target.name}")
    if goto is None and not actions:
        raise ValueError(f"a flow in {stage.name} that does nothing must be a drop with a reason")
    return Flow(stage, priority, match, actions, goto, int(kind), rule)


def drop(reason: Reason, stage: Stage, priority: int, match: tuple[Match, ...] = (), exact: str | None = None) -> Flow:
    """An explicit drop: its counter is the number of packets lost for `reason`. `exact` as in `read`."""
    actions = () if exact is None else (read(exact),)
    return Flow(stage, priority, match, actions, None, Kind.DROP + reason)


def read(field: str) -> Move:
    """Names an address field that the data path's cached copy of a flow must not generalise: reading it does that.

    Without it the cached drop of one address nobody has covers its neighbours, and swallows packets of a new endpoint
    among them until the cache is revalidated, milliseconds after its flows are in place.
    """
    return Move(field, SCRATCH, 32)
