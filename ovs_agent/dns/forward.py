"""Passing queries on to the host's resolvers, from the host's own network namespace.

One query at a time for one question: who asks the same meanwhile gets the same answer, so that resolvers which lead
back to this host cannot make it ask in circles. Each has a random number and a port of its own. It decides whom to ask
in which order and when to give up; it knows neither names nor askers.
"""

from __future__ import annotations

import errno
import heapq
import itertools
import os
import secrets
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from logging import getLogger
from pathlib import Path
from typing import NamedTuple

from ovs_agent.dns import wire
from ovs_agent.dns.cache import Cache, Key, key, render
from ovs_agent.dns.wire import Malformed, Query, Reply

log = getLogger(__name__)
TRY = 1.5
"""Seconds that one resolver has before the next is asked."""
TIME_LIMIT = 4.0
"""Seconds until who asked is told that nobody answers: less than the 5 s for which the C library waits."""
MOST_SERVERS = 3
MOST_PENDING, MOST_PENDING_EACH = 1000, 200
"""Questions on their way, in all and of one network: nobody can use up what others need."""
LOOK = 1.0
"""Seconds between looks at whether resolv.conf is another file than before."""

Deliver = Callable[[bytes], None]


class Asker(NamedTuple):
    query: Query
    room: int
    deliver: Deliver
    network: int


