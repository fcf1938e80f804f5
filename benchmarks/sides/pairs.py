"""Two endpoints that speak with each other over a transport without Warren: by Open vSwitch, or by the kernel alone.

Their hosts stand on the same underlay as a lab's, built by the lab; an Open vSwitch has the same data path and the same
veths that Warren's agent makes. Its bridge learns addresses (`NORMAL`) and does nothing else. The kernel's hosts have a
Linux bridge and a VXLAN interface, as Docker's overlay and Flannel make them, and every offload that a kernel has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_interface
from typing import NamedTuple

from lab import fabric, netns, ovs
from lab import host as hosts
from lab.lab import Lab
from lab.names import HostName, fabric_netns
from lab.process import environment
from ovs_agent.document import Endpoint
from ovs_agent.netlink import veth

BRIDGE = "plain0"
VNI, TAG = 77, 77
TUNNELS = ("vxlan", "geneve", "gre")


class Pair(NamedTuple):
    """The namespaces of who asks and of who answers at `address`; `switches` are the processes that carry packets."""

    client: str
    server: str
    address: str
    switches: Sequence[int]


def switch_pids(*machines: HostName) -> list[int]:
    found = [ovs.daemons(one)[1].process for one in dict.fromkeys(machines)]
    return [process.pid for process in found if process]


Machines = tuple[HostName, HostName]


@contextmanager
def plain(machines: Machines, transport: str, mtu: int, idle: bool = False) -> Iterator[Pair]:
    """With `local` both endpoints are on the first machine. `idle`: each bridge has the other two interfaces that
    Warren's has, a veth (the resolver's) and one of its own (the gateway's). A switch in user space asks every
    interface for packets whenever one comes in by any."""
    near, far = (machines[0], machines[0]) if transport == "local" else machines
    for one, other in ((near, far), (far, near))[: 1 if near is far else 2]:
        _vsctl(one, "add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev")
        if transport in TUNNELS:
            _vsctl(one, "add-port", BRIDGE, "tun", "--", *_tunnel(transport, other))
        elif near is not far:
            for at, name, peer in ((BRIDGE, "up", "down"), (ovs.BRIDGE, "down", "up")):
                patch = ("--", "set", "interface", name, "type=patch", f"options:peer={peer}")
                _vsctl(one, "add-port", at, name, *patch)
        if idle:
            _add_idle(one)
    ends = [
        (near, "client", f"198.19.{near.n}.1/24"),
        (far, "server", f"198.19.{near.n}.2/24"),
    ]  # pairs share a segment
    spaces = [f"{host.netns}.{name}" for host, name, _ in ends]
    try:
        for space, (host, name, address) in zip(spaces, ends, strict=True):
            netns.create(space)
            _join(host, name, space, address, mtu)
            tag = [f"tag={TAG}"] if transport == "vlan" else []
            _vsctl(host, "add-port", BRIDGE, name, *tag)
        yield Pair(*spaces, str(ip_interface(ends[1][2]).ip), switch_pids(near, far))
    finally:
        for one in {near, far}:
            _vsctl(one, "--if-exists", "del-br", BRIDGE, "--", "--if-exists", "del-port", ovs.BRIDGE, "down")
            if "idle" in fabric.links(one.netns):
                netns.batch(one.netns, ["link del idle"])
        for space in spaces:
            netns.delete(space)


def _add_idle(host: HostName) -> None:
    netns.batch(host.netns, ["link add idle type veth peer name idle-end", "link set idle up", "link set idle-end up"])
    own = ("--", "set", "interface", "idle-own", "type=internal")
    _vsctl(host, "add-port", BRIDGE, "idle", "--", "add-port", BRIDGE, "idle-own", *own)
    netns.batch(host.netns, ["link set idle-own up"])


def _tunnel(transport: str, other: HostName) -> list[str]:
    return ["set", "interface", "tun", f"type={transport}", f"options:remote_ip={other.address}", f"options:key={VNI}"]


def _join(host: HostName, port: str, space: str, address: str, mtu: int) -> None:
    """By a veth as the agent makes it."""
    mac = "02:00:" + ip_interface(address).ip.packed.hex(":")
    inside = {"container_id": port, "ifname": "eth0", "netns": str(netns.path(space))}
    end = Endpoint(0, port, "plain", 0, port, mac, (address,), (), mtu, mtu, **inside)
    with netns.inside(host.netns):
        veth.make(end)
        veth.configure(end, checksum_offload=False)


def _vsctl(host: HostName, *arguments: str) -> None:
    env = environment(host.folder, ovs.settings(host))
    netns.run("ovs-vsctl", f"--db={host.ovsdb}", "--timeout=20", *arguments, env=env)


def machines(lab: Lab, first: int) -> Machines:
    """Two hosts more on the lab's underlay, with a switch and without an agent; they go with the lab."""
    one, two = HostName(lab.name, first), HostName(lab.name, first + 1)
    for machine in (one, two):
        hosts.machine(machine, lab.folder)
    return one, two


def kernel(lab: Lab, first: int) -> Pair:
    """Two hosts more without any switch; they go with the lab."""
    one, two = HostName(lab.name, first), HostName(lab.name, first + 1)
    spaces = []
    for here, there in ((one, two), (two, one)):
        space = f"{here.netns}.inside"
        spaces.append(space)
        for name in (here.netns, space):
            netns.create(name)
        cable = f"link add {here.name} type veth peer name {fabric.NIC} netns {here.netns}"
        netns.batch(fabric_netns(lab.name), [cable, f"link set {here.name} master {fabric.BRIDGE} up"])
        netns.batch(
            here.netns,
            [
                f"addr add {here.address}/24 dev {fabric.NIC}",
                f"link set {fabric.NIC} up",
                "link add br0 type bridge",
                f"link add tun type vxlan id {VNI} dstport 4789 local {here.address} remote {there.address}",
                f"link add port mtu 1450 type veth peer name eth0 mtu 1450 netns {space}",
                *(f"link set {device} master br0 up" for device in ("tun", "port")),
                "link set br0 up",
            ],
        )
        netns.batch(space, [f"addr add 198.19.0.{here.n}/24 dev eth0", "link set eth0 up"])
    return Pair(*spaces, f"198.19.0.{two.n}", ())
