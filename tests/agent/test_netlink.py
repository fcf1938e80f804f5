"""Interfaces as the kernel has them, and what making them leaves behind: nothing."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ovs_agent.netlink import look, veth
from ovs_agent.netlink.wire import KernelRefusal, NoNamespace
from ovs_agent.netlink.wire import inside as work_inside
from ovs_agent.plan import Endpoint
from tests.agent.site import NETNS, PREFIX, inside, make_netns, remove_netns, run, sweep


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


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_a_pair_is_made_complete_and_removed_whole(endpoint: Endpoint) -> None:
    assert not look.exists(endpoint.netns, "eth0")
    mac = veth.make(endpoint)
    assert mac in run("ip", "link", "show", "dev", "wrn1")
    assert veth.configure(endpoint, checksum_offload=True) == endpoint.gateways
    assert look.complaints(endpoint, endpoint.gateways) == []
    assert look.links() == {"wrn1": True}
    assert veth.delete("wrn1") and not veth.delete("wrn1")
    assert look.links() == {} and not look.exists(endpoint.netns, "eth0")


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
    assert look.links() == {"wrn1": True}


def test_only_links_of_our_making_are_listed(endpoint: Endpoint) -> None:
    run("ip", "link", "add", "foreign0", "type", "veth", "peer", "name", "foreign1")
    veth.make(endpoint)
    assert set(look.links()) == {"wrn1"}


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


def test_a_hundred_pairs_leave_no_descriptor_and_no_thread(endpoint: Endpoint) -> None:
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
        assert changed.wait(1)
        for change in (("set", "wrn1", "down"), ("set", "wrn1", "up"), ("del", "wrn1")):
            changed.clear()
            run("ip", "link", *change)
            assert changed.wait(1), change
    finally:
        watch.stop()
