"""A byte stream to a switch, plain or TLS, that one thread reads and another writes.

OpenSSL must not read and write one connection at the same time, so the socket never blocks: who has the lock takes or
gives what there is at once, and waits outside of it. A peer that takes nothing for a while is given up, which a total
time limit on a large bundle would not tell from a slow one.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

CHUNK = 1 << 18
STALL_SECONDS = 20.0
"""How long a peer may take nothing while there is something for it."""


@dataclass(frozen=True)
class Tls:
    """Our key and certificate, and the authority that must have signed the switches' certificates."""

    key: Path
    certificate: Path
    authority: Path

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate, self.key)
        context.load_verify_locations(self.authority)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


class Stream:
    """`connection` must be connected; with `context` the TLS handshake is the first thing to do on it."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext | None = None) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(STALL_SECONDS)
        self._socket = connection
        if context is not None:
            self._socket = context.wrap_socket(connection, server_side=True)
        self._socket.setblocking(False)
        self._lock = Lock()

    def receive(self, seconds: float) -> bytes | None:
        """What has come; None if nothing came in time. Raises OSError, EOFError at the end of the stream."""
        events = select.POLLIN
        while True:
            with self._lock:
                try:
                    data = self._socket.recv(CHUNK)
                except (BlockingIOError, ssl.SSLWantReadError):
                    events = select.POLLIN
                except ssl.SSLWantWriteError:
                    events = select.POLLOUT
                else:
                    if not data:
                        raise EOFError
                    return data
            if not self._wait(events, seconds):
                return None

    def offer(self, data: bytes | memoryview) -> memoryview:
        """Sends what the socket takes at once and returns the rest. Raises OSError."""
        rest = memoryview(data)
        with self._lock, contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            while rest:
                rest = rest[self._socket.send(rest[:CHUNK]) :]
        return rest

    def send(self, data: bytes | memoryview) -> None:
        """Returns when everything is on its way. Raises OSError, TimeoutError among them."""
        rest = memoryview(data)
        while rest := self.offer(rest):
            if not self._wait(select.POLLOUT, STALL_SECONDS):
                raise TimeoutError(f"the peer took nothing for {STALL_SECONDS:.0f} s")

    def _wait(self, events: int, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._socket, events)
        return bool(poll.poll(seconds * 1000))

    def shut(self) -> None:
        """Ends both directions; who reads or writes notices at once. To be called by any thread."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """To be called once nobody reads or writes any more."""
        self.shut()
        with self._lock, contextlib.suppress(OSError):
            self._socket.close()
