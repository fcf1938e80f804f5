"""What is behind the CNI socket, in memory: endpoints as the API and the attacher keep them.

The socket, the requests and everything in `ovs_agent.cni` are the real ones.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from client.rest import Problem
from ovs_agent.attach import Attached, Attacher, NotAttached
from ovs_agent.cni.plugin import Unfit
from ovs_agent.cni.server import Server
from ovs_agent.ledger import Key
from ovs_agent.netlink.veth import InterfaceExists, Routing
from ovs_agent.publish import Publisher
from tests.pure.docker_world import Api, Ports, WaysIn

NETWORKS = {
    "acme/web": ("10.20.0.0/24", "fd20::/64"),
    "acme/db": ("10.21.0.0/24",),
    "acme/lan": ("10.22.0.0/24",),
    "podman/web": ("10.31.0.0/24",),
}


class Attachments(Ports):
    """Claims, and those of them that have an interface."""

    def __init__(self) -> None:
        api = Api()
        for name, subnets in NETWORKS.items():
            gateways = [subnet.replace("::/64", "::1").replace(".0/24", ".1") for subnet in subnets]
            listed = [{"cidr": cidr, "gateway": gateway} for cidr, gateway in zip(subnets, gateways, strict=True)]
            api.networks[name] = {"name": name, "subnets": listed}
        super().__init__(api)
        self.scopes: dict[Key, str] = {}
        self.routing: dict[Key, Routing] = {}
        self.gate: Callable[[Key], None] = lambda key: None
        """Called in each attach: where a slow one waits."""

    def attach(
        self,
        key: Key,
        netns: str,
        wish: Mapping[str, Any],
        scope: str,
        abandoned: Callable[[], bool],
        routing: Routing,
    ) -> Attached:
        self.gate(key)
        if key in self.claims:
            raise InterfaceExists(f"Interface {key[1]} exists already in {netns}; delete it first.")
        taken = [one for one in self.known() if one.name == f"{wish['network'].split('/')[0]}/{wish['name']}"]
        if taken:
            raise Problem(409, "Conflict", f"Endpoint {taken[0].name} exists already; choose another name.")
        endpoint, revision = self.claim(key, {**wish, "addresses": _bare(wish["addresses"])}, 1.0)
        endpoint = endpoint._replace(netns=netns, nameservers=endpoint.gateways, search=("web.acme.warren.internal",))
        with self._lock:
            self.claims[key] = endpoint, wish
            self.scopes[key], self.routing[key] = scope, routing
        gateways = endpoint.gateways if routing.default else ()
        return Attached(endpoint, "fe:00:00:00:00:01", gateways, revision)

    def claim(self, key: Key, wish: Mapping[str, Any], patience: float) -> Any:
        return super().claim(key, {**wish, "addresses": _bare(wish["addresses"])}, patience)

    def complaints(self, key: Key, gateways: Sequence[str]) -> list[str]:
        if key not in self.claims:
            raise NotAttached(f"Interface {key[1]} of container {key[0]} is not attached.")
        return []

    def attachments(self, scope: str) -> set[Key]:
        return {key for key, one in self.scopes.items() if one == scope and key in self.claims}


class Reply(NamedTuple):
    exit: int
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)


class Plugin:
    """The agent's end, and calls as the shim passes them on."""

    def __init__(self, folder: Path) -> None:
        self.attachments = Attachments()
        self.ways_in = WaysIn()
        self.unfit: Unfit | None = None
        self.path = folder / "cni.sock"
        self.server = Server(
            self.path, cast(Attacher, self.attachments), cast(Publisher, self.ways_in), lambda: self.unfit
        )
        self.server.start()

    def call(self, environment: Mapping[str, str], stdin: str) -> Reply:
        variables = "\0".join(f"{name}={value}" for name, value in environment.items())
        said = self.send(framed(f"{variables}\0\0{stdin}".encode()))
        return Reply(int(said[:1]), said[1:].decode())

    def send(self, raw: bytes) -> bytes:
        """What comes back; the line's limit makes a hang a failure."""
        with self.connect() as line:
            line.sendall(raw)
            return b"".join(iter(lambda: line.recv(65536), b""))

    def hang_up_after(self, raw: bytes) -> bytes:
        """What comes back to a caller who says nothing more."""
        try:
            with self.connect() as line:
                line.sendall(raw)
                line.shutdown(socket.SHUT_WR)
                return b"".join(iter(lambda: line.recv(65536), b""))
        except (BrokenPipeError, ConnectionResetError):
            return b""

    def connect(self) -> socket.socket:
        line = socket.socket(socket.AF_UNIX)
        line.settimeout(120)
        line.connect(str(self.path))
        return line

    def stop(self) -> None:
        self.server.stop()


def framed(request: bytes) -> bytes:
    """As it travels: after its length."""
    return len(request).to_bytes(4, "big") + request


def _bare(addresses: Sequence[str] | None) -> list[str]:
    return [one.split("/")[0] for one in addresses or ()]
