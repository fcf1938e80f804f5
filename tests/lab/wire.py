"""Raw frames in and out of a network namespace: what a test forges, and what it overhears."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lab import netns

ETH_P_ALL = 3
PACKET_OUTGOING = 4


class Tap:
    """Everything that passes an interface, and a way to put frames on it."""

    def __init__(self, space: str, interface: str) -> None:
        with netns.inside(space):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            self._socket.bind((interface, ETH_P_ALL))
        self._socket.setblocking(False)

    def send(self, frame: bytes) -> None:
        self._socket.send(frame)

    def fileno(self) -> int:
        return self._socket.fileno()

    def waiting(self) -> Iterator[bytes]:
        """Frames that came in until now and were not asked for yet."""
        while True:
            try:
                frame, address = self._socket.recvfrom(65535)
            except BlockingIOError:
                return
            if address[2] != PACKET_OUTGOING:
                yield frame

    def heard(self, until: Callable[[bytes], bool], seconds: float = 60.0) -> list[bytes]:
        """Frames that came in, up to and with the first for which `until` holds. Fails if it does not come."""
        frames: list[bytes] = []
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self._socket], [], [], left)[0]:
                continue
            frame, address = self._socket.recvfrom(65535)
            if address[2] == PACKET_OUTGOING:
                continue
            frames.append(frame)
            if until(frame):
                return frames
        raise AssertionError(f"the awaited frame did not come within {seconds} s; {len(frames)} others did")

    def close(self) -> None:
        self._socket.close()


@contextmanager
def tap(space: str, interface: str = "eth0") -> Iterator[Tap]:
    opened = Tap(space, interface)
    try:
        yield opened
    finally:
        opened.close()
