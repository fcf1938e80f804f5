"""Interfaces as the kernel has them, and what making them leaves behind: nothing."""

from __future__ import annotations

import errno
import gc
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from ovs_agent.document import Endpoint
from ovs_agent.netlink import look, mtu, veth
from ovs_agent.netlink.announce import announce, frames
from ovs_agent.netlink.wire import KernelRefusal, NoNamespace
from ovs_agent.netlink.wire import inside as work_inside
from ovs_agent.plan import Link
from tests.agent.site import NETNS, PREFIX, inside, make_netns, remove_netns, run, sweep, until


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """An endpoint to make, its container's namespace, and a host's namespace in which the test runs."""
    sweep()
    names = host, container = tuple(make_netns(f"{PREFIX}{os.getpid()}-{name}") for name in ("nl-host", "nl-box"))
    with inside(host):
        yield Endpoint(
            id=1,
            name="acme/web1",
            network="acme/web",
            ofport=101,
            port_name="wrn1",
            mac="02:00:0a:14:00:09",
            addresses=("10.20.0.9/24", "fd00:20::9/64"),
            gateways=("10.20.0.1", "fd00:20::1"),
            mtu=1400,
            route_mtu=1400,
            container_id="c1",
            ifname="eth0",
            netns=str(NETNS / container),
        )
    remove_netns(*names)


def pairs() -> dict[str, Link]:
    """The host's ends of our own pairs."""
    return {name: link for name, link in look.links().items() if link.made}


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_pair_is_made_complete_and_removed_whole(endpoint: Endpoint) -> None:
    assert not look.exists(endpoint.netns, "eth0")
    mac = veth.make(endpoint)
    assert mac in run("ip", "link", "show", "dev", "wrn1")
    assert veth.configure(endpoint, checksum_offload=True) == endpoint.gateways
    assert look.complaints(endpoint, endpoint.gateways) == []
    assert pairs() == {"wrn1": Link(True, endpoint.mtu, True)}
    assert veth.delete("wrn1") and not veth.delete("wrn1")
    assert pairs() == {} and not look.exists(endpoint.netns, "eth0")


def test_a_gateway_outside_the_subnet_is_reached_all_the_same(endpoint: Endpoint) -> None:
    lone = endpoint._replace(addresses=("10.20.0.9/32",), gateways=("10.20.0.1",))
    veth.make(lone)
    assert veth.configure(lone, checksum_offload=True) == ("10.20.0.1",)
    assert look.complaints(lone, lone.gateways) == []


def test_a_name_that_is_taken_on_either_side_is_said_to_be(endpoint: Endpoint) -> None:
    veth.make(endpoint)
    for again in (endpoint, endpoint._replace(port_name="wrn2"), endpoint._replace(ifname="eth1")):
        with pytest.raises(veth.InterfaceExists, match=again.ifname):
            veth.make(again)
    assert pairs() == {"wrn1": Link(True, endpoint.mtu, True)}


def test_links_of_our_making_are_told_from_others(endpoint: Endpoint) -> None:
    run("ip", "link", "add", "foreign0", "mtu", "1300", "type", "veth", "peer", "name", "foreign1")
    veth.make(endpoint)
    assert set(pairs()) == {"wrn1"}
    assert look.links()["foreign0"] == Link(False, 1300, False)


def routes(endpoint: Endpoint, family: str = "-4") -> str:
    return run("ip", "-n", Path(endpoint.netns).name, family, "route")


def test_only_what_is_asked_for_is_routed(endpoint: Endpoint) -> None:
    veth.make(endpoint)
    asked = veth.Routing((("10.30.0.0/16", None), ("10.31.0.0/16", "10.20.0.77"), ("fd00:30::/48", None)), False)
    assert veth.configure(endpoint, checksum_offload=True, routing=asked) == ()
    assert "default" not in routes(endpoint) + routes(endpoint, "-6")
    assert "10.30.0.0/16 via 10.20.0.1 dev eth0" in routes(endpoint)
    assert "10.31.0.0/16 via 10.20.0.77 dev eth0" in routes(endpoint)
    assert "fd00:30::/48 via fd00:20::1 dev eth0" in routes(endpoint, "-6")


def test_a_route_of_a_family_without_gateway_is_refused(endpoint: Endpoint) -> None:
    old = endpoint._replace(addresses=("10.20.0.9/24",), gateways=("10.20.0.1",))
    veth.make(old)
    with pytest.raises(veth.NoGateway, match="acme/web has no IPv6 gateway; give fd00:30::/48 one of its own"):
        veth.configure(old, checksum_offload=True, routing=veth.Routing((("fd00:30::/48", None),)))


