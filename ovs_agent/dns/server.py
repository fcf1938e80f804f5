"""The loop that answers: one thread, datagrams and connections, as many as come.

An answer from Warren's own names is kept as bytes for as long as the names stay: the same question from the same
network costs a look-up and a copy. Who asks is known by the address alone, which the bridge wrote; nobody else can
reach these sockets.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from logging import getLogger
from typing import NamedTuple

from ovs_agent.dns import wire
from ovs_agent.dns.answer import Answer, answer
from ovs_agent.dns.forward import Asker, Forwarder, Upstreams
from ovs_agent.dns.names import Names, View
from ovs_agent.dns.wire import Malformed, Query

log = getLogger(__name__)
BATCH = 64
"""Datagrams taken before others have a turn."""
MOST_PREPARED = 20_000
MOST_CONNECTIONS = 512
MOST_CONNECTIONS_EACH = 16
MOST_UNSENT = 1 << 20
"""Bytes that an asker may leave unread before its connection is closed."""
IDLE = 10.0
"""Seconds after which a connection on which nothing happens is closed (RFC 7766 section 6.2.3)."""
RECEIVE_BUFFER = 4 << 20


class Book:
    """Names, and what was answered from them. Replaced as a whole, so that an answer never outlives its names."""

    def __init__(self, names: Names, place: Callable[[int], tuple[str, ...]]) -> None:
        """`place`: the addresses by which a port's queries come."""
        self.names = names
        self.views: dict[str, View] = {}
        for port, network in names.askers.items():
            if (view := names.view(network)) is not None:
                self.views.update(dict.fromkeys(place(port), view))
        self.prepared: dict[tuple[int, bytes], bytes | tuple[Query, Answer]] = {}


class Connection:
    def __init__(self, channel: socket.socket, host: str) -> None:
        self.channel = channel
        self.host = host
        self.received = b""
        self.out = b""
        self.waiting = 0  # queries that are passed on
        self.ended = False  # the asker sends no more
        self.closed = False
        self.active = time.monotonic()


class Sockets(NamedTuple):
    datagrams: socket.socket
    listener: socket.socket

    @classmethod
    def open(cls, port: int = 53) -> Sockets:
        """For both families, in this thread's network namespace."""
        datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        with suppress(OSError):
            datagrams.setsockopt(socket.SOL_SOCKET, 33, RECEIVE_BUFFER)  # SO_RCVBUFFORCE
        datagrams.bind(("::", port))
        listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("::", port))
        listener.listen(128)
        return cls(datagrams, listener)


