"""Questions of the oracle asked with real packets: whether each arrives, and whether the answer comes back.

Every endpoint asked or asking has a tap, so a packet that passes is seen even where nobody would answer it. Each
question has a source port of its own, which is ICMP's identifier, so no answer is taken for another's; asked again it
belongs to the same connection. Nothing here knows policies: what ought to pass is the test's to say.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from lab import netns
from lab.state import Placed
from tests.lab.test_spoofing import ip
from tests.lab.wire import Tap
from tests.oracle import Question

PATIENCE, LAST_PATIENCE = 1.0, 30.0
"""Seconds until an answer that ought to come is given up; it is asked for once more then, with the second."""
QUIET = 0.08
"""Seconds in which what ought not to pass would have arrived, once all answers are in."""
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132}
REPLIES = {8: 0, 13: 14, 128: 129}
INIT, INIT_ACK = 1, 2
_sources = itertools.cycle(random.Random(7).sample(range(10_000, 65_000), 50_000))

Key = tuple[int, bytes, bytes, int, int]
"""IP protocol, source, destination, and two numbers: ports, or ICMP type and identifier."""


class Heard(NamedTuple):
    """`arrived`: at the destination. `answered`: back at the source."""

    arrived: bool
    answered: bool


def ask(
    placed: Mapping[str, Placed], expected: Mapping[Question, bool], patience: float = PATIENCE
) -> dict[Question, Heard]:
    """All at once, at endpoints by their name. `expected` tells what is worth waiting for."""
    return asyncio.run(_Asking(placed).ask(expected, patience))


def disagreements(placed: Mapping[str, Placed], expected: Mapping[Question, bool]) -> dict[Question, Heard]:
    """Questions that passed and should not, or should and did not. Only the latter are asked twice: this machine may
    lose a packet, but it makes none up."""
    wrong = {q: heard for q, heard in ask(placed, expected).items() if heard != (expected[q],) * 2}
    lost = {q: True for q in wrong if expected[q]}
    again = ask(placed, lost, LAST_PATIENCE) if lost else {}
    return {q: again.get(q, heard) for q, heard in wrong.items() if not expected[q] or again[q] != (True, True)}


class _Asking:
    def __init__(self, placed: Mapping[str, Placed]) -> None:
        self._placed = placed
        self._seen: dict[tuple[str, Key], asyncio.Event] = {}

    async def ask(self, expected: Mapping[Question, bool], patience: float) -> dict[Question, Heard]:
        loop = asyncio.get_running_loop()
        ends = {name for question in expected for name in (question.source, question.destination)}
        taps = {name: Tap(self._placed[name].netns, "eth0") for name in ends}
        try:
            for name, tap in taps.items():
                loop.add_reader(tap, self._listen, name, tap)
            tasks = {question: asyncio.ensure_future(self._one(question)) for question in expected}
            allowed = [task for question, task in tasks.items() if expected[question]]
            if allowed:
                await asyncio.wait(allowed, timeout=patience)
            await asyncio.sleep(QUIET)
            for task in tasks.values():
                task.cancel()
            await asyncio.wait(tasks.values())
            for name, tap in taps.items():
                self._listen(name, tap)
            return {question: task.result() for question, task in tasks.items()}
        finally:
            for tap in taps.values():
                loop.remove_reader(tap)
                tap.close()

    def _listen(self, name: str, tap: Tap) -> None:
        for frame in tap.waiting():
            key = _key(frame)
            if key and (event := self._seen.get((name, key))):
                event.set()

    async def _one(self, question: Question) -> Heard:
        source, target = self._placed[question.source], self._placed[question.destination]
        here, there = ip(source, question.version), ip(target, question.version)
        raw = [socket.inet_pton(_family(question), text) for text in (here, there)]
        own, number = question.source_port, PROTOCOLS[question.protocol]
        if question.protocol in ("icmp", "icmpv6"):
            out: Key = (number, raw[0], raw[1], question.port, own)
            back: Key = (number, raw[1], raw[0], REPLIES[question.port], own)
        else:
            out = (number, raw[0], raw[1], own, question.port)
            back = (number, raw[1], raw[0], question.port, own)
        arrived = self._seen[question.destination, out] = asyncio.Event()
        returned = self._seen[question.source, back] = asyncio.Event()
        answered = False
        with suppress(asyncio.CancelledError, OSError):
            if question.protocol in ("tcp", "udp"):
                answered = await _by_socket(question, source, target, own)
            elif question.protocol == "sctp":
                _send_sctp(source, question, here, there, own, question.port, INIT)
                await arrived.wait()
                _send_sctp(target, question, there, here, question.port, own, INIT_ACK)
                await returned.wait()
                answered = True
            else:
                _send_query(source, question, there, own)
                await returned.wait()
                answered = True
        # A read event may still be waiting when the answer is here already.
        await _turns(2)
        return Heard(arrived.is_set(), answered)


async def _turns(count: int) -> None:
    with suppress(asyncio.CancelledError):
        for _ in range(count):
            await asyncio.sleep(0)


async def _by_socket(question: Question, source: Placed, target: Placed, own: int) -> bool:
    loop = asyncio.get_running_loop()
    kind = socket.SOCK_STREAM if question.protocol == "tcp" else socket.SOCK_DGRAM
    with netns.inside(source.netns):
        line = socket.socket(_family(question), kind)
    with line:
        line.setblocking(False)
        line.bind((ip(source, question.version), own))
        await loop.sock_connect(line, (ip(target, question.version), question.port))
        if question.protocol == "udp":
            await loop.sock_sendall(line, b"who?\n")
        said = await loop.sock_recv(line, 256)
        return said.strip() == target.name.encode()


def _send_query(source: Placed, question: Question, there: str, own: int) -> None:
    """ICMP that is answered: an echo, or a question for the time."""
    body = struct.pack("!BBHHH", question.port, question.code, 0, own, 1) + bytes(12)
    if question.version == 4:  # in IPv6 the kernel fills the checksum in
        body = body[:2] + struct.pack("!H", _internet_sum(body)) + body[4:]
    _send_raw(source, question, "", there, body)


def _send_sctp(source: Placed, question: Question, here: str, there: str, sport: int, dport: int, kind: int) -> None:
    chunk = struct.pack("!BBHIIHHI", kind, 0, 20, 7, 65_536, 1, 1, 7)
    header = struct.pack("!HHI", sport, dport, 0 if kind == INIT else 7)
    checked = header + bytes(4) + chunk
    _send_raw(source, question, here, there, header + struct.pack("<I", _crc32c(checked)) + chunk)


def _send_raw(source: Placed, question: Question, here: str, there: str, body: bytes) -> None:
    with netns.inside(source.netns):
        line = socket.socket(_family(question), socket.SOCK_RAW, PROTOCOLS[question.protocol])
    with line:
        if here:
            line.bind((here, 0))
        line.sendto(body, (there, 0))


def _family(question: Question) -> socket.AddressFamily:
    return socket.AF_INET if question.version == 4 else socket.AF_INET6


def _key(frame: bytes) -> Key | None:
    match frame[12:14]:
        case b"\x08\x00":
            protocol, source, target, body = frame[23], frame[26:30], frame[30:34], frame[14 + 4 * (frame[14] & 15) :]
        case b"\x86\xdd":
            protocol, source, target, body = frame[20], frame[22:38], frame[38:54], frame[54:]
        case _:
            return None
    if len(body) < 8:
        return None
    if protocol in (PROTOCOLS["icmp"], PROTOCOLS["icmpv6"]):
        return protocol, source, target, body[0], int.from_bytes(body[4:6], "big")
    return protocol, source, target, *struct.unpack("!HH", body[:4])


def _internet_sum(body: bytes) -> int:
    total = sum(struct.unpack(f"!{len(body) // 2}H", body))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _crc32c(body: bytes) -> int:
    """SCTP's checksum."""
    crc = 0xFFFFFFFF
    for byte in body:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def question(source: Placed, target: Placed, protocol: str = "tcp", port: int = 80, version: int = 4) -> Question:
    return fresh(Question(source.name, target.name, protocol, port, 0, version))


