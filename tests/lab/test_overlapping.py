"""Private networks of many tenants on one host at once, with the same addresses: each has its own connections."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import pytest

from lab import netns
from lab.lab import Lab
from lab.ovs import settings
from lab.process import environment
from lab.state import Placed
from tests.lab.world import World

TENANTS = 4
SUBNETS = "10.69.0.0/24", "fd00:69::/64"
CLIENT_PORT, SERVER_PORT = 40000, 5009
PATIENCE = 60.0


class Tenant(NamedTuple):
    name: str
    client: Placed
    server: Placed


def address(placed: Placed, version: int) -> str:
    return next(a.partition("/")[0] for a in placed.addresses if (":" in a) == (version == 6))


@pytest.fixture(params=["h1", "h2"], ids=["same host", "across hosts"])
def tenants(world: World, request: pytest.FixtureRequest) -> list[Tenant]:
    """The servers are on h1, the clients there, too, or all on another host. Connections of all tenants are tracked."""
    found = []
    for number in range(TENANTS):
        name = world.tenant(f"same{number}", track_all=True)
        network = world.network(name, "lan", *SUBNETS, private=True)
        found.append(Tenant(name, world.endpoint(network, request.param), world.endpoint(network, "h1")))
    world.settle()
    ends = {(*one.client.addresses, *one.server.addresses) for one in found}
    assert len(ends) == 1, f"all have the same addresses: {ends}"
    return found


@contextmanager
def answering(tenant: Tenant, version: int) -> Iterator[list[bytes]]:
    """A server that greets each client by its tenant's name, and hears one line of it; what it heard."""
    heard: list[bytes] = []
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    with netns.inside(tenant.server.netns):
        listener = socket.create_server((address(tenant.server, version), SERVER_PORT), family=family)
    listener.settimeout(PATIENCE)
    stopping = threading.Event()

    def serve() -> None:
        client, _ = listener.accept()
        client.settimeout(PATIENCE)
        with client:
            client.sendall(tenant.name.encode() + b"\n")
            while data := client.recv(100):
                heard.append(data)
                client.sendall(data)
        stopping.set()

    thread = threading.Thread(target=serve, daemon=True)
    with listener:
        thread.start()
        yield heard
        thread.join(PATIENCE)
    assert stopping.is_set()


def opened(tenant: Tenant, version: int) -> socket.socket:
    """From the same port as everybody's."""
    with netns.inside(tenant.client.netns):
        client = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.settimeout(PATIENCE)
    client.bind((address(tenant.client, version), CLIENT_PORT))
    client.connect((address(tenant.server, version), SERVER_PORT))
    return client


def zones(lab: Lab, host: str, ends: tuple[str, str]) -> list[int]:
    """Of the established connections of this 5-tuple that the host's switch tracks."""
    at = lab.host(host)
    command = "ovs-appctl", "-t", "ovs-vswitchd", "dpctl/dump-conntrack"
    said = netns.run(*command, env=environment(at.folder, settings(at)))
    its = f"orig=(src={ends[0]},dst={ends[1]},sport={CLIENT_PORT},dport={SERVER_PORT})"
    lines = [line for line in said.splitlines() if its in line and "state=ESTABLISHED" in line]
    return sorted(int(found[1]) for line in lines if (found := re.search(r"zone=(\d+)", line)))


@pytest.mark.parametrize("version", [4, 6])
def test_the_same_connection_of_many_tenants_at_once_is_one_of_each(
    lab: Lab, world: World, tenants: list[Tenant], version: int
) -> None:
    numbers = {one.name: world.rest.get(f"/tenants/{one.name}").body["id"] for one in tenants}
    with ExitStack() as stack:
        heard = {one.name: stack.enter_context(answering(one, version)) for one in tenants}
        clients = {one.name: stack.enter_context(opened(one, version)) for one in tenants}
        assert len({client.getsockname()[:2] for client in clients.values()}) == 1
        assert len({client.getpeername()[:2] for client in clients.values()}) == 1
        for name, client in clients.items():
            assert client.recv(100) == name.encode() + b"\n", "its own server"
        ends = address(tenants[0].client, version), address(tenants[0].server, version)
        for host in {"h1", tenants[0].client.host}:
            assert zones(lab, host, ends) == sorted(numbers.values()), "one in the zone of each tenant"
        for name, client in reversed(clients.items()):
            client.sendall(f"{name} again".encode())
        for name, client in clients.items():
            assert client.recv(100) == f"{name} again".encode()
            client.shutdown(socket.SHUT_WR)
            assert client.recv(100) == b""
    assert heard == {name: [f"{name} again".encode()] for name in numbers}, "nobody else's"
