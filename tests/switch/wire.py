"""A plain OpenFlow 1.4 connection to a bridge's management socket: bytes out, messages in, a session driven by hand."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

from controller.openflow.decode import ECHO_REQUEST, header
from controller.openflow.events import Event, Step
from controller.openflow.session import Session, State


class Wire:
    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        self._socket.connect(str(path))
        self._buffer = b""
        self.send(bytes([5, 0, 0, 8, 0, 0, 0, 0]))
        next(self.messages())  # the switch's hello

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def messages(self) -> Iterator[bytes]:
        """Whole messages, as they come."""
        while True:
            while len(self._buffer) < 8 or len(self._buffer) < header(self._buffer).length:
                data = self._socket.recv(1 << 18)
                assert data, "the switch closed the connection"
                self._buffer += data
            length = header(self._buffer).length
            message, self._buffer = self._buffer[:length], self._buffer[length:]
            if header(message).type == ECHO_REQUEST:
                self.send(message[:1] + b"\x03" + message[2:])
            else:
                yield message

    def run(self, session: Session, step: Step) -> list[Event]:
        """Sends the step and everything that follows from it, until the session waits for nothing."""
        events = list(step.events)
        self.send(step.send)
        messages = self.messages()
        while session.state not in (State.IDLE, State.OFFLINE):
            step = session.received(next(messages), time.monotonic())
            events += step.events
            self.send(step.send)
        return events
