"""A flow's match and actions in words, with names for the numbers in them where there are names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from controller.calc.known import FIELDS, FLAG_WORDS, IDENTITIES, PROTOCOLS, Names
from controller.model import ip_address
from controller.openflow.encode import IN_PORT, LOCAL
from controller.openflow.fields import CT_STATE
from controller.openflow.text import action_text, match_text
from controller.pipeline import packet, registers
from controller.pipeline.flow import (
    SCRATCH,
    Action,
    Conjunction,
    Ct,
    DecTtl,
    Flow,
    InPort,
    Match,
    Move,
    Output,
    OutputReg,
    Pop,
    PopVlan,
    Push,
    PushVlan,
    Resubmit,
    SetField,
    ToController,
    ToGroup,
)
from controller.pipeline.stages import Stage

PACKETS = {
    packet.IPV4: "IPv4",
    packet.ARP: "ARP",
    packet.IPV6: "IPv6",
    **{Match("ip_proto", number): name for number, name in PROTOCOLS.items()},
    Match("arp_op", packet.ARP_REQUEST): "a question",
    Match("arp_op", packet.ARP_REPLY): "an answer",
    packet.MULTICAST: "to many",
}
STATES = {
    CT_STATE["new"]: "new",
    CT_STATE["est"]: "known",
    CT_STATE["rel"]: "about another",
    CT_STATE["rpl"]: "a reply",
    CT_STATE["inv"]: "invalid",
    CT_STATE["trk"]: "looked up",
}
PLACES = {
    "eth_src": "the source MAC",
    "eth_dst": "the destination MAC",
    "ip_src": "the source address",
    "ip_dst": "the destination address",
    "ipv6_src": "the source address",
    "ipv6_dst": "the destination address",
    "tun_id": "the tunnelled network",
    "ip_proto": "the protocol",
    SCRATCH: "a scratch register",
    registers.SERVICE: "the service",
    registers.DESTINATION_HOST: "the destination host",
    "ct_label": "the connection's label",
}
_HALVES = ("first half", "second half")


class Part(NamedTuple):
    """One field of a match or one action: in words, and as Open vSwitch says it."""

    words: str
    raw: str


def match_parts(flow: Flow, names: Names) -> Iterator[Part]:
    yield from _fields(flow.match, names, flow.table)


def action_parts(flow: Flow, names: Names) -> Iterator[Part]:
    sets = [action for action in flow.actions if isinstance(action, SetField)]
    whole = _identities(sets, names)
    for action in flow.actions:
        if isinstance(action, SetField):
            if action.field in whole and (of := whole[action.field]) is not None:
                yield Part(f"set {of.words}", of.raw)
            elif action.field not in whole:
                raw = action_text(action)
                said = part(Match(*action), f"{action.field}={raw[10:].partition('->')[0]}", names, flow.table)
                yield Part(f"set {said.words}", raw)
        else:
            yield Part(_said(action, names), action_text(action))
    if flow.goto is not None:
        yield Part(f"go to {_stage(flow.goto)}", f"goto_table:{int(flow.goto)}")
    if flow.goto is None and not flow.actions:
        yield Part("drop", "drop")


def _fields(matches: Sequence[Match], names: Names, stage: Stage) -> Iterator[Part]:
    whole = _identities(matches, names)
    for item in matches:
        if item.field not in whole:
            yield part(item, match_text(item), names, stage)
        elif (of := whole[item.field]) is not None:
            yield of


def _identities(items: Sequence[Match] | Sequence[SetField], names: Names) -> dict[str, Part | None]:
    """The two halves of an identity as one, where both are there and it is known; None for what went into the other."""
    found: dict[str, Part | None] = {}
    values = {item.field: item for item in items if item.mask is None}
    for (high, low), what in IDENTITIES.items():
        if high in values and low in values:
            number = values[high].value << 32 | values[low].value
            raw = f"{high}={values[high].value:#x},{low}={values[low].value:#x}"
            if (name := names.identity(number)) is not None:
                found |= {high: Part(f"{what} {name}", raw), low: None}
    return found


def part(item: Match, raw: str, names: Names, stage: Stage | None = None) -> Part:
    """One field. A register that is for scratch where it stands is called so."""
    field, value, mask = item
    if item in PACKETS:
        return Part(PACKETS[item], raw)
    if field == "ct_state":
        return Part(f"connection {state(value, mask)}", raw)
    if field == SCRATCH or (stage is Stage.ANSWER and field in (registers.EGRESS_MARK, registers.INGRESS_MARK)):
        return Part(f"{PLACES[SCRATCH]} {raw.partition('=')[2]}", raw)
    meaning = names.of(field, value, mask)
    if meaning is not None and field.startswith("reg0"):
        return Part(meaning, raw)
    if field in FIELDS:
        return Part(f"{FIELDS[field]} {meaning or raw.partition('=')[2]}", raw)
    if meaning is None:
        return Part(raw, raw)
    return Part(f"{field.replace('_', ' ')} {raw.partition('=')[2]} ({meaning})", raw)


def state(value: int, mask: int | None) -> str:
    """What conntrack said: `new`, `not a reply`. That it was asked is said where nothing else is."""
    asked = 0xFF if mask is None else mask
    said = [word if value & bit else f"not {word}" for bit, word in STATES.items() if asked & bit]
    return ", ".join(said[:-1] if len(said) > 1 and asked & value & CT_STATE["trk"] else said) or "any"


def _said(action: Action, names: Names) -> str:
    match action:
        case Output(port):
            if port in (IN_PORT, LOCAL):
                return "send back" if port == IN_PORT else "send to the host"
            return f"send to {names.port(port) or f'port {port}'}"
        case OutputReg():
            return "send to the destination's port"
        case InPort():
            return "send back"
        case DecTtl():
            return "lower the TTL"
        case PushVlan():
            return "give a tag"
        case PopVlan():
            return "take the tag away"
        case Move():
            return f"copy {place(action.source, action.source_offset, action.bits)} to " + place(
                action.destination, action.destination_offset, action.bits
            )
        case Push(field):
            return f"keep {place(field)}"
        case Pop(field):
            return f"put back {place(field)}"
        case Conjunction(id, clause, clauses):
            return f"part {clause} of {clauses} of rule {id}"
        case ToController():
            return "tell the controller"
        case ToGroup(group):
            return f"copy to everybody of {names.group(group) or f'group {group:#x}'}"
        case Resubmit(stage):
            return f"go through {_stage(stage)}"
        case Ct():
            return _connection(action, names)
    return action_text(action)


def _connection(action: Ct, names: Names) -> str:
    zone = action.zone
    whose = place("reg0" if zone == registers.SOURCE_TENANT_BITS else "reg7", 0, 16)
    if isinstance(zone, int):
        whose = names.of("ct_zone", zone, None) or f"zone {zone}"
    said = f"remember the connection of {whose}" if action.commit else f"look up connections of {whose}"
    if action.nat is not None and action.nat.end:
        end = "destination" if action.nat.end == "dst" else "source"
        return f"{said}, its {end} as {ip_address(action.nat.version, action.nat.address)}"
    return f"{said}, translated as before" if action.nat is not None else said


def place(field: str, offset: int = 0, bits: int = 0) -> str:
    """Where something is kept, or a field of the packet."""
    if field == registers.FLAGS:
        if bits == 1:
            return f"whether it is {FLAG_WORDS.get(1 << offset, f'flagged {offset}')}"
        return "the source tenant"
    for halves, what in IDENTITIES.items():
        if field in halves:
            return f"{what}, {_HALVES[halves.index(field)]}"
    if field == registers.DESTINATION_TENANT:
        return "the destination tenant"
    if field in (registers.EGRESS_MARK, registers.INGRESS_MARK):
        return f"the rule that {'let it go' if field == registers.EGRESS_MARK else 'let it in'}"
    return PLACES.get(field) or FIELDS.get(field) or field.replace("_", " ")


def _stage(stage: Stage) -> str:
    return stage.name.lower().replace("_", " ")
