"""TCP through every transport, in packets of 1,400 bytes and as large as the interface allows, both ways; and on paths
that take less than the interface does. What is sent comes back whole, and what passes is measured on the wire."""

from __future__ import annotations

import secrets
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from lab import netns
from lab.lab import Lab
from lab.state import Placed
from tests.lab.outside import outside
from tests.lab.test_transports import mtu
from tests.lab.wire import Tap, tap
from tests.lab.world import World

PORT = 5001
SIZE = 256 << 10
"""Bytes each way."""
HEADERS = {4: 20 + 20, 6: 40 + 20}
PATIENCE = 60.0
TAG = 70
GATEWAYS = ["10.67.1.254", "fd00:67:1::fe"]
TRANSPORTS: dict[str, dict[str, Any]] = {
    "vxlan": {},
    "geneve": {},
    "gre": {},
    "host-gw": {},
    "vlan": {"physical": "lan", "vlan": TAG},
    "local": {},
}


class Seen(NamedTuple):
    """Of a connection, by what came in at each end: the largest IP packet, and the MSS that its opener and its server
    announced (RFC 9293 section 3.7.1)."""

    largest: tuple[int, int]
    announced: tuple[int, int]


def address(placed: Placed, version: int) -> str:
    return next(a.partition("/")[0] for a in placed.addresses if (":" in a) == (version == 6))


@contextmanager
def echoing(placed: Placed, version: int) -> Iterator[None]:
    """A server that sends one client back what it gets."""
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    with netns.inside(placed.netns):
        listener = socket.create_server((address(placed, version), PORT), family=family)
    listener.settimeout(PATIENCE)

    def serve() -> None:
        client, _ = listener.accept()
        client.settimeout(PATIENCE)
        with client:
            while data := client.recv(65536):
                client.sendall(data)

    server = threading.Thread(target=serve, daemon=True)
    with listener:
        server.start()
        yield
        server.join(PATIENCE)
    assert not server.is_alive(), "the server has not come to its end"


def talk(source: Placed, destination: Placed, version: int, most: int | None) -> None:
    """Sends and gets back; `most` bounds a packet, in bytes with its IP header."""
    said = secrets.token_bytes(SIZE)
    with netns.inside(source.netns):
        client = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET)
    with client:
        client.settimeout(PATIENCE)
        if most is not None:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, most - HEADERS[version])
        client.connect((address(destination, version), PORT))

        def send() -> None:
            client.sendall(said)
            client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        heard = bytearray()
        while data := client.recv(65536):
            heard += data
        sender.join(PATIENCE)
    assert bytes(heard) == said


class Meter:
    """What comes in by an interface, of TCP to or from PORT."""

    def __init__(self, line: Tap) -> None:
        self._line = line
        self.largest = 0
        self.announced = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        ended = False
        while not ended:
            ended = self._stopping.wait(0.005)
            for frame in self._line.waiting():
                self._note(frame)

    def _note(self, frame: bytes) -> None:
        version = {b"\x08\x00": 4, b"\x86\xdd": 6}.get(frame[12:14])
        if version is None or frame[14 + (9 if version == 4 else 6)] != socket.IPPROTO_TCP:
            return
        length = struct.unpack_from("!H", frame, 14 + (2 if version == 4 else 4))[0] + (0 if version == 4 else 40)
        self.largest = max(self.largest, length)
        if frame[14 + (20 if version == 4 else 40) + 13] & 2:  # SYN
            packet = Ether(frame)[IP if version == 4 else IPv6][TCP]
            self.announced = int(dict(packet.options)["MSS"])


def measured(source: Placed, destination: Placed, version: int, most: int | None = None) -> Seen:
    with ExitStack() as stack:
        meters = [Meter(stack.enter_context(tap(end.netns))) for end in (source, destination)]
        try:
            with echoing(destination, version):
                talk(source, destination, version, most)
        finally:
            for meter in meters:
                meter.stop()
    at_source, at_destination = meters
    return Seen((at_destination.largest, at_source.largest), (at_destination.announced, at_source.announced))


def network(world: World, tenant: str, name: str, third: int, transport: str, **more: Any) -> str:
    subnets = f"10.67.{third}.0/24", f"fd00:67:{third}::/64"
    return world.network(tenant, name, *subnets, transport=transport, **TRANSPORTS[transport], **more)


@pytest.fixture
def router(lab: Lab) -> Iterator[None]:
    """The gateway of networks on the physical segment."""
    with outside(lab.name) as machine:
        machine.interface(TAG, *(f"{gateway}/{24 if '.' in gateway else 64}" for gateway in GATEWAYS))
        yield


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_segments_of_1400_bytes_and_of_the_whole_mtu_come_through(world: World, transport: str) -> None:
    its = network(world, world.tenant(transport), "front", 1, transport)
    one, other = world.endpoint(its, "h1"), world.endpoint(its, "h1" if transport == "local" else "h2")
    world.settle()
    whole = {"vxlan": 1450, "geneve": 1450, "gre": 1458}.get(transport, 1500)
    assert mtu(one) == mtu(other) == whole
    for version in (4, 6):
        assert measured(one, other, version, 1400).largest == (1400, 1400)
        seen = measured(one, other, version)
        assert seen.largest == (whole, whole)
        assert seen.announced == (whole - HEADERS[version],) * 2


@pytest.mark.parametrize("transport", ["host-gw", "vlan", "gre", "local"])
def test_tcp_to_another_network_fits_the_smaller_of_both_ways(world: World, router: None, transport: str) -> None:
    """There by one transport, back by VXLAN: both ends announce what passes both ways, and no packet is larger."""
    tenant = world.tenant(transport)
    front = network(world, tenant, "front", 1, transport, **({"gateways": GATEWAYS} if transport == "vlan" else {}))
    back = network(world, tenant, "back", 2, "vxlan")
    one, other = world.endpoint(front, "h1"), world.endpoint(back, "h1" if transport == "local" else "h2")
    world.settle()
    for version in (4, 6):
        seen = measured(one, other, version)
        assert seen.largest == (1450, 1450)
        assert seen.announced == (1450 - HEADERS[version],) * 2
