"""Ports that all hosts publish: by any host to one endpoint, which sees the client and answers by that host."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any

import pytest

from client.rest import Problem
from lab import netns
from lab.lab import Lab
from lab.state import Placed
from tests.lab.conftest import running
from tests.lab.internet import ROUTER, ROUTER6, Internet, Line, asked, asked_udp, internet, rules, serving
from tests.lab.rules import apply, policy
from tests.lab.test_endpoints import ByHand
from tests.lab.test_gateway import overlapping
from tests.lab.test_published import SERVED, publish, transit
from tests.lab.world import SECONDS, World
from tests.ovs import wait_for

HOSTS = "h1", "h2", "h3"


def mesh(world: World, placed: Placed, host_port: int, port: int = SERVED, **more: Any) -> dict[str, Any]:
    """Open on every host when this returns."""
    body = {"endpoint": f"{placed.tenant}/{placed.name}", "host_port": host_port, "port": port, "mesh": True, **more}
    made = dict(world.rest.post("/publications", body, params={"wait": SECONDS}, timeout=2 * SECONDS).body)
    assert made["live"]["state"] == "applied", made["live"]
    assert {one["host"] for one in made["live"]["hosts"]} == {host.name for host in world.lab.hosts}
    return made


def heard(lab: Lab, space: str, port: int, names: Sequence[str] = HOSTS, seconds: float = 20.0) -> list[str | None]:
    """By each of the hosts, over IPv4."""
    return [asked(space, lab.host(name).address, port, seconds) for name in names]


def test_by_every_host_with_the_clients_address_over_tcp_udp_and_ipv6(lab: Lab, world: World, there: Internet) -> None:
    one, other = overlapping(world, "h1", "h2")
    with serving(one.netns, SERVED), serving(other.netns, SERVED):
        mesh(world, one, 18080)
        made = mesh(world, one, 18080, protocol="udp")
        mesh(world, other, 18081)
        assert (made["mesh"], made["host"]) == (True, "h1")
        for name in HOSTS:
            host = lab.host(name)
            for port in (18080, 18081):
                assert asked(there.netns, host.address, port) == ROUTER, (name, port)
                assert asked(there.netns, host.address6, port) == ROUTER6, (name, port)
            assert asked_udp(there.netns, host.address, 18080) == ROUTER, name
            assert asked_udp(there.netns, host.address6, 18080) == ROUTER6, name
            assert asked(there.netns, host.address, 18082, seconds=0.5) is None
        world.rest.delete(f"/publications/{one.tenant}/{one.name}/{made['id']}")
        for host in lab.hosts:
            wait_for(lambda host=host: "udp . 18080" not in rules(host.netns), f"{host.name} to close")
        assert asked_udp(there.netns, lab.host("h2").address, 18080, seconds=1) is None
        assert heard(lab, there.netns, 18080) == [ROUTER] * 3, "the other one stays"
    world.remove(one)
    for host in lab.hosts:
        wait_for(lambda host=host: "tcp . 18080" not in rules(host.netns), f"{host.name} to close")
    assert heard(lab, there.netns, 18081, seconds=0.5) == [None] * 3, "nobody serves there any more"


def test_one_port_of_a_client_to_all_hosts_at_once_are_as_many_connections(
    lab: Lab, world: World, there: Internet
) -> None:
    (one,) = overlapping(world, "h1")
    with serving(one.netns, SERVED), ExitStack() as stack:
        mesh(world, one, 18080)
        lines = [
            stack.enter_context(closing(Line(there.netns, address, 18080, source_port=45_000)))
            for name in HOSTS
            for address in (lab.host(name).address, lab.host(name).address6)
        ]
        for _ in range(3):
            assert [line.ask() for line in lines] == [ROUTER, ROUTER6] * 3


def test_hosts_and_endpoints_everywhere_reach_it_by_any_host(lab: Lab, world: World, there: Internet) -> None:
    network = world.network(world.tenant("t"), "web", "10.81.0.0/24", "fd00:aa81::/64")
    one, beside, far = (world.endpoint(network, name) for name in ("h1", "h1", "h2"))
    with serving(one.netns, SERVED):
        mesh(world, one, 18080)
        h1, h2, h3 = (lab.host(name) for name in HOSTS)
        assert heard(lab, far.netns, 18080) == [h2.address, h2.address, h2.address], "with its host's address"
        assert heard(lab, beside.netns, 18080) == [transit(lab, beside), h1.address, h1.address]
        assert heard(lab, one.netns, 18080) == [transit(lab, one), h1.address, h1.address], "itself"
        assert heard(lab, h3.netns, 18080) == [h3.address, h3.address, "240.119.0.1"], "hosts themselves"
        assert asked(h3.netns, "127.0.0.1", 18080) == asked(h1.netns, "127.0.0.1", 18080) == "240.119.0.1"
        assert asked(far.netns, h2.address6, 18080) == h2.address6
        assert asked(h3.netns, h3.address6, 18080) == asked(h3.netns, "::1", 18080) == "fd77:6172:7265:6f75::1"


def test_policies_judge_the_client_whichever_host_it_came_by(lab: Lab, world: World, there: Internet) -> None:
    network = world.network(world.tenant("t"), "web", "10.82.0.0/24", "fd00:aa82::/64")
    one = world.endpoint(network, "h1")
    far = world.endpoint(network, "h2", labels={"app": "client"})
    with serving(one.netns, SERVED):
        mesh(world, one, 18080)
        h2, h3 = lab.host("h2"), lab.host("h3")
        with closing(Line(there.netns, h3.address, 18080)) as line:
            assert line.ask() == ROUTER
            apply(world, policy(one.tenant, ingress=[{"from": [{"ipBlock": {"cidr": "203.0.113.0/24"}}]}]))
            assert line.falls_silent(), "of an open connection, too"
        assert heard(lab, there.netns, 18080, seconds=0.7) == [None] * 3
        block = {"from": [{"ipBlock": {"cidr": f"{ROUTER}/32"}}], "ports": [{"port": SERVED}]}
        apply(world, policy(one.tenant, ingress=[block]))
        assert heard(lab, there.netns, 18080) == [ROUTER] * 3, "by the endpoint's own port"
        assert asked(h3.netns, h3.address, 18080, seconds=0.7) is None
        apply(world, policy(one.tenant, ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}]))
        assert asked(far.netns, h2.address, 18080, seconds=0.7) is None, "who goes out is known by its host's address"
        apply(world, policy(one.tenant, ingress=[{"from": [{"ipBlock": {"cidr": f"{h2.address}/32"}}]}]))
        assert asked(far.netns, h3.address, 18080) == h2.address


@pytest.mark.parametrize("transport", ["local", "host-gw", "geneve"])
def test_whatever_carries_the_network(lab: Lab, world: World, there: Internet, transport: str) -> None:
    network = world.network(world.tenant("t"), "web", "10.83.0.0/24", "fd00:aa83::/64", transport=transport)
    one = world.endpoint(network, "h2")
    with serving(one.netns, SERVED):
        mesh(world, one, 18080)
        assert heard(lab, there.netns, 18080) == [ROUTER] * 3


def test_large_answers_and_questions_come_whole(lab: Lab, world: World, there: Internet) -> None:
    (one,) = overlapping(world, "h1")
    size = 300_000
    with netns.inside(one.netns), closing(socket.create_server(("", SERVED))) as server:
        mesh(world, one, 18080)
        with netns.inside(there.netns):
            line = socket.create_connection((lab.host("h3").address, 18080), timeout=60)
        with closing(line), closing(server.accept()[0]) as end:
            for source, sink in ((line, end), (end, line)):
                source.settimeout(60), sink.settimeout(60)
                source.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * size)
                source.sendall(b"x" * size)
                left = size
                while left:
                    left -= len(sink.recv(65536))


@pytest.fixture
def hand(lab: Lab, world: World) -> Iterator[ByHand]:
    hand = ByHand(lab)
    yield hand
    hand.clear()


def test_it_follows_an_endpoint_that_moves(lab: Lab, world: World, hand: ByHand, there: Internet) -> None:
    (one,) = overlapping(world, "h1")
    mesh(world, one, 18080)
    mesh(world, one, 18080, protocol="udp")
    name = f"{one.tenant}/{one.name}"
    with serving(one.netns, SERVED):
        assert heard(lab, there.netns, 18080) == [ROUTER] * 3
    space = hand.space("h2", f"{one.name}-there")
    netns.run("ip", "-n", space, "link", "set", "lo", "up")
    world.rest.patch(f"/endpoints/{name}", {"move_to": "h2"})
    hand.attach("h2", space, "eth0", "--network", one.network, "--name", one.name, "--move")
    world.settle()
    here = "tcp . 18080 : 240.119."
    wait_for(lambda: here in rules(lab.host("h2").netns), "h2 to know that it is there")
    wait_for(lambda: here not in rules(lab.host("h1").netns), "h1 to know that it is gone")
    with serving(space, SERVED):
        assert heard(lab, there.netns, 18080) == [ROUTER] * 3
        assert [asked_udp(there.netns, lab.host(host).address, 18080) for host in HOSTS] == [ROUTER] * 3


def test_a_host_that_is_gone_takes_no_other_along(lab: Lab, world: World, there: Internet) -> None:
    (one,) = overlapping(world, "h1")
    with serving(one.netns, SERVED):
        mesh(world, one, 18080)
        with closing(Line(there.netns, lab.host("h3").address, 18080)) as line:
            assert line.ask() == ROUTER
            lab.set_cable("h2", False)
            try:
                assert heard(lab, there.netns, 18080, ["h2"], 3.0) == [None]
                assert heard(lab, there.netns, 18080, ["h1", "h3"]) == [ROUTER, ROUTER]
                assert line.ask() == ROUTER
            finally:
                lab.set_cable("h2", True)
        wait_for(lambda: heard(lab, there.netns, 18080, ["h2"], 1.0) == [ROUTER], "h2 to be back")


def test_it_outlives_agents_and_goes_on_without_controller(lab: Lab, world: World, there: Internet) -> None:
    (one,) = overlapping(world, "h1")
    with serving(one.netns, SERVED):
        mesh(world, one, 18080)
        with closing(Line(there.netns, lab.host("h2").address, 18080)) as line:
            assert line.ask() == ROUTER
            for part in ("agent:h1", "agent:h2"):
                lab.restart(part, kill=True)
                assert line.ask() == ROUTER
            controller = lab.part("controller")
            controller.stop(kill=True)
            try:
                assert line.ask() == ROUTER
                assert heard(lab, there.netns, 18080) == [ROUTER] * 3, "new connections, too"
            finally:
                controller.start()
            world.settle()
            assert line.ask() == ROUTER


def test_a_host_that_joins_opens_it() -> None:
    with running(1) as lab, internet(lab) as machine:
        world = World(lab)
        (one,) = overlapping(world, "h1")
        with serving(one.netns, SERVED):
            mesh(world, one, 18080)
            lab.up(2)
            joined = lab.host("h2")
            wait_for(lambda: "tcp . 18080" in rules(joined.netns), "the new host to open it")
            wait_for(lambda: asked(machine.netns, joined.address, 18080, seconds=1.0) == ROUTER, "the way to be there")


def test_a_port_of_all_hosts_is_nobody_elses_on_any(lab: Lab, world: World, there: Internet) -> None:
    one, other = overlapping(world, "h1", "h2")
    mesh(world, one, 18080)
    publish(world, other, 18090, SERVED)
    for placed, port, more, said in (
        (other, 18080, {}, f"Port tcp/18080 of every host is published for {one.tenant}/{one.name}"),
        (one, 18090, {"mesh": True}, f"Port tcp/18090 of host h2 is published for {other.tenant}/{other.name}"),
        (other, 18080, {"mesh": True}, "Port tcp/18080 of every host is published for"),
        (one, 18091, {"mesh": True, "host_ip": lab.host("h1").address}, "is an address of one host"),
    ):
        body = {"endpoint": f"{placed.tenant}/{placed.name}", "host_port": port, "port": SERVED, **more}
        with pytest.raises(Problem, match=said):
            world.rest.post("/publications", body)
    with serving(lab.host("h3").netns, 18099):
        listening = {"protocol": "tcp", "address": "0.0.0.0", "port": 18099}
        wait_for(lambda: listening in lab.rest.get("/hosts/h3").body["agent"]["listening"], "the report of it")
        with pytest.raises(Problem, match="Port tcp/18099 of host h3 is in use: a program of the host listens"):
            mesh(world, one, 18099)
