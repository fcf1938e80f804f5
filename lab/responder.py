"""Answers for every endpoint of a lab: TCP and UDP on ports 80 and 81, over IPv4 and IPv6, with the endpoint's name.

One small process per lab. A socket belongs for ever to the namespace it was made in, so this process steps into each
endpoint's namespace once, makes its sockets, and serves them all from one loop. It knows no addresses: it answers
whatever reaches the endpoint, from the address that was asked. `add` and `remove` come over a unix socket. Once a
minute it also lets the hosts announce themselves on the underlay (lab.announce).
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from lab import netns, state
from lab.announce import EVERY_SECONDS, announce
from lab.names import NICE, LabError
from lab.process import Daemon

PORTS = (80, 81)
LINGER = 2.0
"""Seconds a TCP client may take to hang up after it was answered."""
_IPV6_RECVPKTINFO, _IPV6_PKTINFO = 49, 50
_PKTINFO_SIZE = struct.calcsize("16sI")


class Responder:
    def __init__(self, lab: str) -> None:
        self._lab = lab
        control = control_socket(state.folder(lab))
        self._ready = selectors.DefaultSelector()
        self._sockets: dict[str, list[socket.socket]] = {}
        self._leaving: dict[socket.socket, float] = {}
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        fresh = control.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        self._control.bind(str(fresh))
        self._control.listen(64)
        self._watch(self._control, self._command)
        self._bound, self._path = fresh, control

    def serve(self) -> None:
        """For ever. The control socket gets its name only now, when everything known is being answered."""
        self._bound.replace(self._path)
        announced = time.monotonic()
        while True:
            for key, _ in self._ready.select(timeout=LINGER if self._leaving else EVERY_SECONDS):
                # One endpoint that goes away must not silence the others.
                with suppress(OSError):
                    key.data(key.fileobj)
            self._forget_the_slow()
            if time.monotonic() - announced > EVERY_SECONDS:
                announced = time.monotonic()
                known = state.load(self._lab)
                announce(state.hosts(self._lab, known.hosts) if known else [])

    def add(self, name: str, space: str, ports: Iterable[int] = PORTS) -> None:
        self.remove(name)
        answer = name.encode() + b"\n"
        made: list[socket.socket] = []
        with netns.inside(space):
            for port in ports:
                made += [_listen(socket.SOCK_STREAM, port), _listen(socket.SOCK_DGRAM, port)]
        for each in made:
            serve = _tcp if each.type == socket.SOCK_STREAM else _udp
            self._watch(each, serve(answer, self._linger))
        self._sockets[name] = made

    def remove(self, name: str) -> None:
        for each in self._sockets.pop(name, []):
            self._ready.unregister(each)
            each.close()

    def _watch(self, one: socket.socket, serve: Callable[[socket.socket], None]) -> None:
        one.setblocking(False)
        self._ready.register(one, selectors.EVENT_READ, serve)

    def _linger(self, client: socket.socket) -> None:
        # Closing with unread input would send a reset that can overtake the answer.
        self._leaving[client] = time.monotonic() + LINGER
        self._watch(client, self._drain)

    def _drain(self, client: socket.socket) -> None:
        try:
            if client.recv(65536):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._hang_up(client)

    def _hang_up(self, client: socket.socket) -> None:
        self._leaving.pop(client, None)
        self._ready.unregister(client)
        client.close()

    def _forget_the_slow(self) -> None:
        now = time.monotonic()
        for client in [client for client, until in self._leaving.items() if until < now]:
            self._hang_up(client)

    def _command(self, listening: socket.socket) -> None:
        caller, _ = listening.accept()
        with caller:
            caller.settimeout(2)
            try:
                said = json.loads(caller.makefile("rb").readline())
                if said["do"] == "add":
                    self.add(said["name"], said["netns"], said["ports"])
                else:
                    self.remove(said["name"])
                reply: dict[str, Any] = {}
            except (OSError, ValueError, KeyError, LabError) as fault:
                reply = {"error": str(fault) or type(fault).__name__}
            caller.sendall(json.dumps(reply).encode() + b"\n")


def _listen(kind: socket.SocketKind, port: int) -> socket.socket:
    """A socket for both families on the wildcard address, which needs no address to exist yet."""
    made = socket.socket(socket.AF_INET6, kind)
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    if kind == socket.SOCK_STREAM:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    else:
        made.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
    made.bind(("::", port))
    if kind == socket.SOCK_STREAM:
        made.listen(256)
    return made


def _tcp(answer: bytes, linger: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    def serve(listening: socket.socket) -> None:
        client, _ = listening.accept()
        try:
            client.sendall(answer)
            client.shutdown(socket.SHUT_WR)
        except OSError:
            client.close()
        else:
            linger(client)

    return serve


def _udp(answer: bytes, _linger: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    def serve(one: socket.socket) -> None:
        _, control, _, asker = one.recvmsg(2048, socket.CMSG_SPACE(_PKTINFO_SIZE))
        asked = [part for part in control if part[:2] == (socket.IPPROTO_IPV6, _IPV6_PKTINFO)]
        one.sendmsg([answer], asked, 0, asker)

    return serve


def control_socket(lab_dir: Path) -> Path:
    return lab_dir / "responder.sock"


def start(lab_dir: Path) -> None:
    """Start the lab's responder if it does not run; it finds the lab's endpoints by their files."""
    daemon = Daemon(lab_dir, "responder")
    if daemon.process is None:
        control_socket(lab_dir).unlink(missing_ok=True)
        daemon.start([sys.executable, "-m", "lab.responder", lab_dir.name], lab_dir)
        daemon.wait_until(control_socket(lab_dir).exists, "The responder", 15)


def tell(lab_dir: Path, do: str, name: str, space: str = "", ports: Iterable[int] = PORTS) -> None:
    """`add` or `remove` an endpoint; returns when it is done. Adding it again lets it answer on other ports."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(10)
        try:
            line.connect(str(control_socket(lab_dir)))
            line.sendall(json.dumps({"do": do, "name": name, "netns": space, "ports": [*ports]}).encode() + b"\n")
            reply = json.loads(line.makefile("rb").readline())
        except (OSError, ValueError) as fault:
            raise LabError(
                f"The lab's responder does not answer ({fault}); `warren lab up` starts it again."
            ) from fault
    if "error" in reply:
        raise LabError(f"The responder cannot answer for '{name}': {reply['error']}")


def main(lab: str) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
    responder = Responder(lab)
    for endpoint in state.endpoints(lab):
        try:
            responder.add(endpoint.name, endpoint.netns)
        except (OSError, LabError) as fault:
            print(f"{endpoint.name}: {fault}", file=sys.stderr, flush=True)
    responder.serve()


if __name__ == "__main__":
    main(sys.argv[1])