class Server:
    def __init__(self, sockets: Sockets, upstreams: Upstreams, place: Callable[[int], tuple[str, ...]]) -> None:
        self._sockets = sockets
        self._place = place
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._forwarder = Forwarder(self._poll, self._handlers, upstreams)
        self._connections: dict[int, Connection] = {}
        self._book: Book | None = None
        self._wake, self._woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="dns", daemon=True)
        self._stopping = False

    def tell(self, names: Names) -> None:
        """From any thread: what is asked from now on is answered from these names."""
        self._book = Book(names, self._place)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        os.write(self._woken, b".")
        self._thread.join()
        for channel in (*self._sockets, *(connection.channel for connection in self._connections.values())):
            channel.close()
        self._forwarder.close()
        self._poll.close()
        os.close(self._wake)
        os.close(self._woken)

    def _run(self) -> None:
        for channel, handler in ((self._sockets.datagrams, self._datagrams), (self._sockets.listener, self._accept)):
            self._poll.register(channel.fileno(), select.EPOLLIN)
            self._handlers[channel.fileno()] = handler
        self._poll.register(self._wake, select.EPOLLIN)
        sweep = time.monotonic() + IDLE
        while not self._stopping:
            patience = self._forwarder.patience()
            if self._connections:
                patience = min(patience, IDLE) if patience >= 0 else IDLE
            for descriptor, events in self._poll.poll(patience):
                ready = self._handlers.get(descriptor)
                if ready is not None:
                    try:
                        ready(events)
                    except Exception:
                        log.exception("a DNS query could not be answered")
            self._forwarder.tick()
            if self._connections and time.monotonic() > sweep:
                self._close_idle()
                sweep = time.monotonic() + IDLE / 2

    # -- datagrams ---------------------------------------------------------------------------------------------

    def _datagrams(self, events: int) -> None:
        receive, send, book = self._sockets.datagrams.recvfrom, self._sockets.datagrams.sendto, self._book
        for _ in range(BATCH):
            try:
                message, where = receive(4096)
            except BlockingIOError:
                return
            view = book.views.get(where[0]) if book is not None else None
            prepared = book.prepared.get((view.id, message[2:])) if book is not None and view is not None else None
            if prepared is None:
                self._answer(message, book, view, True, lambda reply, where=where: self._send(reply, where))  # type: ignore[misc]
                continue
            if isinstance(prepared, bytes):
                reply = message[:2] + prepared
            else:
                query, found = prepared
                reply = message[:2] + found.render(query, query.room(True))[2:]
            with suppress(OSError):  # a full queue: as good as a datagram lost on the way
                send(reply, where)

    def _send(self, reply: bytes, where: tuple[str, int]) -> None:
        with suppress(OSError):
            self._sockets.datagrams.sendto(reply, where)

    def _answer(
        self, message: bytes, book: Book | None, view: View | None, datagram: bool, deliver: Callable[[bytes], None]
    ) -> None:
        """`deliver` is called once at most, now or later."""
        try:
            query = wire.parse_query(message)
        except Malformed:
            if (refused := wire.refusal(message, wire.FORMERR)) is not None:
                deliver(refused)
            return
        room = query.room(datagram)
        if book is None or view is None:  # an agent without a document, or an endpoint that is going
            deliver(wire.reply(query, room, wire.SERVFAIL))
            return
        found = answer(book.names, view, query)
        if found is None:
            self._forwarder.ask(Asker(query, room, deliver, view.id), by_tcp=not datagram)
            return
        reply = found.render(query, room)
        deliver(reply)
        plain = len(message) <= wire.PLAIN_UDP_SIZE and not (query.edns and query.edns.has_options)
        if datagram and plain and len(book.prepared) < MOST_PREPARED:
            book.prepared[view.id, message[2:]] = reply[2:] if len(found.records) < 2 else (query, found)

    # -- connections -------------------------------------------------------------------------------------------

    def _accept(self, events: int) -> None:
        for _ in range(BATCH):
            try:
                channel, where = self._sockets.listener.accept()
            except OSError:
                return
            channel.setblocking(False)
            own = sum(connection.host == where[0] for connection in self._connections.values())
            crowded = len(self._connections) >= MOST_CONNECTIONS
            if own >= MOST_CONNECTIONS_EACH or (crowded and not self._made_room(own)):
                channel.close()
                continue
            connection = Connection(channel, where[0])
            self._connections[channel.fileno()] = connection
            self._handlers[channel.fileno()] = lambda events, connection=connection: self._talk(connection, events)  # type: ignore[misc]
            self._poll.register(channel.fileno(), select.EPOLLIN)

    def _made_room(self, own: int) -> bool:
        """Closes the oldest connection of who has most, if that is more than the newcomer will have: a crowd of askers
        who keep theirs open does not keep others out."""
        host, most = Counter(connection.host for connection in self._connections.values()).most_common(1)[0]
        if most <= own + 1:
            return False
        self._close(next(connection for connection in self._connections.values() if connection.host == host))
        return True

    def _talk(self, connection: Connection, events: int) -> None:
        try:
            if events & select.EPOLLOUT:
                self._flush(connection)
            if events & ~select.EPOLLOUT and not connection.closed:
                part = connection.channel.recv(0xFFFF)
                connection.active = time.monotonic()
                connection.ended = not part
                connection.received += part
                self._read(connection)
                self._settle(connection)
        except BlockingIOError:
            pass  # the event was of a connection that had this descriptor a moment ago
        except OSError:
            self._close(connection)

    def _read(self, connection: Connection) -> None:
        while len(connection.received) >= 2:
            end = 2 + int.from_bytes(connection.received[:2], "big")
            if len(connection.received) < end:
                return
            message, connection.received = connection.received[2:end], connection.received[end:]
            book = self._book
            connection.waiting += 1
            before = connection.waiting
            view = book.views.get(connection.host) if book is not None else None
            self._answer(message, book, view, False, lambda reply: self._deliver(connection, reply))
            if connection.waiting == before and wire.refusal(message, 0) is None:
                connection.waiting -= 1  # no query at all: nothing will be delivered

    def _deliver(self, connection: Connection, reply: bytes) -> None:
        connection.waiting -= 1
        if connection.closed:
            return
        connection.out += len(reply).to_bytes(2, "big") + reply
        if len(connection.out) > MOST_UNSENT:
            self._close(connection)
            return
        try:
            self._flush(connection)
        except OSError:
            self._close(connection)

    def _flush(self, connection: Connection) -> None:
        with suppress(BlockingIOError):
            connection.out = connection.out[connection.channel.send(connection.out) :]
        self._settle(connection)

    def _settle(self, connection: Connection) -> None:
        """Listen for what there is to wait for; close what has nothing more to say."""
        if connection.closed:
            return
        if connection.ended and not connection.out and not connection.waiting:
            self._close(connection)
            return
        wanted = (0 if connection.ended else select.EPOLLIN) | (select.EPOLLOUT if connection.out else 0)
        self._poll.modify(connection.channel.fileno(), wanted)

    def _close_idle(self) -> None:
        long_ago = time.monotonic() - IDLE
        for connection in [c for c in self._connections.values() if c.active < long_ago and not c.waiting]:
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        if connection.closed:
            return
        connection.closed = True
        descriptor = connection.channel.fileno()
        del self._connections[descriptor], self._handlers[descriptor]
        self._poll.unregister(descriptor)
        connection.channel.close()