class Upstreams:
    """The `nameserver` lines of a resolv.conf(5), read again when the file changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._looked = 0.0
        self._stamp: tuple[int, int] | None = None
        self._servers: tuple[str, ...] = ()

    def __call__(self) -> tuple[str, ...]:
        now = time.monotonic()
        if now - self._looked >= LOOK:
            self._looked = now
            try:
                status = self._path.stat()
                stamp = status.st_mtime_ns, status.st_ino
                if stamp != self._stamp:
                    self._servers, self._stamp = self._read(), stamp
            except OSError:
                self._servers, self._stamp = (), None
        return self._servers

    def _read(self) -> tuple[str, ...]:
        words = (line.split() for line in self._path.read_text(errors="replace").splitlines())
        found = [word[1] for word in words if len(word) > 1 and word[0] == "nameserver"]
        return tuple(found[:MOST_SERVERS])


class _Pending:
    """One question on its way; `askers` are those who wait for the answer."""

    def __init__(self, query: Query, by_tcp: bool, servers: tuple[str, ...], give_up: float) -> None:
        self.query = query
        self.by_tcp = by_tcp
        self.servers = list(servers)
        self.give_up = give_up
        self.next_at = 0.0
        self.askers: list[Asker] = []
        self.channel: socket.socket | None = None
        self.id = 0
        self.out = b""
        self.received = b""
        self.last: Reply | None = None


class Forwarder:
    """Lives in the server's loop: `handlers` is called back when a descriptor of the poll is ready."""

    def __init__(self, poll: select.epoll, handlers: dict[int, Callable[[int], None]], upstreams: Upstreams) -> None:
        self._poll = poll
        self._handlers = handlers
        self._upstreams = upstreams
        self._cache = Cache()
        self._pending: dict[tuple[Key, bool], _Pending] = {}
        self._timers: list[tuple[float, int, _Pending]] = []
        self._counter = itertools.count()
        self._of_network: Counter[int] = Counter()

    def ask(self, asker: Asker, by_tcp: bool) -> None:
        """By the transport that the asker used: who came by TCP did so because a datagram was too small."""
        query, now = asker.query, time.monotonic()
        its = key(query)
        if found := self._cache.find(its, now):
            asker.deliver(render(found[0], query, asker.room, found[1]))
            return
        pending = self._pending.get((its, by_tcp))
        if pending is None:
            servers = self._upstreams()
            crowded = len(self._pending) >= MOST_PENDING or self._of_network[asker.network] >= MOST_PENDING_EACH
            if not servers or crowded:
                asker.deliver(_failed(asker))
                return
            pending = self._pending[its, by_tcp] = _Pending(query, by_tcp, servers, now + TIME_LIMIT)
            pending.askers.append(asker)
            self._of_network[asker.network] += 1
            self._try_next(pending)
        else:
            pending.askers.append(asker)

    def patience(self) -> float:
        """Seconds until `tick` has something to do; negative when there is nothing to wait for."""
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else -1

    def tick(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            _, _, pending = heapq.heappop(self._timers)
            if pending.askers and pending.next_at <= now:
                self._try_next(pending)

    def close(self) -> None:
        for pending in self._pending.values():
            self._hang_up(pending)
        self._pending.clear()

    def _try_next(self, pending: _Pending) -> None:
        self._hang_up(pending)
        now = time.monotonic()
        while pending.servers and now < pending.give_up:
            server = pending.servers.pop(0)
            try:
                self._send(pending, server)
            except (OSError, ValueError) as fault:  # what resolv.conf has may be no address at all
                log.debug("%s cannot be asked: %s", server, fault)
                continue
            pending.next_at = min(now + TRY, pending.give_up) if pending.servers else pending.give_up
            heapq.heappush(self._timers, (pending.next_at, next(self._counter), pending))
            return
        self._finish(pending, pending.last)

    def _send(self, pending: _Pending, server: str) -> None:
        pending.id = secrets.randbits(16)
        message = wire.question_for(pending.query, pending.id)
        kind = socket.SOCK_STREAM if pending.by_tcp else socket.SOCK_DGRAM
        family, _, _, _, address = socket.getaddrinfo(server, 53, type=kind, flags=socket.AI_NUMERICHOST)[0]
        channel = socket.socket(family, kind | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        pending.channel = channel
        pending.received = b""
        try:
            code = channel.connect_ex(address)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, os.strerror(code))
            if pending.by_tcp:
                pending.out = len(message).to_bytes(2, "big") + message
            else:
                channel.send(message)
        except OSError:
            channel.close()
            pending.channel = None
            raise
        wanted = select.EPOLLIN | (select.EPOLLOUT if pending.by_tcp else 0)
        self._poll.register(channel.fileno(), wanted)
        self._handlers[channel.fileno()] = lambda events: self._ready(pending, events)

    def _ready(self, pending: _Pending, events: int) -> None:
        try:
            for message in self._messages(pending, events):
                try:
                    reply = wire.parse_reply(message, pending.id, pending.query)
                except Malformed:
                    continue  # not from whom we asked, or of no use: the right one may still come
                if reply.rcode in (wire.SERVFAIL, wire.REFUSED, wire.NOTIMP, wire.FORMERR):
                    pending.last = reply
                    self._try_next(pending)
                else:
                    self._finish(pending, reply)
                return
        except OSError as fault:
            log.debug("a resolver did not answer: %s", fault)
            self._try_next(pending)

    def _messages(self, pending: _Pending, events: int) -> Iterator[bytes]:
        channel = pending.channel
        assert channel is not None
        if not pending.by_tcp:
            yield channel.recv(0xFFFF)
            return
        if pending.out and events & select.EPOLLOUT:
            pending.out = pending.out[channel.send(pending.out) :]
            if not pending.out:
                self._poll.modify(channel.fileno(), select.EPOLLIN)
        if events & ~select.EPOLLOUT:
            part = channel.recv(0xFFFF)
            if not part:
                raise ConnectionError("it hung up")
            pending.received += part
            size = int.from_bytes(pending.received[:2], "big")
            if len(pending.received) >= 2 + size > 2:
                yield pending.received[2 : 2 + size]

    def _finish(self, pending: _Pending, reply: Reply | None) -> None:
        self._hang_up(pending)
        its = key(pending.query)
        del self._pending[its, pending.by_tcp]
        self._of_network[pending.askers[0].network] -= 1
        if reply is not None:
            self._cache.keep(its, reply, time.monotonic())
        askers, pending.askers = pending.askers, []
        for asker in askers:
            asker.deliver(_failed(asker) if reply is None else render(reply, asker.query, asker.room))

    def _hang_up(self, pending: _Pending) -> None:
        if pending.channel is not None:
            del self._handlers[pending.channel.fileno()]
            with suppress(OSError):
                self._poll.unregister(pending.channel.fileno())
            pending.channel.close()
            pending.channel = None


def _failed(asker: Asker) -> bytes:
    return wire.reply(asker.query, asker.room, wire.SERVFAIL)
