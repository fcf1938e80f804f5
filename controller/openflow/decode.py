"""Messages from the switch become values: errors in words, dumped flows by key, replies to what was asked.

Flows are not parsed: table, priority and match are kept as the bytes of `WireFlow.key`, the instructions as the
bytes they are; nor are copied packets. This module does not know what was asked or what any of it means.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from controller.openflow.encode import BUNDLE_ADD, FLOW_MOD, KEY_HEAD, WRAPPING
from controller.openflow.fields import FIELDS, ONF

ERROR, ECHO_REQUEST, ECHO_REPLY = 1, 2, 3
PACKET_IN = 10
MULTIPART_REPLY, ROLE_REPLY, ROLE_STATUS, BUNDLE_CONTROL = 19, 25, 30, 33
FLOW_STATS, GROUP_DESC = 1, 7

HEADER = Struct("!BBHI")
_MULTIPART = Struct("!HH")
_FLOW = Struct("!HB9xH10xQQQ2xH")
_GROUP = Struct("!HBxI")
_BUNDLE = Struct("!IHH")
_ROLE = Struct("!I4xQ")
_ERROR = Struct("!HH")
_PACKET_IN = Struct("!IHBBQHH")
_FIELDS = {row.oxm: row for row in FIELDS.values()}
_MASKED = {row.oxm_masked: row for row in FIELDS.values()}


class Header(NamedTuple):
    version: int
    type: int
    length: int
    xid: int


class InstalledFlow(NamedTuple):
    """A flow that the switch has. `key` and `instructions` compare with those of a `WireFlow`."""

    cookie: int
    key: bytes
    instructions: bytes
    packets: int
    bytes: int


class InstalledGroup(NamedTuple):
    """A group that the switch has. `buckets` are the bytes of each, in the switch's order."""

    id: int
    type: int
    buckets: tuple[bytes, ...]


class PacketIn(NamedTuple):
    """A copy of the beginning of a packet that a flow sent, as the packet was then; `fields` are what it carried that
    is not in its bytes: registers, metadata, the port it came in by. What is 0 may be left out."""

    cookie: int
    fields: dict[str, int]
    packet: bytes


class SwitchError(NamedTuple):
    """`xid` is that of the message that was refused, `cookie` and `key` those of the flow in it."""

    xid: int
    words: str
    type: int
    code: int
    cookie: int | None
    key: bytes | None

    @property
    def not_master(self) -> bool:
        """Refused because another controller is the switch's master."""
        return (self.type, self.code) == (1, 10)


def header(message: bytes) -> Header:
    return Header(*HEADER.unpack_from(message))


def multipart(message: bytes) -> tuple[int, bool]:
    """Which statistics these are, and whether more of them follow."""
    kind, flags = _MULTIPART.unpack_from(message, 8)
    return kind, bool(flags & 1)


def flows(message: bytes) -> list[InstalledFlow]:
    """The flows of one part of a flow-statistics reply."""
    found: list[InstalledFlow] = []
    append, unpack = found.append, _FLOW.unpack_from
    position, end = 16, len(message)
    while position < end:
        length, _, _, cookie, packets, octets, match = unpack(message, position)
        oxm = position + 52
        match_end = oxm + match - 4
        append(
            InstalledFlow(
                cookie,
                message[position + 2 : position + 3] + message[position + 12 : position + 14] + message[oxm:match_end],
                message[oxm - 4 + (match + 7 & ~7) : position + length],
                packets,
                octets,
            )
        )
        position += length
    return found


def installed_groups(message: bytes) -> list[InstalledGroup]:
    """The groups of one part of a group-description reply."""
    found = []
    position = 16
    while position < len(message):
        length, kind, id = _GROUP.unpack_from(message, position)
        buckets, bucket, end = [], position + _GROUP.size, position + length
        while bucket < end:
            size = int.from_bytes(message[bucket : bucket + 2], "big")
            buckets.append(message[bucket : bucket + size])
            bucket += size
        found.append(InstalledGroup(id, kind, tuple(buckets)))
        position = end
    return found


def cookie(message: bytes) -> int:
    """The cookie of the flow that sent a packet-in."""
    return int.from_bytes(message[16:24], "big")


def packet_in(message: bytes) -> PacketIn:
    """Fields that are not known are left out."""
    *_, cookie, _, match = _PACKET_IN.unpack_from(message, 8)
    position, end = 28, 24 + match
    fields: dict[str, int] = {}
    while position < end:
        length = message[position + 3]
        vendor = len(ONF) if message[position : position + 2] == b"\xff\xff" else 0
        value = position + 4 + vendor
        head, after = message[position:value], position + 4 + length
        if (row := _FIELDS.get(head)) is not None:
            fields[row.name] = int.from_bytes(message[value:after], "big")
        elif (row := _MASKED.get(head)) is not None:
            fields[row.name] = int.from_bytes(message[value : value + row.size], "big")
        position = after
    return PacketIn(cookie, fields, message[24 + (match + 7 & ~7) + 2 :])