def test_a_gateway_that_nobody_answers_for_is_refused(endpoint: Endpoint) -> None:
    veth.make(endpoint)
    for cidr, gateway in (("10.1.0.0/16", "192.168.1.1"), ("fd00:31::/48", "fd00:99::1")):
        with pytest.raises(veth.NoGateway, match=f"Gateway {gateway} is not reached from .* leave it out"):
            veth.configure(endpoint, checksum_offload=True, routing=veth.Routing(((cidr, gateway),)))
    near = veth.Routing((("fd00:31::/48", "fe80::7"),))
    veth.configure(endpoint, checksum_offload=True, routing=near)
    assert "fd00:31::/48 via fe80::7 dev eth0" in routes(endpoint, "-6")


def test_default_routes_have_the_mtu_that_is_said(endpoint: Endpoint) -> None:
    veth.make(endpoint)
    veth.configure(endpoint._replace(route_mtu=1340), checksum_offload=True)
    for family in ("-4", "-6"):
        assert [line for line in routes(endpoint, family).splitlines() if "default" in line and "mtu 1340" in line]


def test_the_mtu_changes_on_both_ends_and_nothing_else_does(endpoint: Endpoint) -> None:
    veth.make(endpoint)
    veth.configure(endpoint, checksum_offload=True)
    space, before = Path(endpoint.netns).name, [routes(endpoint), routes(endpoint, "-6")]
    address = run("ip", "-n", space, "-o", "address")
    mtu.give(endpoint._replace(mtu=1350, route_mtu=1350))
    assert pairs()["wrn1"].mtu == 1350 and "mtu 1350" in run("ip", "-n", space, "link", "show", "dev", "eth0")
    assert (address, before) == (run("ip", "-n", space, "-o", "address"), [routes(endpoint), routes(endpoint, "-6")])
    assert look.complaints(endpoint, endpoint.gateways) == []


def test_routes_through_the_gateway_follow_their_mtu_and_no_others(endpoint: Endpoint) -> None:
    """Also of an interface that whoever runs the container calls otherwise."""
    inner = endpoint._replace(ifname="net1", route_mtu=1340)
    veth.make(inner)
    more = veth.Routing((("10.30.0.0/16", None), ("10.31.0.0/16", "10.20.0.77"), ("fd00:30::/48", None)))
    veth.configure(inner, checksum_offload=True, routing=more)

    def said() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for line in (*routes(endpoint).splitlines(), *routes(endpoint, "-6").splitlines()):
            if " via " in line:
                found.setdefault(line.partition(" mtu ")[2].partition(" ")[0], []).append(line.split()[0])
        return {size: sorted(names) for size, names in found.items()}

    ours = ["10.30.0.0/16", "default", "default", "fd00:30::/48"]
    assert said() == {"1340": ours, "": ["10.31.0.0/16"]}
    mtu.give(endpoint._replace(mtu=1380, route_mtu=1320))
    assert said() == {"1320": ours, "": ["10.31.0.0/16"]}
    mtu.give(endpoint._replace(mtu=1380, route_mtu=1380))
    assert said() == {"": sorted([*ours, "10.31.0.0/16"])}
    mtu.give(endpoint._replace(mtu=1400, route_mtu=1350))
    assert said() == {"1350": ours, "": ["10.31.0.0/16"]}


def test_a_container_that_its_runtime_equips_is_found_by_a_process_of_its(endpoint: Endpoint) -> None:
    veth.make(endpoint)
    nameless = endpoint._replace(netns="", mtu=1380)
    with pytest.raises(NoNamespace):
        mtu.give(nameless)
    with subprocess.Popen(["ip", "netns", "exec", Path(endpoint.netns).name, "sleep", "600"]) as process:
        try:
            until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n", "process in the container")
            mtu.give(nameless)
        finally:
            process.kill()
    assert pairs()["wrn1"].mtu == 1380
    assert "mtu 1380" in run("ip", "-n", Path(endpoint.netns).name, "link", "show", "dev", "eth0")


