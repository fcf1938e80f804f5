"""Each transport with real packets: within a host and across, both families, routed and apart, and on the wire."""

from __future__ import annotations

import itertools
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet

from client import change
from lab import netns
from lab.lab import Lab
from lab.names import fabric_netns
from lab.state import Placed
from tests.lab.wire import Tap, tap
from tests.lab.world import World

TUNNELS = ("vxlan", "geneve", "gre")
CARRIERS = (*TUNNELS, "host-gw")
BASE = "tun", "gw", "dns"
"""Ports that a bridge has whatever networks there are."""


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


def reaches(source: Placed, destination: Placed, seconds: int = 20) -> dict[int, bool]:
    """By ICMP, in both families, one of three: a bridge that gets its first port of a tunnel may lose a packet."""
    found = {}
    for address in (text.partition("/")[0] for text in destination.addresses):
        with netns.inside(source.netns):
            asked = subprocess.run(["ping", "-c3", "-i0.1", f"-W{seconds}", address], capture_output=True)
        found[6 if ":" in address else 4] = asked.returncode == 0
    return found


BOTH, NEITHER = {4: True, 6: True}, {4: False, 6: False}


@pytest.mark.parametrize(("transport", "second"), list(itertools.pairwise((*CARRIERS, "vxlan"))))
def test_packets_pass_within_a_host_and_across_and_where_networks_are_routed(
    world: World, transport: str, second: str
) -> None:
    its = site(world, transport, second)
    for destination in (its.near, its.far, its.routed_near, its.routed_far):
        assert reaches(its.one, destination) == BOTH, f"{transport} to {destination.name}"
        assert reaches(destination, its.one) == BOTH, f"{destination.name} back by {second}"
    for destination in (its.apart_near, its.apart_far):
        assert reaches(its.one, destination, 1) == NEITHER
        assert reaches(destination, its.one, 1) == NEITHER
    assert reaches(its.apart_near, its.apart_far) == BOTH


def test_a_local_network_is_one_hosts(world: World) -> None:
    its = site(world, "local", "vxlan")
    assert reaches(its.one, its.near) == reaches(its.one, its.routed_near) == BOTH
    assert reaches(its.one, its.routed_far, 1) == NEITHER, "nothing of it leaves the host"
    assert reaches(its.routed_far, its.one, 1) == NEITHER


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


def test_the_wire_shows_packets_of_host_gw_as_they_are(lab: Lab, world: World) -> None:
    its = site(world, "host-gw", "vxlan")
    with tap(lab.host("h2").netns, "eth0") as nic:
        frame = outer(nic, its)
    assert frame.dst.startswith("02:77:67:") and frame.src.startswith("02:77:67:")
    assert frame[IP].src == its.one.addresses[0].partition("/")[0], "no header around it"
    assert not frame.haslayer(UDP)


def mtu(placed: Placed) -> int:
    with netns.inside(placed.netns):
        said = subprocess.run(["ip", "-o", "link", "show", "eth0"], check=True, capture_output=True, text=True).stdout
    return int(said.partition(" mtu ")[2].split()[0])


@pytest.mark.parametrize("transport", ["vxlan", "geneve", "gre", "host-gw"])
def test_packets_as_large_as_the_interface_allows_pass(world: World, transport: str) -> None:
    its = site(world, transport, "vxlan")
    size = mtu(its.one)
    assert size == {"vxlan": 1450, "geneve": 1450, "gre": 1458, "host-gw": 1500}[transport]
    ping = ["ping", "-c3", "-i0.1", "-W20", "-M", "do", "-s", str(size - 28)]
    for asking, asked in ((its.one, its.far), (its.far, its.one)):
        with netns.inside(asking.netns):
            subprocess.run([*ping, asked.addresses[0].partition("/")[0]], check=True, capture_output=True)


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
    assert reaches(its.one, its.apart_far, 1) == NEITHER
    with tap(lab.host("h2").netns, "eth0") as nic:
        frame = outer(nic, its)
    assert frame[IPv6].dst == lab.host("h2").address6
    assert bool(frame.haslayer(UDP)) == (transport != "gre")


