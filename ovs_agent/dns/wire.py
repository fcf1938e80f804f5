"""DNS messages as bytes (RFC 1035, EDNS as in RFC 6891): a query understood, a reply put together, a reply taken apart.

Pure, and written for strangers' bytes: whatever cannot be read raises Malformed. It knows no names and no policy of
what to answer.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

A, NS, CNAME, SOA, PTR, AAAA, OPT, ANY = 1, 2, 5, 6, 12, 28, 41, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16
QR, AA, TC, RD = 0x80, 0x04, 0x02, 0x01  # of the first flags byte
RA, AD, CD, RCODE = 0x80, 0x20, 0x10, 0x0F  # of the second
OPCODE = 0x78
HEADER = struct.Struct("!HBBHHHH")
_RECORD = struct.Struct("!HHIH")  # type, class, TTL, length of data
UDP_SIZE = 1232
"""Bytes of the largest datagram sent or asked for: it fits into the smallest MTU of IPv6 and is never a fragment."""
PLAIN_UDP_SIZE = 512


class Malformed(Exception):  # noqa: N818
    """The bytes are no message. With `query`, enough of it is one to say so."""


class Edns(NamedTuple):
    """What a query's OPT record says. `size`: the largest datagram that the asker takes."""

    size: int
    version: int
    wants_signatures: bool
    has_options: bool


class Query(NamedTuple):
    """`labels` are in lower case, without the root. `question` are the bytes as they were asked."""

    id: int
    flags: int
    more_flags: int
    labels: tuple[bytes, ...]
    type: int
    cls: int
    question: bytes
    edns: Edns | None

    @property
    def opcode(self) -> int:
        return (self.flags & OPCODE) >> 3

    def room(self, datagram: bool) -> int:
        """Bytes that a reply may have."""
        if not datagram:
            return 0xFFFF
        return PLAIN_UDP_SIZE if self.edns is None else min(max(self.edns.size, PLAIN_UDP_SIZE), UDP_SIZE)


class Reply(NamedTuple):
    """A reply taken apart, without its OPT record. `body` follows the question, `ttl_at` are offsets in it."""

    flags: int
    more_flags: int
    counts: tuple[int, int, int]
    body: bytes
    ttl_at: tuple[int, ...]
    lifetime: int  # seconds that it may be kept; 0 for not at all
    extended_rcode: int

    @property
    def rcode(self) -> int:
        return self.more_flags & RCODE | self.extended_rcode << 4


def parse_query(message: bytes) -> Query:
    """Raises Malformed."""
    try:
        id, flags, more, questions, answers, authorities, additional = HEADER.unpack_from(message)
        if flags & QR or questions != 1 or answers or authorities:
            raise Malformed("not one question")
        labels, end = _name(message, HEADER.size)
        type, cls = struct.unpack_from("!HH", message, end)
        question = message[HEADER.size : end + 4]
        return Query(id, flags, more, labels, type, cls, question, _edns(message, end + 4, additional))
    except (struct.error, IndexError):
        raise Malformed("cut short") from None


def refusal(message: bytes, rcode: int) -> bytes | None:
    """The reply to what is no query that can be answered; None to what looks like no query at all."""
    if len(message) < HEADER.size or message[2] & QR:
        return None
    return message[:2] + bytes((QR | message[2] & (OPCODE | RD), RA | rcode)) + bytes(8)


def reply(
    query: Query,
    room: int,
    rcode: int,
    records: bytes = b"",
    counts: tuple[int, int, int] = (0, 0, 0),
    flags: int = 0,
    more_flags: int = 0,
) -> bytes:
    """`records` come after the question, where names may point to it (offset 12). What has no `room` is cut off whole,
    and said to be."""
    edns = b""
    if query.edns is not None:
        do = 0x8000 if query.edns.wants_signatures else 0
        edns = b"\0" + _RECORD.pack(OPT, UDP_SIZE, rcode >> 4 << 24 | do, 0)
    if HEADER.size + len(query.question) + len(records) + len(edns) > room:
        records, counts, flags = b"", (0, 0, 0), flags | TC
    header = HEADER.pack(
        query.id,
        QR | flags | query.flags & (OPCODE | RD),
        RA | more_flags & AD | query.more_flags & CD | rcode & RCODE,
        *(1, counts[0], counts[1], counts[2] + bool(edns)),
    )
    return header + query.question + records + edns