def test_what_is_announced_is_what_others_understand(endpoint: Endpoint) -> None:
    arp, advertisement = (Ether(frame) for frame in frames(endpoint))
    assert (arp.dst, arp.src, arp[ARP].op) == ("ff:ff:ff:ff:ff:ff", endpoint.mac, 1)
    assert arp[ARP].psrc == arp[ARP].pdst == "10.20.0.9" and arp[ARP].hwsrc == endpoint.mac
    assert (advertisement.dst, advertisement[IPv6].dst, advertisement[IPv6].hlim) == (
        "33:33:00:00:00:01",
        "ff02::1",
        255,
    )
    told = advertisement[ICMPv6ND_NA]
    assert (told.tgt, told.R, told.S, told.O) == ("fd00:20::9", 0, 0, 1)
    assert told[ICMPv6NDOptDstLLAddr].lladdr == endpoint.mac
    sum_as_sent, told.cksum = told.cksum, None
    assert Ether(bytes(advertisement))[ICMPv6ND_NA].cksum == sum_as_sent


def test_an_announcement_leaves_by_the_containers_interface(endpoint: Endpoint) -> None:
    veth.make(endpoint)
    veth.configure(endpoint, checksum_offload=True)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as ear:
        ear.bind(("wrn1", 0))
        ear.settimeout(60)
        announce(endpoint)
        heard: set[bytes] = set()
        while not heard.issuperset(frames(endpoint)):
            heard.add(ear.recv(2048))


def test_what_may_become_a_port_is_looked_at(endpoint: Endpoint) -> None:
    run("ip", "link", "add", "own0", "address", "06:00:00:00:00:05", "type", "veth", "peer", "name", "own1")
    run("ip", "tuntap", "add", "tap0", "mode", "tap")
    run("ip", "address", "add", "198.18.9.1/24", "dev", "own0")
    own, tap = look.own("own0"), look.own("tap0")
    assert own is not None and tap is not None
    assert own._replace(up=False) == look.Own(False, "06:00:00:00:00:05", False, "veth", False, ("198.18.9.1/24",))
    assert (tap.kind, tap.bridged, tap.addresses) == ("tun", False, ())
    assert look.own("none0") is None


def test_what_the_kernel_refuses_is_said_in_its_words(endpoint: Endpoint) -> None:
    veth.make(endpoint)
    with pytest.raises(KernelRefusal, match="give it address") as refused:
        veth.configure(endpoint._replace(addresses=("10.20.0.9/24", "10.20.0.9/24")), checksum_offload=True)
    assert refused.value.errno == errno.EEXIST


@pytest.mark.parametrize(("path", "missing"), [("/run/netns/not-there", True), ("/etc/passwd", False), ("/tmp", False)])
def test_what_is_no_namespace_is_named(path: str, missing: bool) -> None:
    with pytest.raises(NoNamespace, match=path) as refused:
        look.exists(path, "eth0")
    assert refused.value.missing == missing


def test_work_inside_happens_there_and_nowhere_else(endpoint: Endpoint) -> None:
    def where() -> int:
        return Path("/proc/thread-self/ns/net").stat().st_ino

    home = where()
    assert work_inside(endpoint.netns, where) == Path(endpoint.netns).stat().st_ino != home
    with pytest.raises(ZeroDivisionError):
        work_inside(endpoint.netns, lambda: 1 // 0)
    assert where() == home


def test_a_host_end_that_is_as_it_should_be_is_left_alone(endpoint: Endpoint) -> None:
    """Whoever watches interfaces and sets them up after each change would otherwise never come to rest."""
    veth.make(endpoint)

    def at_rest() -> bool:
        """Nothing is told of a change, also not of what was changed before: the kernel says some of it later."""
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as channel:
            channel.bind((0, look.RTMGRP_LINK))
            veth.host_end(endpoint.ifname, ("198.18.77.1/32",))
            try:
                channel.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return True
        return False

    work_inside(endpoint.netns, lambda: until(at_rest, "nothing is changed any more"))


def test_a_hundred_pairs_leave_no_descriptor_and_no_thread(endpoint: Endpoint) -> None:
    gc.collect()  # what earlier tests left is closed now, and not meanwhile
    before = descriptors(), threading.active_count()
    for _ in range(100):
        veth.make(endpoint)
        veth.configure(endpoint, checksum_offload=False)
        look.complaints(endpoint, endpoint.gateways)
        veth.delete("wrn1")
        with pytest.raises(NoNamespace):
            look.exists("/etc/passwd", "eth0")
    assert (descriptors(), threading.active_count()) == before


def test_changes_of_interfaces_are_told_at_once(endpoint: Endpoint) -> None:
    changed = threading.Event()
    watch = look.Watch(changed.set)
    watch.start()
    try:
        veth.make(endpoint)
        assert changed.wait(60)
        for change in (("set", "wrn1", "down"), ("set", "wrn1", "up"), ("del", "wrn1")):
            changed.clear()
            run("ip", "link", *change)
            assert changed.wait(60), change
    finally:
        watch.stop()
