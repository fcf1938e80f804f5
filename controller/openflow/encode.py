"""A flow becomes bytes: the message that adds it, the message that deletes it, and its content-addressed cookie.

The encoding is the one Open vSwitch would choose itself, so a dumped flow can be compared byte by byte. Every
message is already wrapped for the one bundle a session may have open, so sending is only joining.
This module does not know which flows exist or why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import blake2b
from struct import Struct, pack
from typing import Any, NamedTuple

from controller.openflow.fields import FIELDS, Field, field
from controller.pipeline.flow import (
    Action,
    Conjunction,
    Ct,
    DecTtl,
    Flow,
    InPort,
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
    RuleRef,
    SetField,
    ToController,
    ToGroup,
)

VERSION = 5  # OpenFlow 1.4
FLOW_MOD = 14
BUNDLE_ADD = 34
ADD, DELETE_STRICT = 0, 4
BUNDLE = 1
"""The id of the bundle in every message: a session has one bundle at a time, and ids are private to a connection."""
BUNDLE_FLAGS = 0b11  # atomic, ordered
ANY = 0xFFFFFFFF
IN_PORT = 0xFFFFFFF8
LOCAL = 0xFFFFFFFE
CONTROLLER = 0xFFFFFFFD
NICIRA = 0x2320

WRAPPING = 16
"""Bytes of bundle message before the flow-mod."""
_HEAD = Struct("!2sH14sH4xQ8xBB4xH18sH")  # what is always the same, zeros and constants, is not packed each time
_ADD = pack("!BB", VERSION, BUNDLE_ADD)
_ADDED = pack("!IIHHBB", 0, BUNDLE, 0, BUNDLE_FLAGS, VERSION, FLOW_MOD)
_REST = pack("!IIIHHH", ANY, ANY, ANY, 0, 0, 1)  # no buffer, any port and group, no flags; OXM match
_KEY = Struct("!BH")
_PADS = tuple(bytes(-n % 8) for n in range(8))

REMEMBERED = 1 << 14
"""Matches and actions whose bytes are kept: most are the same in many flows."""
KEY_HEAD = _KEY.size
MOST_ACTIONS = 60_000
"""Bytes. A message has a 16-bit length, and the match and all headers need less than 4,000."""


class WireFlow(NamedTuple):
    """A flow ready to send. `key` identifies it in the switch: table, priority and match.

    `message` adds it inside bundle `BUNDLE`; its tail from `instructions` on is what the switch answers in a dump.
    """

    cookie: int
    key: bytes
    instructions: bytes
    message: bytes
    rule: RuleRef | None = None


def encode(flow: Flow) -> WireFlow:
    """Raises ValueError for a field, value or action that cannot be said in OpenFlow 1.4."""
    table, priority, match, actions, goto, owner, rule = flow
    key = _KEY.pack(table, priority) + encode_match(match)
    instructions = encode_instructions(actions, goto)
    cookie = owner << 48 | int.from_bytes(blake2b(key + instructions, digest_size=6).digest(), "big")
    return WireFlow(cookie, key, instructions, _message(ADD, cookie, table, priority, key, instructions), rule)


def encode_delete(key: bytes) -> bytes:
    """Deletes exactly the flow with this key, whatever its cookie and actions."""
    return _message(DELETE_STRICT, 0, key[0], int.from_bytes(key[1:KEY_HEAD], "big"), key, b"")


def _message(command: int, cookie: int, table: int, priority: int, key: bytes, instructions: bytes) -> bytes:
    oxm = len(key) - KEY_HEAD
    pad = _PADS[oxm + 4 & 7]
    length = _HEAD.size + oxm + len(pad) + len(instructions)
    head = _HEAD.pack(_ADD, length, _ADDED, length - WRAPPING, cookie, table, command, priority, _REST, oxm + 4)
    return b"".join((head, key[KEY_HEAD:], pad, instructions))


def encode_match(match: Iterable[Match]) -> bytes:
    """The match as OXM entries in canonical order, without header and padding.

    A field that is matched twice is left to the switch to refuse: looking for it would cost a tenth of all encoding.
    """
    parts = [_matched(item) for item in match]
    parts.sort()
    return b"".join([part[1] for part in parts])


@lru_cache(maxsize=REMEMBERED)
def _matched(match: Match) -> tuple[int, bytes]:
    """Place among the fields, and the entry."""
    name, value, mask = match
    if name not in _MATCHED:
        field(name)  # says which names there are
    order, size, full, maskable, oxm, oxm_masked = _MATCHED[name]
    if not 0 <= value <= full:
        raise _too_large(name, value)
    if mask is None or mask == full:
        return order, oxm + value.to_bytes(size, "big")
    if not maskable:
        raise ValueError(f"{name} cannot be matched with a mask ({mask:#x}); match its exact value")
    if not 0 <= mask <= full:
        raise _too_large(name, mask)
    entry = oxm_masked + (value & mask).to_bytes(size, "big") + mask.to_bytes(size, "big")
    return order, entry if mask else b""


_MATCHED = {
    row.name: (row.order, row.size, (1 << row.bits) - 1, row.maskable, row.oxm, row.oxm_masked)
    for row in FIELDS.values()
}


def _too_large(name: str, value: int) -> ValueError:
    return ValueError(f"{value:#x} does not fit into {name}, which has {field(name).bits} bits")


def encode_actions(actions: Iterable[Action]) -> bytes:
    """One after the other, without header."""
    return b"".join(map(_applied, actions))


def encode_instructions(actions: Iterable[Action], goto: int | None) -> bytes:
    """apply_actions, then goto_table."""
    applied = encode_actions(actions)
    if len(applied) > MOST_ACTIONS:
        raise ValueError(f"{len(applied)} bytes of actions do not fit into one OpenFlow message; use more flows")
    out = _APPLY.pack(4, 8 + len(applied)) + applied if applied else b""
    return out if goto is None else out + _GOTO.pack(1, 8, goto)


@lru_cache(maxsize=REMEMBERED, typed=True)  # actions of different types may be equal as tuples
def _applied(action: Action) -> bytes:
    return _ENCODERS[type(action)](action)


_APPLY = Struct("!HH4x")
_GOTO = Struct("!HHB3x")
_TLV = Struct("!HH")
_VENDOR = Struct("!HHIH")
_OUTPUT = Struct("!HHIH6x")
_MOVE = Struct("!HHIHHHH")
_OUTPUT_REG = Struct("!HHIHH4sH6x")
_CONTROLLER = Struct("!HHIH6x")
_PROPERTY = _TLV
_CT = Struct("!HHIHH4sHB3xH")
_NAT = Struct("!HHIH2xHH")
_STACK = Struct("!HHIHH4sH6x")
_CONJUNCTION = Struct("!HHIHBBI")
_GROUP = Struct("!HHI")
_RESUBMIT = Struct("!HHIHHB3x")
PUSH, POP = 27, 28

_DEC_TTL = _TLV.pack(24, 8) + bytes(4)
_PUSH_VLAN = _TLV.pack(17, 8) + b"\x81\x00" + bytes(2)  # with the Ethernet type of IEEE 802.1Q
_POP_VLAN = _TLV.pack(18, 8) + bytes(4)
_IN_PORT = _OUTPUT.pack(0, 16, IN_PORT, 0)


def _set_field(action: SetField) -> bytes:
    name, value, mask = action
    if name not in _SETS:
        field(name)  # says which names there are
    size, full, head, pad = _SETS[name]
    if not 0 <= value <= full:
        raise _too_large(name, value)
    if mask is None or mask == full:
        return head + value.to_bytes(size, "big") + pad
    if not 0 < mask <= full:
        raise _too_large(name, mask) if mask else ValueError(f"{name} is set in no bit; leave the action out")
    # OpenFlow 1.4 has no masked set_field; Nicira's reg_load2 sets any bits of any field.
    body = field(name).nxm_masked + (value & mask).to_bytes(size, "big") + mask.to_bytes(size, "big")
    length = _VENDOR.size + len(body)
    pad = _PADS[length & 7]
    return _VENDOR.pack(0xFFFF, length + len(pad), NICIRA, 33) + body + pad


def _set_parts(row: Field) -> tuple[int, int, bytes, bytes]:
    """Size, largest value, what stands before the value and what after it."""
    length = _TLV.size + len(row.oxm) + row.size
    pad = _PADS[length & 7]
    return row.size, (1 << row.bits) - 1, _TLV.pack(25, length + len(pad)) + row.oxm, pad


_SETS = {name: _set_parts(row) for name, row in FIELDS.items()}


def _move(action: Move) -> bytes:
    source, destination = field(action.source), field(action.destination)
    for row, offset in ((source, action.source_offset), (destination, action.destination_offset)):
        if action.bits < 1 or offset + action.bits > _nxm_bits(row):
            raise ValueError(f"{action.bits} bits from bit {offset} do not exist in {row.name}")
    return (
        _MOVE.pack(0xFFFF, 24, NICIRA, 6, action.bits, action.source_offset, action.destination_offset)
        + source.nxm
        + destination.nxm
    )


def _nxm_bits(row: Field) -> int:
    return min(row.bits, row.nxm[3] * 8)


def _output(action: Output) -> bytes:
    if not 0 < action.port <= ANY:
        raise ValueError(f"{action.port} is not a port to send to; ports have 32 bits and begin at 1")
    return _OUTPUT.pack(0, 16, action.port, 0)


def _output_reg(action: OutputReg) -> bytes:
    return _OUTPUT_REG.pack(0xFFFF, 24, NICIRA, 15, 15, field(action.register).nxm, 0xFFFF)


def _stack(subtype: int, name: str) -> bytes:
    row = field(name)
    return _STACK.pack(0xFFFF, 24, NICIRA, subtype, 0, row.nxm, _nxm_bits(row))


def _conjunction(action: Conjunction) -> bytes:
    id, clause, clauses = action
    if not 1 <= clause <= clauses <= 64 or clauses < 2:
        raise ValueError(f"clause {clause} of {clauses} does not exist; conjunctions have 2 to 64 clauses")
    return _CONJUNCTION.pack(0xFFFF, 16, NICIRA, 34, clause - 1, clauses, id)


def _to_controller(action: ToController) -> bytes:
    max_len, meter = action
    if meter is None:
        return _OUTPUT.pack(0, 16, CONTROLLER, max_len)
    # Open vSwitch writes down no length where all is meant.
    length = b"" if max_len == 0xFFFF else _PROPERTY.pack(0, 6) + max_len.to_bytes(2, "big") + bytes(2)
    properties = length + _PROPERTY.pack(5, 8) + meter.to_bytes(4, "big")
    return _CONTROLLER.pack(0xFFFF, _CONTROLLER.size + len(properties), NICIRA, 37) + properties


def _ct(action: Ct) -> bytes:
    zone, commit, table, notes, nat = action
    source, number = (bytes(4), zone) if isinstance(zone, int) else _sixteen_bits(zone)
    nested = (b"" if nat is None else _nat(nat)) + b"".join(map(_move, notes))
    then = 0xFF if table is None else table
    return _CT.pack(0xFFFF, _CT.size + len(nested), NICIRA, 35, int(commit), source, number, then, 0) + nested


def _nat(nat: Nat) -> bytes:
    end, version, address = nat
    if not end:
        return _NAT.pack(0xFFFF, 16, NICIRA, 36, 0, 0)
    size, present = (4, 1) if version == 4 else (16, 4)  # which part of the range is said: its lowest address
    body = address.to_bytes(size, "big")
    body += _PADS[len(body) & 7]
    return _NAT.pack(0xFFFF, _NAT.size + len(body), NICIRA, 36, ("src", "dst").index(end) + 1, present) + body


def _sixteen_bits(text: str) -> tuple[bytes, int]:
    """`reg0[0..15]` to its header and Nicira's offset-and-width number."""
    name, _, bits = text.partition("[")
    first, _, last = bits.rstrip("]").partition("..")
    if not (first.isdigit() and last.isdigit()) or int(last) - int(first) != 15:
        raise ValueError(f"{text!r} is not 16 bits of a field; write it like reg0[0..15]")
    return field(name).nxm, int(first) << 6 | 15


_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    SetField: _set_field,
    Move: _move,
    Output: _output,
    OutputReg: _output_reg,
    InPort: lambda action: _IN_PORT,
    DecTtl: lambda action: _DEC_TTL,
    PushVlan: lambda action: _PUSH_VLAN,
    PopVlan: lambda action: _POP_VLAN,
    Push: lambda action: _stack(PUSH, action.field),
    Pop: lambda action: _stack(POP, action.field),
    Conjunction: _conjunction,
    ToController: _to_controller,
    ToGroup: lambda action: _GROUP.pack(22, 8, action.group),
    Resubmit: lambda action: _RESUBMIT.pack(0xFFFF, 16, NICIRA, 14, IN_PORT & 0xFFFF, action.stage),
    Ct: _ct,
}
