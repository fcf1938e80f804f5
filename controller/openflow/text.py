"""A flow as `ovs-ofctl` would read it: for golden tests and for people with stage names, for the tool with numbers.

The order of fields is the canonical one of `fields`, so equal flows read equal.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from controller.model import format_mac, ip_address
from controller.openflow.encode import IN_PORT, LOCAL, encode
from controller.openflow.fields import CT_STATE, field
from controller.pipeline.flow import (
    Action,
    Bucket,
    Conjunction,
    Ct,
    DecTtl,
    Flow,
    InPort,
    Item,
    Match,
    Move,
    Nat,
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

_PORTS = {IN_PORT: "in_port", LOCAL: "LOCAL"}


def program_text(program: Iterable[Item]) -> str:
    """A whole program, one flow a line, by table and falling priority, with stage names; then its groups."""
    items = list(program)
    flows = (item for item in items if isinstance(item, Flow))
    lines = sorted((flow.table, -flow.priority, flow_text(flow)) for flow in flows)
    buckets = sorted(bucket_text(item) for item in items if isinstance(item, Bucket))
    return "".join(f"{line}\n" for line in (*(line for *_, line in lines), *buckets))


def bucket_text(bucket: Bucket) -> str:
    """One line for each of a group's buckets."""
    return f"group={bucket.group:#x}, bucket={','.join(map(action_text, bucket.actions)) or 'drop'}"


def flow_text(flow: Flow, *, numbers: bool = False) -> str:
    """`table=GUARD, priority=100,in_port=100,... actions=goto_table:ANSWER`.

    With `numbers`, exactly what `ovs-ofctl add-flow` takes, cookie included.
    """
    match = ",".join([f"priority={flow.priority}", *match_texts(flow.match)])
    actions = [action_text(action, numbers=numbers) for action in flow.actions]
    if flow.goto is not None:
        actions.append(f"goto_table:{_stage(flow.goto, numbers)}")
    body = f"table={_stage(flow.table, numbers)}, {match} actions={','.join(actions) or 'drop'}"
    return f"cookie={encode(flow).cookie:#x}, {body}" if numbers else body


_ETHERNET = {0x0800: "ip", 0x0806: "arp", 0x86DD: "ipv6"}
_PROTOCOL = {
    ("ip", 1): "icmp",
    ("ip", 6): "tcp",
    ("ip", 17): "udp",
    ("ip", 132): "sctp",
    ("ipv6", 58): "icmp6",
    ("ipv6", 6): "tcp6",
    ("ipv6", 17): "udp6",
    ("ipv6", 132): "sctp6",
}


def match_texts(matches: Iterable[Match]) -> list[str]:
    """The fields in canonical order; the usual Ethernet types and IP protocols by their short name."""
    ordered = sorted(matches, key=lambda item: field(item.field).order)
    values = {match.field: match.value for match in ordered}
    ethernet = _ETHERNET.get(values.get("eth_type", 0), "")
    protocol = _PROTOCOL.get((ethernet, values.get("ip_proto", 0)), "")
    texts = []
    for match in ordered:
        if match.field == "eth_type" and ethernet:
            texts.append(protocol or ethernet)
        elif match.field != "ip_proto" or not protocol:
            texts.append(match_text(match))
    return texts


def match_text(match: Match) -> str:
    if match.field == "ct_state":
        mask = 0xFFFFFFFF if match.mask is None else match.mask
        flags = [("+" if match.value & bit else "-") + name for name, bit in CT_STATE.items() if mask & bit]
        return f"ct_state={''.join(flags)}"
    return f"{match.field}={_masked(match.field, match.value, match.mask)}"


def action_text(action: Action, *, numbers: bool = False) -> str:
    match action:
        case SetField(name, value, mask):
            return f"set_field:{_masked(name, value, mask)}->{name}"
        case Move():
            source = _bits(action.source, action.source_offset, action.bits)
            return f"move:{source}->{_bits(action.destination, action.destination_offset, action.bits)}"
        case Output(port):
            return _PORTS.get(port, f"output:{port}")
        case OutputReg(register):
            return f"output:{register}[0..15]"
        case InPort():
            return "in_port"
        case DecTtl():
            return "dec_ttl"
        case PushVlan():
            return "push_vlan:0x8100"
        case PopVlan():
            return "pop_vlan"
        case Push(name):
            return f"push:{_bits(name, 0, field(name).bits)}"
        case Pop(name):
            return f"pop:{_bits(name, 0, field(name).bits)}"
        case Conjunction(id, clause, clauses):
            return f"conjunction({id},{clause}/{clauses})"
        case ToController(max_len, meter):
            return f"controller(max_len={max_len}{'' if meter is None else f',meter_id={meter}'})"
        case ToGroup(group):
            return f"group:{group if numbers else hex(group)}"
        case Resubmit(stage):
            return f"resubmit(,{_stage(stage, numbers)})"
        case Ct(zone, commit, table, notes, nat):
            parts = ["commit"] if commit else []
            parts += [f"table={_stage(table, numbers)}"] if table is not None else []
            parts.append(f"zone={zone}")
            parts += [_nat(nat)] if nat is not None else []
            parts += [f"exec({','.join(map(action_text, notes))})"] if notes else []
            return f"ct({','.join(parts)})"


def _nat(nat: Nat) -> str:
    return f"nat({nat.end}={ip_address(nat.version, nat.address)})" if nat.end else "nat"


def _stage(stage: int, numbers: bool) -> str:
    return str(int(stage)) if numbers else Stage(stage).name


def _bits(name: str, offset: int, bits: int) -> str:
    return f"{name}[{offset}..{offset + bits - 1}]" if bits > 1 else f"{name}[{offset}]"


def _masked(name: str, value: int, mask: int | None) -> str:
    row = field(name)
    full = (1 << row.bits) - 1
    if mask is None or mask == full:
        return _value(row.style, value)
    value &= mask
    inverse = mask ^ full
    if row.style in ("ipv4", "ipv6") and inverse & (inverse + 1) == 0:
        return f"{_value(row.style, value)}/{row.bits - inverse.bit_length()}"
    return f"{_value(row.style, value)}/{_value('hex' if row.style == 'decimal' else row.style, mask)}"


def _value(style: str, value: int) -> str:
    match style:
        case "mac":
            return format_mac(value)
        case "ipv4":
            return str(ipaddress.IPv4Address(value))
        case "ipv6":
            return str(ipaddress.IPv6Address(value))
        case "hex":
            return f"{value:#x}"
        case "port":
            return _PORTS.get(value, str(value))
        case _:
            return str(value)