def fresh(question: Question) -> Question:
    """The same about a connection that nobody has seen."""
    return question._replace(source_port=next(_sources))


class Wish(NamedTuple):
    """What a test says ought to be, of both families. For `icmp` the port is an echo's."""

    source: Placed
    target: Placed
    protocol: str
    port: int
    allowed: bool


def wish(source: Placed, target: Placed, allowed: bool) -> list[Wish]:
    """Everything passes, or nothing does."""
    return [Wish(source, target, *what, allowed) for what in (("tcp", 80), ("udp", 80), ("icmp", 8))]


def unfulfilled(*wishes: Wish) -> list[str]:
    """In words; empty when everything is as it ought to be."""
    asked: dict[Question, bool] = {}
    placed: dict[str, Placed] = {}
    for one in wishes:
        placed |= {one.source.name: one.source, one.target.name: one.target}
        for version in (4, 6):
            protocol, port = ("icmpv6", 128) if one.protocol == "icmp" and version == 6 else (one.protocol, one.port)
            asked[question(one.source, one.target, protocol, port, version)] = one.allowed
    return [
        f"{q.source} -> {q.destination} {q.protocol} {q.port}: {heard}, but ought to {'' if asked[q] else 'not '}pass"
        for q, heard in disagreements(placed, asked).items()
    ]
