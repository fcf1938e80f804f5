"""The outside world of a lab: a machine behind the hosts' underlay that knows no address but theirs.

It has two addresses of each family that nobody has a network for, and answers on TCP and UDP with the address that it
was asked from. Hosts have routes there, and it has none back to endpoints.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from lab import fabric, netns
from lab.lab import Lab
from lab.names import UNDERLAY_PREFIX, UNDERLAY_PREFIX6, fabric_netns
from lab.ovs import BRIDGE

ROUTER, ROUTER6 = "198.18.0.250", "fd00:198:18::250"
FAR, FAR2, FAR6 = "198.19.7.1", "198.19.7.2", "fd00:198:19:7::1"
"""Where it is asked."""
PORT = 7
MAC = "02:c6:12:00:00:fa"
"""Always the same: hosts remember it from one test to the next."""
ROUTES = "198.19.7.0/24", "fd00:198:19:7::/64"


class Internet:
    def __init__(self, space: str) -> None:
        self.netns = space
        self._stopping = threading.Event()
        with netns.inside(space):
            self._listening = [_listening(family, socket.SOCK_STREAM) for family in (socket.AF_INET, socket.AF_INET6)]
            # A datagram is answered from the address that it came to.
            self._listening += [
                _listening(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM, PORT, address)
                for address in (FAR, FAR2, FAR6)
            ]
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()
        for one in self._listening:
            one.close()

    def _answer(self) -> None:
        while not self._stopping.is_set():
            for one in select.select(self._listening, [], [], 0.1)[0]:
                answer(one)


def _listening(
    family: socket.AddressFamily, kind: socket.SocketKind, port: int = PORT, address: str = ""
) -> socket.socket:
    one = socket.socket(family, kind)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    one.bind((address, port))
    if kind == socket.SOCK_STREAM:
        one.listen(16)
    return one


def answer(one: socket.socket) -> None:
    """Tell who asks from where, once for a datagram, at each line of a stream as long as it is open."""
    if one.type == socket.SOCK_DGRAM:
        _, asker = one.recvfrom(100)
        one.sendto(f"{asker[0]} {asker[1]}".encode(), asker)
        return
    line, asker = one.accept()
    threading.Thread(target=_talk, args=(line, f"{asker[0]} {asker[1]}".encode()), daemon=True).start()


def _talk(line: socket.socket, said: bytes) -> None:
    with closing(line), suppress(OSError):
        line.settimeout(60)
        while line.recv(100):
            line.sendall(said)


@contextmanager
def internet(lab: Lab) -> Iterator[Internet]:
    space, cable = f"{lab.name}-h98.internet", "internet"
    netns.create(space)
    try:
        netns.batch(
            fabric_netns(lab.name),
            [
                f"link add {cable} type veth peer name eth0 address {MAC} netns {space}",
                f"link set {cable} master {fabric.BRIDGE} addrgenmode none up",
            ],
        )
        far = (f"addr add {address}/{128 if ':' in address else 32} dev lo" for address in (FAR, FAR2, FAR6))
        netns.batch(
            space,
            [
                "link set eth0 addrgenmode none up",
                f"addr add {ROUTER}/{UNDERLAY_PREFIX} dev eth0",
                f"addr add {ROUTER6}/{UNDERLAY_PREFIX6} dev eth0 nodad",
                *far,
            ],
        )
        with netns.inside(space):
            fabric.checksum_in_software("eth0")
        for host in lab.hosts:
            netns.batch(
                host.netns,
                [f"route replace {route} via {ROUTER6 if ':' in route else ROUTER} dev {BRIDGE}" for route in ROUTES],
            )
        with closing(Internet(space)) as there:
            yield there
    finally:
        for host in lab.hosts:
            for route in ROUTES:
                with suppress(Exception):
                    netns.run("ip", "-n", host.netns, "route", "del", route)
        if cable in fabric.links(fabric_netns(lab.name)):
            netns.batch(fabric_netns(lab.name), [f"link del {cable}"])
        netns.delete(space)


def rules(space: str) -> str:
    """All of nftables there."""
    return netns.run("ip", "netns", "exec", space, "nft", "list", "ruleset")


class Line:
    """An open TCP connection from a namespace; it asks as often as it likes who it is."""

    def __init__(self, space: str, address: str, port: int = PORT, seconds: float = 20.0, source_port: int = 0) -> None:
        with netns.inside(space):
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            self._line = socket.socket(family, socket.SOCK_STREAM)
        self._line.settimeout(seconds)
        try:
            if source_port:
                self._line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self._line.bind(("", source_port))
            self._line.connect((address, port))
        except OSError:
            self._line.close()
            raise

    def ask(self) -> str:
        """From which address the other end hears this one. Raises OSError if there is no answer."""
        self._line.sendall(b"who am I?")
        return self._line.recv(100).decode().partition(" ")[0]

    def falls_silent(self) -> bool:
        """Whether there is no answer any more, but for those of the first seconds: a switch's cache takes a moment."""
        self._line.settimeout(2.0)
        end = time.monotonic() + 5
        while time.monotonic() < end:
            try:
                self.ask()
            except TimeoutError:
                return True
        return False

    def close(self) -> None:
        self._line.close()


def asked(space: str, address: str, port: int = PORT, seconds: float = 30.0) -> str | None:
    """From which address a machine there hears the namespace over TCP; None if it does not answer, on none of three
    connections."""
    for _ in range(3):
        with suppress(OSError), closing(Line(space, address, port, seconds / 3)) as line:
            return line.ask()
    return None


def asked_udp(space: str, address: str, port: int = PORT, seconds: float = 30.0) -> str | None:
    """The same by datagrams: three, as one may be lost."""
    with netns.inside(space):
        line = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    with closing(line):
        line.settimeout(seconds / 3)
        for _ in range(3):
            try:
                line.sendto(b"who am I?", (address, port))
                return line.recv(100).decode().partition(" ")[0]
            except OSError:
                continue
    return None


@contextmanager
def serving(space: str, port: int) -> Iterator[None]:
    """Somebody in the namespace who answers on a port, TCP and UDP, as the outside machine does."""
    stopping = threading.Event()
    with netns.inside(space):
        listening = [
            _listening(family, kind, port)
            for family in (socket.AF_INET, socket.AF_INET6)
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)
        ]

    def run() -> None:
        while not stopping.is_set():
            for one in select.select(listening, [], [], 0.1)[0]:
                answer(one)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
        for one in listening:
            one.close()
