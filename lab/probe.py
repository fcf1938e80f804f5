"""Who reaches whom: every endpoint asks every other by ICMP, TCP and UDP, and must hear the other's own name.

One loop asks all questions; each question's socket is made inside the asking endpoint's namespace and stays there,
so there is no process per pair. A question has one second from when it is sent, or more where answers are slow; the
pace follows them, so that twenty hosts on two cores are measured and not overrun. What the API believes is not looked
at: only packets count.
"""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import os
import resource
import socket
import struct
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from lab import netns
from lab.names import NICE

LIMIT, TIMES = 1.0, 20
"""Seconds an answer may take, and how often as long as answers usually take."""
YOUNG = 0.1
"""Seconds after which a question that got no answer no longer holds up the next; more while answers are slow."""
FEW, MANY = 32, 256
"""Young questions under way at once: few at first, more while answers come promptly."""
SLOW = 0.25
"""Seconds; an answer that takes longer says that the machine is overrun."""

_ECHO = {4: (8, 0), 6: (128, 129)}
"""ICMP types of an echo request and its reply."""


class Party(NamedTuple):
    """An endpoint as the probe sees it; `addresses` carry their prefix length, and so do those of its whole tenant."""

    name: str
    tenant: str
    netns: str
    addresses: tuple[str, ...]
    tenants_addresses: tuple[str, ...] = ()

    def first(self, family: int) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface | None:
        found = (ipaddress.ip_interface(address) for address in self.addresses)
        return next((address for address in found if address.version == family), None)


class Ask(NamedTuple):
    """One question; `port` is None for ICMP."""

    source: Party
    target: Party
    proto: str
    family: int
    address: str
    port: int | None


class Answer(NamedTuple):
    """`ok` is None where an answer would prove nothing; `ms` is None unless the endpoint asked for answered."""

    ask: Ask
    ok: bool | None
    ms: float | None

    def as_json(self) -> dict[str, object]:
        ask = self.ask
        return {
            "from": ask.source.name,
            "to": ask.target.name,
            "proto": ask.proto,
            "family": ask.family,
            "port": ask.port,
            "ok": self.ok,
            "ms": self.ms,
        }


def questions(
    sources: Sequence[Party],
    targets: Sequence[Party],
    protos: Iterable[tuple[str, int | None]] = (("icmp", None), ("tcp", 80), ("udp", 80)),
    families: Iterable[int] = (4, 6),
) -> list[Ask]:
    """Every source to every other target, by each protocol, at the target's first address of each family.

    Source and target change with every question, so that no switch gets its share all at once.
    """
    ways = list(itertools.product(protos, families))
    found = []
    for step in range(len(targets)):
        for index, source in enumerate(sources):
            target = targets[(index + step) % len(targets)]
            if target.name == source.name:
                continue
            for (proto, port), family in ways:
                address = target.first(family)
                if address and source.first(family):
                    found.append(Ask(source, target, proto, family, str(address.ip), port))
    return found


def proves_nothing(ask: Ask) -> bool:
    """An echo reply bears no name: where the asker's tenant uses the same addresses, anyone may have sent it."""
    if ask.proto != "icmp" or ask.source.tenant == ask.target.tenant:
        return False
    own = {ipaddress.ip_interface(text).network for text in (*ask.source.addresses, *ask.source.tenants_addresses)}
    return any(ipaddress.ip_address(ask.address) in network for network in own)


