"""Each transport with real packets: within a host and across, both families, routed and apart, and on the wire."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet

from lab import netns
from lab.lab import Lab
from lab.names import fabric_netns
from lab.state import Placed
from tests.lab.wire import Tap, tap
from tests.lab.world import World

TUNNELS = ("vxlan", "geneve", "gre")


class Site(NamedTuple):
    """A tenant with two networks that are routed and one that is isolated; `near` and `far` are on h1 and h2."""

    vni: int
    one: Placed
    near: Placed
    far: Placed
    routed_near: Placed
    routed_far: Placed
    apart_near: Placed
    apart_far: Placed


def site(world: World, transport: str, second: str) -> Site:
    """The first network is carried by `transport`, the others by `second`."""
    tenant = world.tenant(transport)

    def network(name: str, third: int, carried_by: str, **more: Any) -> str:
        subnets = [f"10.61.{third}.0/24", f"fd00:61:{third}::/64"]
        body = {"name": f"{tenant}/{name}", "subnets": subnets, "transport": carried_by, **more}
        return str(world.rest.post("/networks", body).body["name"])

    front = network("front", 1, transport)
    back = network("back", 2, second)
    apart = network("apart", 3, second, isolated=True)
    far = "h1" if transport == "local" else "h2"
    far_second = "h1" if second == "local" else "h2"
    placed = [world.endpoint(front, "h1"), world.endpoint(front, "h1"), world.endpoint(front, far)]
    placed += [world.endpoint(back, "h1"), world.endpoint(back, far_second)]
    placed += [world.endpoint(apart, "h1"), world.endpoint(apart, far_second)]
    world.settle()
    return Site(world.rest.get(f"/networks/{front}").body["vni"], *placed)


def reaches(source: Placed, destination: Placed) -> dict[int, bool]:
    """By ICMP, in both families, one of three: a bridge that gets its first port of a tunnel may lose a packet."""
    found = {}
    for address in (text.partition("/")[0] for text in destination.addresses):
        with netns.inside(source.netns):
            asked = subprocess.run(["ping", "-c3", "-i0.1", "-W1", address], capture_output=True)
        found[6 if ":" in address else 4] = asked.returncode == 0
    return found


BOTH, NEITHER = {4: True, 6: True}, {4: False, 6: False}


@pytest.mark.parametrize(("transport", "second"), [("vxlan", "geneve"), ("geneve", "gre"), ("gre", "vxlan")])
def test_packets_pass_within_a_host_and_across_and_where_networks_are_routed(
    world: World, transport: str, second: str
) -> None:
    its = site(world, transport, second)
    for destination in (its.near, its.far, its.routed_near, its.routed_far):
        assert reaches(its.one, destination) == BOTH, f"{transport} to {destination.name}"
        assert reaches(destination, its.one) == BOTH, f"{destination.name} back by {second}"
    for destination in (its.apart_near, its.apart_far):
        assert reaches(its.one, destination) == NEITHER
        assert reaches(destination, its.one) == NEITHER
    assert reaches(its.apart_near, its.apart_far) == BOTH


def test_a_local_network_is_one_hosts(world: World) -> None:
    its = site(world, "local", "vxlan")
    assert reaches(its.one, its.near) == reaches(its.one, its.routed_near) == BOTH
    assert reaches(its.one, its.routed_far) == NEITHER, "nothing of it leaves the host"
    assert reaches(its.routed_far, its.one) == NEITHER


def outer(nic: Tap, its: Site) -> Packet:
    """The frame that carries a packet from `one` to `far`, as the underlay sees it."""
    ends = [socket.inet_aton(end.addresses[0].partition("/")[0]) for end in (its.one, its.far)]
    reaches(its.one, its.far)
    return Ether(nic.heard(lambda frame: all(end in frame for end in ends))[-1])


@pytest.mark.parametrize("transport", TUNNELS)
def test_the_wire_shows_the_tunnel_and_the_vni(lab: Lab, world: World, transport: str) -> None:
    its = site(world, transport, "vxlan")
    with tap(lab.host("h2").netns, "eth0") as nic:
        frame = outer(nic, its)
    assert (frame[IP].src, frame[IP].dst) == ("198.18.0.11", "198.18.0.12")
    assert seen(frame, transport) == its.vni


def seen(frame: Packet, transport: str) -> int:
    """The VNI of a tunnelled frame."""
    match transport:
        case "vxlan":
            assert frame[UDP].dport == 4789
            return int(frame[VXLAN].vni)
        case "geneve":
            assert frame[UDP].dport == 6081
            return int.from_bytes(bytes(frame[UDP].payload)[4:7], "big")  # RFC 8926 section 3.4
        case _:
            assert frame[GRE].key_present
            return int(frame[GRE].key)


@pytest.fixture
def ipv6_underlay(lab: Lab, world: World) -> Iterator[None]:
    """All hosts' tunnels end at their IPv6 addresses."""
    for host in lab.hosts:
        world.rest.patch(f"/hosts/{host.name}", {"address": host.address6})
    world.settle()
    yield
    for host in lab.hosts:
        world.rest.patch(f"/hosts/{host.name}", {"address": host.address})
    world.settle()


@pytest.mark.parametrize("transport", TUNNELS)
def test_tunnels_run_over_ipv6(lab: Lab, ipv6_underlay: None, world: World, transport: str) -> None:
    its = site(world, transport, "vxlan")
    assert reaches(its.one, its.far) == reaches(its.far, its.one) == BOTH
    assert reaches(its.one, its.apart_far) == NEITHER
    with tap(lab.host("h2").netns, "eth0") as nic:
        frame = outer(nic, its)
    assert frame[IPv6].dst == lab.host("h2").address6
    assert bool(frame.haslayer(UDP)) == (transport != "gre")


def test_a_network_changes_its_transport_while_it_is_used(lab: Lab, world: World) -> None:
    its = site(world, "vxlan", "vxlan")
    name = its.one.network
    with tap(fabric_netns(lab.name), "underlay"), tap(lab.host("h2").netns, "eth0") as nic:
        for transport in ("geneve", "gre", "vxlan"):
            with netns.inside(its.one.netns):
                far = its.far.addresses[0].partition("/")[0]
                stream = subprocess.Popen(
                    ["ping", "-i", "0.01", "-c", "300", far],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            try:
                changed = world.rest.patch(f"/networks/{name}", {"transport": transport}).body
                assert changed["transport"] == transport
                world.settle()
                said, _ = stream.communicate(timeout=60)
            finally:
                stream.kill()
            received = int(said.partition(" received")[0].rpartition(" ")[2])
            print(f"to {transport}: {300 - received} of 300 lost, 10 ms apart")
            assert received > 200, f"a short interruption at most: {said[-200:]}"
            list(nic.waiting())
            assert seen(outer(nic, its), transport) == its.vni
    assert world.rest.get(f"/networks/{name}").body["transport"] == "vxlan"