def bundle_control(message: bytes) -> int:
    """What the switch says of the bundle: 1 opened, 3 closed, 5 committed, 7 discarded."""
    kind: int = _BUNDLE.unpack_from(message, 8)[1]
    return kind


def role(message: bytes) -> tuple[int, int]:
    """(role, generation id) of a role reply or of a role status that came unasked; 2 is master, 3 slave."""
    number, generation = _ROLE.unpack_from(message, 8)
    return number, generation


def error(message: bytes) -> SwitchError:
    """The error in words, and the flow it is about when it is about one."""
    _, _, _, xid = HEADER.unpack_from(message)
    kind, code = _ERROR.unpack_from(message, 8)
    if kind == _EXPERIMENTER:
        words = _NICIRA.get(code, f"vendor error {code}")
        refused = message[16:]
    else:
        name, codes = _ERRORS.get(kind, (f"error of type {kind}", ()))
        words = f"{name}: {codes[code] if code < len(codes) else f'code {code}'}"
        refused = message[12:]
    return SwitchError(xid, words, kind, code, *_refused_flow(refused))


def _refused_flow(refused: bytes) -> tuple[int | None, bytes | None]:
    if refused[1:2] == bytes([BUNDLE_ADD]):
        refused = refused[WRAPPING:]
    if refused[1:2] != bytes([FLOW_MOD]) or len(refused) < 48:
        return None, None
    cookie = int.from_bytes(refused[8:16], "big")
    if len(refused) < 52:
        return cookie, None
    match_end = 48 + int.from_bytes(refused[50:52], "big")
    return cookie, refused[24:25] + refused[30:32] + refused[52:match_end] if len(refused) >= match_end else None


def table_and_priority(key: bytes) -> tuple[int, int]:
    """Where the flow with this key is."""
    return key[0], int.from_bytes(key[1:KEY_HEAD], "big")


_EXPERIMENTER = 0xFFFF

_ERRORS: dict[int, tuple[str, tuple[str, ...]]] = {
    0: ("hello failed", ("no common version", "not permitted")),
    1: (
        "bad request",
        (
            *("bad version", "bad type", "bad multipart type", "bad experimenter", "bad experimenter type"),
            *("not permitted", "bad length", "buffer is empty", "unknown buffer", "bad table", "this role may not"),
            *("bad port", "bad packet", "too many parts"),
        ),
    ),
    2: (
        "bad action",
        (
            *("unknown type", "bad length", "unknown experimenter", "unknown experimenter type", "bad port"),
            *("bad argument", "not permitted", "too many actions", "bad queue", "unknown group"),
            *("does not fit the match", "unsupported order", "bad tag", "bad set_field type", "bad set_field length"),
            *("bad set_field argument", "bad set_field mask"),
        ),
    ),
    3: (
        "bad instruction",
        (
            *("unknown instruction", "unsupported instruction", "bad table", "unsupported metadata"),
            *("unsupported metadata mask", "unknown experimenter", "unknown experimenter type", "bad length"),
            *("not permitted", "duplicate instruction"),
        ),
    ),
    4: (
        "bad match",
        (
            *("bad type", "bad length", "bad tag", "bad data link mask", "bad network mask", "bad wildcards"),
            *("unknown field", "bad value", "bad mask", "a prerequisite is missing", "a field is there twice"),
            "not permitted",
        ),
    ),
    5: (
        "flow not changed",
        (
            *("unknown reason", "table is full", "bad table", "overlapping flow", "not permitted", "bad timeout"),
            *("bad command", "bad flags", "cannot be synchronised", "bad priority"),
        ),
    ),
    6: (
        "group not changed",
        (
            *("group exists", "invalid group", "weights are unsupported", "too many groups", "too many buckets"),
            *("chaining is unsupported", "watching is unsupported", "loop", "unknown group", "a group leads to it"),
            *("bad type", "bad command", "bad bucket", "bad watch", "not permitted"),
        ),
    ),
    11: ("role request failed", ("stale generation id", "unsupported role", "bad role")),
    17: (
        "bundle failed",
        (
            *("unknown reason", "not permitted", "bad id", "id exists", "closed", "too many bundles", "bad type"),
            *("bad flags", "bad message length", "bad transaction id", "unsupported message", "conflicting messages"),
            *("too many messages", "a message failed", "timeout", "in progress"),
        ),
    ),
}

_NICIRA = {
    2: "bad match: not a valid Nicira match",
    3: "bad match: not a valid Nicira field",
    4: "bad request: reserved bytes are not zero",
    11: "bad action: reserved bytes are not zero",
    12: "flow not changed: hardware error",
    13: "flow not changed: no such table",
    15: "bad action: conjunction must be the only action",
    37: "flow not changed: a port in the match or actions does not exist",
    42: "bad action: this data path has no such connection tracking",
    43: "bad match: this data path has no such connection tracking",
}
