"""What is behind Docker's plugin, in memory: networks and endpoints as the API and the attacher keep them.

The socket, the requests and everything in `ovs_agent.docker` are the real ones.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, cast

from client.rest import Problem, Reply, Rest, Unreachable
from ovs_agent.attach import Attacher
from ovs_agent.docker.book import Book
from ovs_agent.docker.driver import Driver
from ovs_agent.docker.engine import Engine
from ovs_agent.docker.server import Listener
from ovs_agent.document import Endpoint
from ovs_agent.ledger import Key
from ovs_agent.publish import Publisher

TENANTS = ("acme", "beta", "docker")


class Api:
    """The three calls about networks. `away` says that nothing answers."""

    def __init__(self) -> None:
        self.networks: dict[str, dict[str, Any]] = {}
        self.away = False

    def get(self, path: str, **_: Any) -> Reply:
        name = self._name(path)
        if name not in self.networks:
            raise Problem(404, "Not Found", f"There is no network {name}; create it.")
        return Reply(200, self.networks[name], {})

    def put(self, path: str, json: Mapping[str, Any], **_: Any) -> Reply:
        name = self._name(path)
        if name.split("/")[0] not in TENANTS:
            raise Problem(404, "Not Found", f"There is no tenant {name.split('/')[0]}; create it.")
        given = [ipaddress.ip_network(text) for text in json["subnets"] or ["10.128.0.0/24"]]
        routers = {ipaddress.ip_address(text).version: text for text in json["gateways"]}
        subnets = [{"cidr": str(one), "gateway": routers.get(one.version, str(one[1]))} for one in given]
        known = self.networks.setdefault(name, {"name": name, "subnets": subnets})
        if json["subnets"] and any(one not in known["subnets"] for one in subnets):
            raise Problem(409, "Conflict", f"Network {name} has other subnets; give those.")
        return Reply(200, known, {})

    def delete(self, path: str, **_: Any) -> Reply:
        self.networks.pop(self._name(path), None)
        return Reply(200, {}, {})

    def _name(self, path: str) -> str:
        if self.away:
            raise Unreachable("The API is not reachable; start it.")
        return "/".join(path.split("/")[-2:])


class Ports:
    """The attacher: claims by key, and which of them have an interface in a container."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.claims: dict[Key, tuple[Endpoint, Mapping[str, Any]]] = {}
        self.plugged: set[Key] = set()
        self._lock = threading.Lock()
        self._count = 0

    def claim(self, key: Key, wish: Mapping[str, Any], patience: float) -> tuple[Endpoint, int]:
        with self._lock:
            network = self.api.get(f"/hosts/h1/networks/{wish['network']}").body
            if key in self.claims:
                endpoint, known = self.claims[key]
                if known != wish:
                    raise Problem(409, "Conflict", f"Interface {key} is attached with other parameters; detach it.")
                return endpoint, 1
            asked = [ipaddress.ip_address(text) for text in wish["addresses"]]
            given = [self._give(wish["network"], one, asked) for one in network["subnets"]]
            self._count += 1
            name = f"{wish['network'].split('/')[0]}/{wish['name']}"
            mac = wish.get("mac") or f"02:00:00:00:{self._count // 256:02x}:{self._count % 256:02x}"
            gateways = tuple(one["gateway"] for one in network["subnets"])
            port = f"wrn{self._count}"
            endpoint = Endpoint(
                *(
                    self._count,
                    name,
                    wish["network"],
                    self._count,
                    port,
                    mac,
                    tuple(given),
                    gateways,
                    1450,
                    1450,
                    *key,
                    "",
                )
            )
            self.claims[key] = endpoint, wish
            return endpoint, 1

    def plug(self, endpoint: Endpoint, revision: int, peer: str, scope: str) -> None:
        self.plugged.add(endpoint.key)

    def plugging(self, endpoint: Endpoint, revision: int, peer: str, scope: str) -> Future[None]:
        done: Future[None] = Future()
        done.set_result(self.plug(endpoint, revision, peer, scope))
        return done

    def unplug(self, key: Key) -> None:
        self.plugged.discard(key)

    def detach(self, key: Key) -> None:
        with self._lock:
            self.plugged.discard(key)
            self.claims.pop(key, None)

    def known(self) -> tuple[Endpoint, ...]:
        with self._lock:
            return tuple(endpoint for endpoint, _ in self.claims.values())

    def placed(self, peer: Callable[[Endpoint], str]) -> set[Key]:
        return set(self.plugged)

    def retry_releases(self) -> None:
        pass

    def _give(self, network: str, subnet: Mapping[str, Any], asked: list[Any]) -> str:
        whole = ipaddress.ip_network(subnet["cidr"])
        used = {
            ipaddress.ip_interface(one).ip
            for endpoint, _ in self.claims.values()
            if endpoint.network == network
            for one in endpoint.addresses
        } | {ipaddress.ip_address(subnet["gateway"])}
        mine = [one for one in asked if one in whole]
        if mine and mine[0] in used:
            raise Problem(409, "Conflict", f"Address {mine[0]} is another's; choose another.")
        free = mine[0] if mine else next((one for one in whole.hosts() if one not in used), None)
        if free is None:
            raise Problem(409, "Conflict", f"Subnet {whole} is full; remove endpoints.")
        return f"{free}/{whole.prefixlen}"


class WaysIn:
    """The publisher: what is published, by interface. `taken` is a port of the host's that somebody has."""

    def __init__(self) -> None:
        self.published: dict[Key, list[Mapping[str, Any]]] = {}
        self.taken = -1

    def publish(self, key: Key, ports: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
        if any(port["host_port"] == self.taken for port in ports):
            raise Problem(
                409, "Conflict", f"Port tcp/{self.taken} of host h1 is published for acme/web1; choose another."
            )
        self.published[key] = ports
        return []

    def withdraw(self, key: Key) -> None:
        self.published.pop(key, None)


class Answered(NamedTuple):
    status: int
    body: dict[str, Any]

    @property
    def error(self) -> str:
        return str(self.body.get("Err", ""))


class Plugin:
    """The plugin on a socket of its own, and a connection to it as dockerd keeps one."""

    def __init__(self, folder: Path) -> None:
        self.api = Api()
        self.ports = Ports(self.api)
        self.ways_in = WaysIn()
        self.folder = folder
        self.path = folder / "warren.sock"
        self.joined = threading.Event()
        self.start()

    def start(self) -> None:
        """Also again: what is remembered is read from disk."""
        self.book = Book(self.folder / "docker")
        self.driver = Driver(
            cast(Attacher, self.ports),
            cast(Rest, self.api),
            "h1",
            "docker",
            self.book,
            cast(Publisher, self.ways_in),
            Engine(self.folder / "docker.sock"),
            self.joined.set,
        )
        self.listener = Listener(self.path, self.driver.answer)
        self.listener.start()
        self.line = self.connect()

    def stop(self) -> None:
        self.line.close()
        self.listener.stop()

    def restart(self) -> None:
        self.stop()
        self.start()

    def connect(self) -> http.client.HTTPConnection:
        line = http.client.HTTPConnection("localhost", timeout=60)
        line.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        line.sock.settimeout(60)
        line.sock.connect(str(self.path))
        return line

    def call(self, method: str, body: Any = None) -> Answered:
        self.line.request("POST", f"/{method}", b"" if body is None else json.dumps(body))
        answer = self.line.getresponse()
        return Answered(answer.status, json.loads(answer.read()))

    @property
    def left(self) -> list[Any]:
        """What is remembered and held."""
        book = self.book
        return [*book.pools.all(), *book.nets.all(), *book.joints.all(), *self.ports.claims]
