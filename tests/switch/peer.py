"""A switch made of a socket: it shakes hands, then does as the test says."""

from __future__ import annotations

import socket
import struct

from controller.openflow.decode import ECHO_REPLY, ECHO_REQUEST, header


class Peer:
    def __init__(self, port: int, datapath_id: int, *, shake: bool = True, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(60)
        self.socket.connect(("127.0.0.1", port))
        self._buffer = b""
        if shake:
            self.send(0, b"")
            self.expect(0)
            xid = header(self.expect(5)).xid
            self.send(6, struct.pack("!QIBB2xII", datapath_id, 0, 254, 0, 0, 0), xid)
            xid = header(self.expect(18)).xid
            self.send(19, struct.pack("!HH4x", 13, 0), xid)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, kind: int, body: bytes, xid: int = 1) -> None:
        self.socket.sendall(struct.pack("!BBHI", 5, kind, 8 + len(body), xid) + body)

    def expect(self, kind: int) -> bytes:
        """The next message, which must be of this kind. b"" at the end of the connection."""
        message = self.receive()
        assert message == b"" or header(message).type == kind, message
        return message

    def receive(self) -> bytes:
        while len(self._buffer) < 8 or len(self._buffer) < header(self._buffer).length:
            data = self.socket.recv(1 << 16)
            if not data:
                return b""
            self._buffer += data
        length = header(self._buffer).length
        message, self._buffer = self._buffer[:length], self._buffer[length:]
        return message

    def answer_echo(self) -> None:
        message = self.expect(ECHO_REQUEST)
        self.send(ECHO_REPLY, message[8:], header(message).xid)
