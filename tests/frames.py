"""DNS answers as frames: what a server sends to who asked, made by hand for tests."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import dns.message
import dns.rrset
from dns.flags import QR
from dns.message import Message

MACS = bytes.fromhex("020000000002020000000001")


def answer(name: str, *records: tuple[str, int, str, str], kind: str = "A") -> Message:
    """To the question for `name`; each record is (name, ttl, type, value)."""
    reply = dns.message.make_query(name, kind)
    reply.flags |= QR
    for owner, ttl, record, value in records:
        value = f"{value}." if record == "CNAME" else value
        reply.answer.append(dns.rrset.from_text(f"{owner}.", ttl, "IN", record, value))
    return reply


def by_udp(message: bytes, source: str = "10.20.0.53", target: str = "10.20.0.9", port: int = 40000) -> bytes:
    datagram = _ports(53, port) + (8 + len(message)).to_bytes(2, "big") + b"\0\0" + message
    return ip(17, datagram, source, target)


def by_tcp(stream: bytes, source: str = "10.20.0.53", target: str = "10.20.0.9", port: int = 40000) -> bytes:
    """One segment, with a timestamp option as most have one."""
    head = _ports(53, port) + bytes(8) + bytes([8 << 4, 0x18]) + bytes(6) + bytes([1, 1, 8, 10]) + bytes(8)
    return ip(6, head + stream, source, target)


def prefixed(messages: Iterable[bytes]) -> bytes:
    return b"".join(len(message).to_bytes(2, "big") + message for message in messages)


def ip(protocol: int, payload: bytes, source: str, target: str) -> bytes:
    ends = ipaddress.ip_address(source).packed, ipaddress.ip_address(target).packed
    if len(ends[0]) == 16:
        head = b"\x60\0\0\0" + len(payload).to_bytes(2, "big") + bytes([protocol, 64])
        return MACS + b"\x86\xdd" + head + ends[0] + ends[1] + payload
    head = b"\x45\0" + (20 + len(payload)).to_bytes(2, "big") + bytes(4) + bytes([64, protocol]) + b"\0\0"
    return MACS + b"\x08\x00" + head + ends[0] + ends[1] + payload


def _ports(source: int, target: int) -> bytes:
    return source.to_bytes(2, "big") + target.to_bytes(2, "big")