def question_for(query: Query, id: int) -> bytes:
    """The query to pass on: nothing of the asker's but the question and whether signatures are wanted."""
    do = 0x8000 if query.edns is not None and query.edns.wants_signatures else 0
    header = HEADER.pack(id, RD, query.more_flags & (AD | CD), 1, 0, 0, 1)
    return header + query.question + b"\0" + _RECORD.pack(OPT, UDP_SIZE, do, 0)


def parse_reply(message: bytes, id: int, query: Query) -> Reply:
    """The reply to `question_for(query, id)`. Raises Malformed for anything else, so also for what was not asked."""
    try:
        got, flags, more, questions, *counts = HEADER.unpack_from(message)
        start = HEADER.size + len(query.question)
        asked = message[HEADER.size : start]
        # The last four bytes are type and class, where 0x41 is not 0x61.
        same = asked[-4:] == query.question[-4:] and asked[:-4].lower() == query.question[:-4].lower()
        if got != id or not flags & QR or questions != 1 or not same:
            raise Malformed("not the answer to what was asked")
        return _sections(message, start, flags, more, counts)
    except (struct.error, IndexError):
        raise Malformed("cut short") from None


def record(type: int, ttl: int, data: bytes) -> bytes:
    """A record of the name that was asked for."""
    return b"\xc0\x0c" + _RECORD.pack(type, IN, ttl, len(data)) + data


def encode_name(name: str) -> bytes:
    return b"".join(bytes((len(label),)) + label.encode() for label in name.split(".")) + b"\0"


def with_lifetime(reply: Reply, passed: int) -> bytes:
    """The reply's records, `passed` seconds after they came."""
    body = bytearray(reply.body)
    for at in reply.ttl_at:
        (ttl,) = struct.unpack_from("!I", body, at)
        struct.pack_into("!I", body, at, max(0, (0 if ttl >> 31 else ttl) - passed))  # RFC 2181 section 8
    return bytes(body)


def _name(message: bytes, at: int) -> tuple[tuple[bytes, ...], int]:
    """A name without pointers, which a first name cannot have, and where it ends."""
    labels, start = [], at
    while length := message[at]:
        if length > 63 or at - start > 254:
            raise Malformed("not a name")
        labels.append(message[at + 1 : at + 1 + length].lower())
        at += 1 + length
    return tuple(labels), at + 1


def _skip_name(message: bytes, at: int) -> int:
    while length := message[at]:
        if length >= 0xC0:
            return at + 2
        if length > 63:
            raise Malformed("not a name")
        at += 1 + length
    return at + 1


def _edns(message: bytes, at: int, records: int) -> Edns | None:
    found = None
    for _ in range(records):
        owner = at
        at = _skip_name(message, at)
        type, size, more, length = _RECORD.unpack_from(message, at)
        at += _RECORD.size + length
        if type == OPT:
            if found is not None or message[owner]:
                raise Malformed("more than one OPT record, or one with a name")
            found = Edns(size, more >> 16 & 0xFF, bool(more & 0x8000), length > 0)
    if at > len(message):
        raise Malformed("cut short")
    return found


MOST_KEPT = 3600
MOST_KEPT_NEGATIVE = 60


def _sections(message: bytes, start: int, flags: int, more: int, counts: list[int]) -> Reply:
    at, end = start, len(message)
    ttl_at: list[int] = []
    lifetimes: list[int] = []
    negative = extended = 0
    kept = [0, 0, 0]
    for section, count in enumerate(counts):
        for _ in range(count):
            owner = at
            at = _skip_name(message, at)
            type, _, ttl, length = _RECORD.unpack_from(message, at)
            if at + _RECORD.size + length > len(message):
                raise Malformed("cut short")
            if type == OPT:
                # Between neighbours only. What would come after it is beside the point, and goes with it.
                extended, end = ttl >> 24, min(end, owner)
            elif owner < end:
                ttl = 0 if ttl >> 31 else ttl
                ttl_at.append(at + 4 - start)
                lifetimes.append(ttl)
                kept[section] += 1
                if type == SOA and section == 1 and length >= 20:  # RFC 2308 section 5
                    (minimum,) = struct.unpack_from("!I", message, at + _RECORD.size + length - 4)
                    negative = min(ttl, minimum, MOST_KEPT_NEGATIVE)
            at += _RECORD.size + length
    lifetime = 0
    if not flags & TC and not extended:
        rcode = more & RCODE
        if rcode == NOERROR and kept[0]:
            lifetime = min(*lifetimes, MOST_KEPT)
        elif rcode in (NOERROR, NXDOMAIN):
            lifetime = negative
    return Reply(
        flags, more, (kept[0], kept[1], kept[2]), message[start : min(at, end)], tuple(ttl_at), lifetime, extended
    )
