"""What is no longer allowed stops at the next packet, on open connections too; what stays allowed loses nothing."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lab import netns
from lab.state import Placed
from tests.lab import caches
from tests.lab.standing import isolate, join, make_global, peer, set_mode, unpeer
from tests.lab.test_lossless import RATE, streams
from tests.lab.test_spoofing import ip
from tests.lab.world import World

PORT = 7007
STAMP = struct.Struct("!dI")
PLACES = pytest.mark.parametrize("hosts", [("h1", "h1"), ("h1", "h2")], ids=["one-host", "two-hosts"])


def allow_and_forbid(world: World, one: str, other: str, how: str) -> tuple[Callable[[], object], Callable[[], object]]:
    ways = {
        "join": (lambda: join(world, one, other), lambda: isolate(world, one)),
        "peer": (lambda: peer(world, one, other), lambda: unpeer(world, other, one)),
        "global": (lambda: make_global(world, one), lambda: isolate(world, one)),
        "flat": (lambda: set_mode(world, "flat"), lambda: set_mode(world, "multitenant")),
    }
    return ways[how]


@contextmanager
def connection(
    source: Placed, target: Placed, port: int = PORT, by: int = 0
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """An open TCP connection, from port `by` if that is to be one: its end at the source, and the one at the target."""
    with netns.inside(target.netns):
        listening = socket.create_server((ip(target), port))
    with listening:
        with netns.inside(source.netns):
            near = socket.create_connection((ip(target), port), timeout=60, source_address=(ip(source), by))
        far = listening.accept()[0]
        with near, far:
            yield near, far


def says(one: socket.socket, other: socket.socket, seconds: float = 30) -> bool:
    """Whether what one says is heard by the other, within so many seconds."""
    one.sendall(b"hello")
    other.settimeout(seconds)
    try:
        return other.recv(16) == b"hello"
    except TimeoutError:
        return False


class Datagrams:
    """A stream of stamped datagrams from one endpoint to another; nothing ever comes back."""

    def __init__(self, source: Placed, target: Placed, port: int = PORT) -> None:
        with netns.inside(source.netns):
            self._out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with netns.inside(target.netns):
            self._in = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._in.bind((ip(target), port))
        self._in.setblocking(False)
        self._to = (ip(target), port)
        self._over = threading.Event()
        self._sent = 0
        self._sending = threading.Thread(target=self._send, daemon=True)

    def _send(self) -> None:
        while not self._over.wait(1 / RATE):
            self._out.sendto(STAMP.pack(time.monotonic(), self._sent), self._to)
            self._sent += 1

    def __enter__(self) -> Datagrams:
        self._sending.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._sending.join()
        self._out.close()
        self._in.close()

    def flow(self) -> None:
        """Until a good many have arrived, from now on."""
        self.arrived(0)
        end, came = time.monotonic() + 60, 0
        while came < RATE / 4:
            assert time.monotonic() < end, f"only {came} have arrived"
            came += len(self.arrived(0.1))

    def arrived(self, seconds: float) -> list[float]:
        """When those were sent that arrive within so many seconds, and before."""
        time.sleep(seconds)
        stamps = []
        while True:
            try:
                stamps.append(STAMP.unpack(self._in.recv(64))[0])
            except BlockingIOError:
                return stamps


@PLACES
@pytest.mark.parametrize("how", ["join", "peer", "global", "flat"])
def test_an_open_connection_stops_at_the_next_packet_when_it_is_no_longer_allowed(
    world: World, how: str, hosts: tuple[str, str]
) -> None:
    acme, beta = world.tenant("acme"), world.tenant("beta")
    allow, forbid = allow_and_forbid(world, acme, beta, how)
    one, other = (world.endpoint(f"{tenant}/default", host) for tenant, host in zip((acme, beta), hosts, strict=True))
    friend = world.endpoint(f"{acme}/default", "h2")
    allow()
    with (
        connection(one, other) as (near, far),
        connection(one, friend) as (here, there),
        Datagrams(other, one) as datagrams,
    ):
        assert says(near, far) and says(far, near) and says(here, there)
        datagrams.flow()
        forbid()
        caches.follow(world.lab)
        at = time.monotonic()
        late = [stamp - at for stamp in datagrams.arrived(1.0) if stamp > at]
        assert not late, f"{len(late)} datagrams sent up to {max(late) * 1000:.1f} ms after the change was live"
        assert not says(near, far, 1)
        assert not says(far, near, 1)
        assert says(here, there) and says(there, here), "what is allowed goes on"


def test_what_stays_allowed_loses_nothing_while_tenants_join_and_part(world: World) -> None:
    acme, beta, gamma, delta = (world.tenant(name) for name in ("acme", "beta", "gamma", "delta"))
    a1, a2 = world.endpoints(f"{acme}/default", hosts=("h1", "h2"), per_host=1)
    b1, b2 = world.endpoints(f"{beta}/default", hosts=("h1", "h2"), per_host=1)
    g1, g2 = world.endpoints(f"{gamma}/default", hosts=("h1", "h2"), per_host=1)
    d1, d2 = world.endpoints(f"{delta}/default", hosts=("h2", "h3"), per_host=1)
    peer(world, gamma, delta)
    began = time.monotonic()
    # Within a tenant that moves all the time, within one that does not, and between peers of whom one moves.
    with connection(a1, a2) as (near, far), streams((a1, a2), (g1, g2), (g2, d2), (b1, b2), (d1, g1)) as results:
        for _ in range(5):
            join(world, acme, beta)
            assert says(near, far)
            peer(world, acme, gamma)
            isolate(world, acme)
            unpeer(world, acme, gamma)
            make_global(world, acme)
            join(world, delta, beta)
            isolate(world, acme)
            isolate(world, delta)
            set_mode(world, "flat")
            set_mode(world, "multitenant")
            assert says(near, far)
    seconds = time.monotonic() - began
    assert all(answered > seconds * RATE / 10 for answered, _ in results), f"the streams ran for {seconds} s: {results}"
    assert [lost for _, lost in results] == [set()] * 5
