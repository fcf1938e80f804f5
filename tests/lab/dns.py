"""A DNS server and clients in endpoints of the lab, with sockets of their own, and what they say on the wire."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import dns.message
import dns.query
import dns.rrset
from dns.flags import QR, TC
from dns.message import Message
from dns.rdatatype import to_text

from lab import netns
from lab.state import Placed

Zone = dict[tuple[str, str], list[tuple[str, int, str, str]]]
"""What is answered to a question (name, type): records (name, ttl, type, value)."""


class Server:
    """Answers from `zone`, by UDP and TCP, over both families; one whose answer is long is told to ask by TCP."""

    def __init__(self, zone: Zone, *listening: socket.socket) -> None:
        self.zone = zone
        self._selector = selectors.DefaultSelector()
        for one in listening:
            self._selector.register(one, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._ending = threading.Event()
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self._thread.join(30)

    def _serve(self) -> None:
        while not self._ending.is_set():
            for key, _ in self._selector.select(0.2):
                one = key.fileobj
                assert isinstance(one, socket.socket)
                if one.type == socket.SOCK_DGRAM:
                    question, asker = one.recvfrom(2048)
                    one.sendto(self._answer(question, most=512), asker)
                    continue
                client, _ = one.accept()
                with client:
                    client.settimeout(30)
                    question = client.recv(2048)[2:]
                    answer = self._answer(question)
                    client.sendall(len(answer).to_bytes(2, "big") + answer)

    def _answer(self, question: bytes, most: int = 65535) -> bytes:
        message = dns.message.from_wire(question)
        message.flags |= QR
        asked = message.question[0]
        name, kind = asked.name.to_text(omit_final_dot=True).lower(), to_text(asked.rdtype)
        for owner, ttl, record, value in self.zone.get((name, kind), []):
            value = f"{value}." if record == "CNAME" else value
            message.answer.append(dns.rrset.from_text(f"{owner}.", ttl, "IN", record, value))
        wire = message.to_wire()
        if len(wire) > most:
            message.answer.clear()
            message.flags |= TC
            wire = message.to_wire()
        return wire


@contextmanager
def server(placed: Placed, zone: Zone) -> Iterator[Server]:
    with ExitStack() as stack:
        sockets = []
        with netns.inside(placed.netns):
            for family in (socket.AF_INET, socket.AF_INET6):
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    one = stack.enter_context(socket.socket(family, kind))
                    if family == socket.AF_INET6:
                        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    one.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", 53))
                    if kind == socket.SOCK_STREAM:
                        one.listen()
                    sockets.append(one)
        made = Server(zone, *sockets)
        try:
            yield made
        finally:
            made.close()


def ask(client: Placed, server: str, name: str, kind: str = "A", *, tcp: bool = False) -> Message:
    """As a resolver does: by TCP if it is told so, or if the answer was cut short."""
    question = dns.message.make_query(name, kind)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with netns.inside(client.netns):
        one = socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
    with one:
        one.settimeout(30)
        if not tcp:
            reply = dns.query.udp(question, server, timeout=30, sock=_unblocked(one))
            return ask(client, server, name, kind, tcp=True) if reply.flags & TC else reply
        one.connect((server, 53))
        return dns.query.tcp(question, server, timeout=30, sock=_unblocked(one))


def _unblocked(one: socket.socket) -> socket.socket:
    one.setblocking(False)
    return one