def run(asks: Sequence[Ask], heard: Callable[[Answer], None] = lambda _: None) -> list[Answer]:
    """All answers, in the order of the questions. `heard` sees each as it comes."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, min(usual, NICE))
    try:
        return asyncio.run(_run(asks, heard))
    finally:
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, usual)


async def _run(asks: Sequence[Ask], heard: Callable[[Answer], None]) -> list[Answer]:
    answers: dict[int, Answer] = {}
    pace = _Pace()
    echoes = _Echoes()

    async def one(index: int, ask: Ask, answered: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        sent = loop.time()
        ok = await _within(_hear(ask, echoes), pace.limit)
        answered()
        seconds = loop.time() - sent
        if ok:
            pace.heard_after(seconds)
        answers[index] = Answer(ask, ok, round(seconds * 1000, 2) if ok else None)
        heard(answers[index])

    try:
        async with asyncio.TaskGroup() as group:
            for index, ask in enumerate(asks):
                if proves_nothing(ask):
                    answers[index] = Answer(ask, None, None)
                else:
                    group.create_task(one(index, ask, await pace.next()))
    finally:
        echoes.close()
    return [answers[index] for index in range(len(asks))]


async def _within(hearing: Coroutine[Any, Any, bool], limit: Callable[[], float]) -> bool:
    task = asyncio.ensure_future(hearing)
    waited = 0.0
    while not task.done() and waited < limit():
        await asyncio.wait({task}, timeout=LIMIT)
        waited += LIMIT
    for _ in range(8):
        if task.done():
            break
        # An answer that is here already counts, though this process came too late to look at it.
        await asyncio.sleep(0)
    if not task.done():
        task.cancel()
    with suppress(OSError, asyncio.CancelledError):
        return await task
    return False


async def _hear(ask: Ask, echoes: _Echoes) -> bool:
    if ask.port is None:
        return await echoes.ask(ask)
    loop = asyncio.get_running_loop()
    kind = socket.SOCK_STREAM if ask.proto == "tcp" else socket.SOCK_DGRAM
    with _socket_of(ask.source, ask.family, kind) as line:
        await loop.sock_connect(line, (ask.address, ask.port))
        if ask.proto == "udp":
            await loop.sock_sendall(line, b"who?\n")
        said = await loop.sock_recv(line, 256)
        while ask.proto == "tcp" and not said.endswith(b"\n") and (more := await loop.sock_recv(line, 256)):
            said += more
        return said.strip() == ask.target.name.encode()


def _socket_of(source: Party, family: int, kind: int, proto: int = 0) -> socket.socket:
    with netns.inside(source.netns):
        made = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, kind, proto)
    made.setblocking(False)
    return made


class _Pace:
    """Lets the next question go while few enough are young and unanswered."""

    def __init__(self) -> None:
        self._window = FEW
        self._young = 0
        self._free = asyncio.Event()
        self._usual = 0.0

    def heard_after(self, seconds: float) -> None:
        self._usual += (seconds - self._usual) / 16
        self._window = max(FEW // 2, self._window // 2) if seconds > SLOW else min(MANY, self._window + 1)

    def limit(self) -> float:
        return max(LIMIT, TIMES * self._usual)

    async def next(self) -> Callable[[], None]:
        """Wait for a place; what is returned gives it back, as growing old does."""
        while self._young >= self._window:
            self._free.clear()
            await self._free.wait()
        self._young += 1
        place = iter((None,))

        def give_back() -> None:
            for _ in place:
                self._young -= 1
                self._free.set()

        asyncio.get_running_loop().call_later(max(YOUNG, 3 * self._usual), give_back)
        return give_back


class _Echoes:
    """ICMP: one raw socket for each asker and family; a reply is told by its sender and sequence number."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, int], socket.socket] = {}
        self._awaited: dict[tuple[str, str, int], asyncio.Future[None]] = {}
        self._sequence = itertools.count(1)
        self._ident = os.getpid() & 0xFFFF

    async def ask(self, ask: Ask) -> bool:
        sequence = next(self._sequence) & 0xFFFF
        key = (ask.source.name, ask.address, sequence)
        loop = asyncio.get_running_loop()
        self._awaited[key] = loop.create_future()
        try:
            self._line(ask).sendto(_echo_request(ask.family, self._ident, sequence), (ask.address, 0))
            await self._awaited[key]
        finally:
            del self._awaited[key]
        return True

    def _line(self, ask: Ask) -> socket.socket:
        key = (ask.source.name, ask.family)
        if key not in self._lines:
            proto = socket.IPPROTO_ICMP if ask.family == 4 else socket.IPPROTO_ICMPV6
            line = self._lines[key] = _socket_of(ask.source, ask.family, socket.SOCK_RAW, proto)
            asyncio.get_running_loop().add_reader(line, self._read, line, *key)
        return self._lines[key]

    def _read(self, line: socket.socket, source: str, family: int) -> None:
        packet, sender = line.recvfrom(2048)
        if family == 4:
            packet = packet[(packet[0] & 0x0F) * 4 :]
        if len(packet) < 8:
            return
        kind, _, _, ident, sequence = struct.unpack("!BBHHH", packet[:8])
        awaited = self._awaited.get((source, sender[0], sequence))
        if kind == _ECHO[family][1] and ident == self._ident and awaited and not awaited.done():
            awaited.set_result(None)

    def close(self) -> None:
        for line in self._lines.values():
            asyncio.get_running_loop().remove_reader(line)
            line.close()


def _echo_request(family: int, ident: int, sequence: int) -> bytes:
    kind, payload = _ECHO[family][0], b"warren--"
    packet = struct.pack("!BBHHH", kind, 0, 0, ident, sequence) + payload
    if family == 6:
        return packet  # the kernel fills the checksum in
    total = sum(struct.unpack("!8H", packet))
    total = (total >> 16) + (total & 0xFFFF)
    return packet[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + packet[4:]
