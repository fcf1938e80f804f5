"""The loop that answers, on sockets of the loopback interface."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.rcode
import pytest

from ovs_agent.dns import server
from ovs_agent.dns.forward import Upstreams
from ovs_agent.dns.server import Server, Sockets

PATIENCE = 20.0
"""Seconds after which a hang is a failure."""


def on_loopback() -> Sockets:
    found = []
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        one = socket.socket(socket.AF_INET6, kind | socket.SOCK_NONBLOCK)
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        one.bind(("::ffff:127.0.0.1", 0))
        found.append(one)
    found[1].listen(128)
    return Sockets(*found)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """That of a server without names: it answers, and be it that it cannot."""
    sockets = on_loopback()
    its = Server(sockets, Upstreams(tmp_path / "none"), lambda port: ())
    its.start()
    yield sockets.listener.getsockname()[1]
    its.stop()


def connected(port: int, asker: int) -> socket.socket:
    line = socket.socket()
    line.settimeout(PATIENCE)
    line.bind((f"127.0.0.{asker}", 0))
    line.connect(("127.0.0.1", port))
    return line


def is_answered(line: socket.socket) -> bool:
    question = dns.message.make_query("web1", "A").to_wire()
    try:
        line.sendall(len(question).to_bytes(2, "big") + question)
        said = line.recv(2) and line.recv(512)
    except ConnectionError:
        return False
    return bool(said) and dns.message.from_wire(said).rcode() == dns.rcode.SERVFAIL


def test_askers_who_keep_all_connections_do_not_keep_others_out(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of one tenant's containers has as many as it may, and all together as many as there are."""
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 6)
    monkeypatch.setattr(server, "MOST_CONNECTIONS_EACH", 3)
    lines = []
    try:
        for asker in (11, 12):
            for _ in range(3):
                lines.append(connected(port, asker))
                assert is_answered(lines[-1])
        lines.append(connected(port, 11))
        assert not is_answered(lines[-1]), "more than one may have"
        newcomers = [connected(port, asker) for asker in (13, 14)]
        lines += newcomers
        assert [is_answered(line) for line in newcomers] == [True, True]
        assert not is_answered(lines[0]) and not is_answered(lines[3]), "the oldest of who has most"
        assert is_answered(lines[1]) and is_answered(lines[4])
        assert [is_answered(line) for line in newcomers] == [True, True], "and those stay"
    finally:
        for line in lines:
            line.close()
