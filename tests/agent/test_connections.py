"""The kernel's tracked connections, which the agent reads and ends: of a port that leads to another."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from ipaddress import ip_address

import pytest

from ovs_agent.netlink import connections
from tests.agent.site import PREFIX, inside, make_netns, remove_netns, run, sweep

RULES = """
table inet t {
  chain out {
    type nat hook output priority -100
    meta nfproto ipv4 meta l4proto { tcp, udp } th dport 8080-8081 dnat ip to 127.0.0.1 : 80
    meta nfproto ipv6 meta l4proto { tcp, udp } th dport 8080-8081 dnat ip6 to [::1]:80
  }
}
"""


@pytest.fixture
def host() -> Iterator[None]:
    """The test runs in a namespace of its own, where ports 8080 and 8081 lead to 80."""
    sweep()
    name = make_netns(f"{PREFIX}{os.getpid()}-ct")
    with inside(name):
        run("ip", "link", "set", "lo", "up")
        subprocess.run(["nft", "-f", "-"], input=RULES, text=True, check=True)
        yield
    remove_netns(name)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize(("kind", "protocol"), [(socket.SOCK_STREAM, 6), (socket.SOCK_DGRAM, 17)])
def test_one_is_ended_and_no_other(host: None, address: str, kind: socket.SocketKind, protocol: int) -> None:
    family = socket.AF_INET6 if ip_address(address).version == 6 else socket.AF_INET
    with closing(socket.socket(family, kind)) as server:
        server.bind((address, 80))
        if kind == socket.SOCK_STREAM:
            server.listen()
        for port in (8080, 8081, 80):
            with closing(socket.socket(family, kind)) as line:
                line.connect((address, port))
                line.send(b"x")
        # The server stays: what it resets is forgotten within seconds.
        found = {one.port: one for one in connections.listed()}
        assert {port: one.answers_port for port, one in found.items()} == {8080: 80, 8081: 80, 80: 80}
        one = found[8080]
        assert (one.protocol, one.asked, one.answers, one.answers_port) == (protocol, address, address, 80)
        connections.end([one, one])
        assert {one.port for one in connections.listed()} == {8081, 80}
        connections.end([])


def test_thousands_are_ended(host: None) -> None:
    """As of a busy port that is unpublished: the kernel has no room for that many answers at once."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as line:
        for port in range(10_000, 13_000):
            line.sendto(b"x", ("127.0.0.1", port))
    found = [one for one in connections.listed() if one.port in range(10_000, 13_000)]
    assert len(found) == 3000
    connections.end(found)
    assert not [one for one in connections.listed() if one.port in range(10_000, 13_000)]
