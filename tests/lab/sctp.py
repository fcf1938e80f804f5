"""SCTP by hand, for kernels without it: raw sockets that say the first two messages of an association (RFC 9260)."""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import NamedTuple

from lab import netns

SCTP = 132
INIT, INIT_ACK = 1, 2
_HEADER = struct.Struct("!HHI4s")
_CHUNK = struct.Struct("!BBHIIHHI")  # type, flags, length, initiate tag, window, streams out and in, first TSN
_TAG = 0x1234


class Heard(NamedTuple):
    """A message whose checksum is right."""

    address: str
    source_port: int
    port: int
    tag: int
    kind: int


def checksum(data: bytes) -> bytes:
    """CRC32c, over a message whose own is zero (RFC 9260, appendix A)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return struct.pack("<I", crc ^ 0xFFFFFFFF)


def _message(source_port: int, port: int, tag: int, kind: int) -> bytes:
    chunk = _CHUNK.pack(kind, 0, _CHUNK.size, _TAG, 65535, 1, 1, 1)
    bare = _HEADER.pack(source_port, port, tag, bytes(4)) + chunk
    return bare[:8] + checksum(bare) + chunk


def _hear(line: socket.socket) -> Heard:
    data, (address, *_) = line.recvfrom(2000)
    if line.family == socket.AF_INET:
        data = data[(data[0] & 15) * 4 :]
    source_port, port, tag, found = _HEADER.unpack_from(data)
    assert found == checksum(data[:8] + bytes(4) + data[12:]), "the checksum is wrong"
    return Heard(address.partition("%")[0], source_port, port, tag, data[_HEADER.size])


def _raw(family: socket.AddressFamily) -> socket.socket:
    return socket.socket(family, socket.SOCK_RAW, SCTP)


def asked_sctp(space: str, address: str, port: int, source_port: int = 40_000, seconds: float = 30.0) -> Heard | None:
    """What comes back for an INIT; None: nothing."""
    with netns.inside(space):
        line = _raw(socket.AF_INET6 if ":" in address else socket.AF_INET)
    with closing(line):
        line.sendto(_message(source_port, port, 0, INIT), (address, 0))
        while select.select([line], [], [], seconds)[0]:
            heard = _hear(line)
            if (heard.port, heard.kind) == (source_port, INIT_ACK):
                return heard
    return None


@contextmanager
def serving_sctp(space: str, port: int) -> Iterator[list[Heard]]:
    """Somebody in the namespace who answers each INIT at a port; all that were heard."""
    heard: list[Heard] = []
    stopping = threading.Event()
    with ExitStack() as stack:
        with netns.inside(space):
            lines = [stack.enter_context(closing(_raw(family))) for family in (socket.AF_INET, socket.AF_INET6)]

        def run() -> None:
            while not stopping.is_set():
                for line in select.select(lines, [], [], 0.1)[0]:
                    one = _hear(line)
                    heard.append(one)
                    if (one.port, one.kind) == (port, INIT):
                        line.sendto(_message(port, one.source_port, _TAG, INIT_ACK), (one.address, 0))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield heard
        finally:
            stopping.set()
            thread.join()