def test_tunnels_and_patches_come_before_a_revision_is_applied_and_go_when_nobody_needs_them(
    lab: Lab, world: World
) -> None:
    def ports(host: str, bridge: str) -> set[str]:
        said = netns.run("ovs-vsctl", f"--db={lab.host(host).ovsdb}", "list-ports", bridge)
        own = (port for port in said.split() if port.startswith(("warren0-", "phy-")))
        return set(own) - {f"warren0-{name}" for name in BASE}

    def gone() -> bool:
        return not any(ports(host.name, bridge) for host in lab.hosts for bridge in ("warren0", "br-phy"))

    def strays() -> list[str]:
        return [one["sentence"] for one in world.rest.get("/ipam/check").body["items"] if "port warren0" in str(one)]

    tenant = world.tenant("brief")
    network = world.network(tenant, "front", "10.61.8.0/24", transport="gre")
    for transport, needed in (("gre", "warren0-gre"), ("geneve", "warren0-gnv"), ("host-gw", "warren0-phy-underlay")):
        changed = world.rest.patch(f"/networks/{network}", {"transport": transport}).body
        change.wait(world.rest, changed["revision"], 60)
        assert all(needed in ports(host.name, "warren0") for host in lab.hosts), "at once"
        assert strays() == []
    assert all("phy-underlay-warren0" in ports(host.name, "br-phy") for host in lab.hosts)
    world.rest.delete(f"/networks/{network}")
    until(gone)
    assert strays() == []


def test_a_network_changes_its_transport_while_it_is_used(lab: Lab, world: World) -> None:
    its = site(world, "vxlan", "vxlan")
    name = its.one.network
    with tap(fabric_netns(lab.name), "underlay"), tap(lab.host("h2").netns, "eth0") as nic:
        for transport in ("geneve", "gre", "vxlan"):
            with netns.inside(its.one.netns):
                far = its.far.addresses[0].partition("/")[0]
                stream = subprocess.Popen(
                    ["ping", "-i", "0.02", "-c", "300", far],
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
            print(f"to {transport}: {300 - received} of 300 lost, 20 ms apart")
            assert received > 200, f"a short interruption at most: {said[-200:]}"
            list(nic.waiting())
            assert seen(outer(nic, its), transport) == its.vni
    assert world.rest.get(f"/networks/{name}").body["transport"] == "vxlan"


def problems(world: World, host: str) -> list[str]:
    return list(world.rest.get(f"/hosts/{host}").body["agent"]["problems"])


def test_a_smaller_underlay_is_noticed_and_networks_follow(lab: Lab, world: World) -> None:
    """Also in containers that run: their interfaces, and routes that take less."""
    network = world.network(world.tenant("red"), "front", "10.61.9.0/24", "fd00:61:9::/64", transport="host-gw")
    running = world.endpoint(network, "h1")
    nic = lab.host("h2").netns

    def underlay(size: int) -> None:
        for device in ("eth0", "br-phy"):
            netns.run("ip", "-n", nic, "link", "set", device, "mtu", str(size))

    def known(size: int) -> bool:
        return bool(world.rest.get(f"/networks/{network}").body["mtu"] == size)

    def given(size: int) -> bool:
        said = (netns.run("ip", "-n", running.netns, family, "route") for family in ("-4", "-6"))
        leaving = [line for text in said for line in text.splitlines() if line.startswith("default")]
        return mtu(running) == size and len(leaving) == 2 and all(f" mtu {size - 50}" in line for line in leaving)

    assert given(1500)
    try:
        underlay(1400)
        until(lambda: known(1400) and given(1400))
    finally:
        underlay(1500)
    until(lambda: known(1500) and given(1500))


def test_a_black_hole_on_the_way_is_reported_and_its_end_too(lab: Lab, world: World) -> None:
    """The fabric's end of h2's cable takes no large packets; both ends of the path see their own MTU."""
    fabric = fabric_netns(lab.name)
    try:
        netns.run("ip", "-n", fabric, "link", "set", "h2", "mtu", "1400")
        lab.restart("agent:h1", kill=False)
        until(lambda: any("do not come to h2" in problem for problem in problems(world, "h1")))
    finally:
        netns.run("ip", "-n", fabric, "link", "set", "h2", "mtu", "1500")
        lab.restart("agent:h1", kill=False)
    until(lambda: not problems(world, "h1"))


def until(holds: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it has not come true"
        time.sleep(0.2)
