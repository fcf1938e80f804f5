"""host-gw where hosts are on two segments with a router between: refused, or a tunnel for those that are apart."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN

from client.rest import Problem
from lab import fabric, netns
from lab.lab import Lab
from lab.names import HostName, LabError, fabric_netns
from lab.ovs import settings
from lab.process import environment
from lab.state import Placed
from tests.lab.conftest import running
from tests.lab.test_tcp import measured
from tests.lab.test_transports import BOTH, mtu, reaches
from tests.lab.wire import Tap, tap
from tests.lab.world import World
from tests.ovs import wait_for

NEAR, FAR = "198.18.0.254", "198.18.1.254"
"""The router's addresses on both segments."""
HERE, THERE = "198.18.0.0/24", "198.18.1.0/24"
BEYOND, BEYOND_PREFIX = "198.18.1.13", 24
SUBNETS = "10.68.1.0/24", "fd00:68:1::/64"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A lab of its own: its switches, which know the routes that they were told, are not worth telling back."""
    with running() as lab:
        yield lab


@pytest.fixture(scope="module")
def router(lab: Lab) -> Iterator[str]:
    """h3 is on a segment of its own. The router's namespace, which is between."""
    space, router, h3 = fabric_netns(lab.name), f"{lab.name}-h98.router", lab.host("h3")
    netns.create(router)
    try:
        netns.batch(
            space,
            [
                "link add beyond type bridge mcast_snooping 0",
                "link set beyond addrgenmode none up",
                f"link add r-near type veth peer name near netns {router}",
                f"link add r-far type veth peer name far netns {router}",
                f"link set r-near master {fabric.BRIDGE} addrgenmode none up",
                "link set r-far master beyond addrgenmode none up",
                "link set h3 master beyond",
                f"route add {THERE} via {NEAR}",
            ],
        )
        netns.batch(
            router,
            [
                f"addr add {NEAR}/24 dev near",
                f"addr add {FAR}/24 dev far",
                "link set near up",
                "link set far up",
            ],
        )
        with netns.inside(space):
            for device in ("r-near", "r-far"):
                fabric.checksum_in_software(device)
        with netns.inside(router):
            for device in ("near", "far"):
                fabric.checksum_in_software(device)
        netns.run("ip", "netns", "exec", router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        for host in lab.hosts:
            if host.name != "h3":
                netns.batch(host.netns, [f"route add {THERE} via {NEAR} dev br-phy"])
                tell(host, "ovs/route/add", THERE, "br-phy", NEAR)
        netns.batch(
            h3.netns,
            [
                f"addr del {h3.address}/24 dev br-phy",
                f"addr add {BEYOND}/{BEYOND_PREFIX} dev br-phy",
                f"route add default via {FAR} dev br-phy",
            ],
        )
        tell(h3, "ovs/route/del", HERE)
        tell(h3, "ovs/route/add", THERE, "br-phy")
        tell(h3, "ovs/route/add", HERE, "br-phy", FAR)
        moved(lab, BEYOND)
        yield router
    finally:
        netns.delete(router)


def tell(host: HostName, *command: str) -> None:
    """The host's switch, which in a lab knows the routes that it is told, and not the kernel's."""
    at = environment(host.folder, settings(host))
    wait_for(lambda: not fails(["ovs-appctl", "-t", "ovs-vswitchd", *command], at), " ".join(command))


def fails(command: list[str], at: dict[str, str]) -> int:
    return subprocess.run(command, env=at, capture_output=True).returncode


def moved(lab: Lab, address: str) -> None:
    """h3 has another address. Its connections from the old one would take their time to end."""
    h3 = lab.host("h3")
    lab.rest.patch("/hosts/h3", {"address": address})
    netns.run("ovs-vsctl", f"--db={h3.ovsdb}", "set-controller", "warren0", "tcp:127.0.0.1:1")
    lab.restart("agent:h3")

    def there() -> bool:
        connected = netns.run("ovs-vsctl", f"--db={h3.ovsdb}", "--columns=is_connected", "list", "controller")
        host = lab.rest.get("/hosts/h3").body
        said = host["agent"].get("underlay") or {}
        known = host["address"] == address and said.get("bridged") and host["agent"]["revision"] >= host["revision"]
        return bool(connected.split() == ["is_connected", ":", "true"] and host["connected"] and known)

    wait_for(there, f"h3 at {address}", 120)


def test_a_host_on_another_segment_is_refused_with_both_names(lab: Lab, world: World, router: str) -> None:
    network = world.network(world.tenant("flat"), "front", *SUBNETS, transport="host-gw")
    one, other = world.endpoint(network, "h1"), world.endpoint(network, "h2")
    world.settle()
    assert reaches(one, other) == BOTH
    with pytest.raises(LabError, match="h1 and h3 are on different segments"):
        world.endpoint(network, "h3")
    tunnelled = world.network(world.tenant("apart"), "front", "10.68.2.0/24", transport="vxlan")
    world.endpoint(tunnelled, "h1"), world.endpoint(tunnelled, "h3")
    with pytest.raises(Problem, match="has endpoints on h1 and h3: h1 and h3 are on different segments"):
        world.rest.patch(f"/networks/{tunnelled}", {"transport": "host-gw"})
    assert world.rest.get(f"/networks/{tunnelled}").body["transport"] == "vxlan"


def test_with_cross_subnet_those_that_are_apart_have_a_tunnel_and_the_others_none(
    lab: Lab, world: World, router: str
) -> None:
    network = world.network(world.tenant("cross"), "front", *SUBNETS, transport="host-gw", cross_subnet=True)
    vni = world.rest.get(f"/networks/{network}").body["vni"]
    one, near, far = (world.endpoint(network, host) for host in ("h1", "h2", "h3"))
    world.settle()
    assert mtu(one) == mtu(far) == 1450, "what the tunnel leaves"
    with ExitStack() as stack:
        lines = {host: stack.enter_context(tap(lab.host(host).netns, "eth0")) for host in ("h2", "h3")}
        between = stack.enter_context(tap(router, "near"))
        wait_for(lambda: reaches(one, far) == BOTH, "MAC of the router, at both hosts")
        assert reaches(one, near) == reaches(far, one) == BOTH
        direct = carrying(lines["h2"], one, near)
        assert direct.src.startswith("02:77:67:") and UDP not in direct and direct[IP].dst == bare(near)
        for line in (lines["h3"], between):
            tunnelled = carrying(line, one, far)
            assert (tunnelled[IP].src, tunnelled[IP].dst) == (lab.host("h1").address, BEYOND)
            assert int(tunnelled[VXLAN].vni) == vni
    for version in (4, 6):
        assert measured(one, far, version).largest == (1450, 1450)
        assert measured(one, near, version).largest == (1450, 1450)


def bare(placed: Placed) -> str:
    return placed.addresses[0].partition("/")[0]


def carrying(line: Tap, one: Placed, other: Placed) -> Ether:
    """The frame that has a packet from `one` to `other`, in IPv4."""
    ends = socket.inet_aton(bare(one)) + socket.inet_aton(bare(other))
    return Ether(line.heard(lambda frame: ends in frame)[-1])
