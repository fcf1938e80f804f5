"""Broadcast and multicast with real packets: who hears them, what the underlay carries, and what policies keep."""

from __future__ import annotations

import ipaddress
import secrets
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN
from scapy.utils6 import in6_mactoifaceid

from lab import netns
from lab.lab import Lab
from lab.ovs import settings
from lab.process import environment
from lab.state import Placed
from tests.lab import caches, rules
from tests.lab.test_lossless import connected, resumed
from tests.lab.wire import Tap, tap
from tests.lab.world import World

PORT = 5007
SUBNETS = "10.71.0.0/24", "fd00:71::/64"
EVERYBODY, DIRECTED, GROUP, GROUP6 = "255.255.255.255", "10.71.0.255", "239.7.7.7", "ff05::7:7"
ALL = EVERYBODY, DIRECTED, GROUP, GROUP6
QUIET = 0.3
"""Seconds in which what ought not to come would have, once all that ought to has."""


class Site(NamedTuple):
    """Two tenants that use the same subnets: two endpoints of each on each host, h1's first."""

    networks: tuple[str, str]
    mine: list[Placed]
    others: list[Placed]


@pytest.fixture
def site(world: World) -> Site:
    def network(tenant: str) -> str:
        return world.network(world.tenant(tenant), "lan", *SUBNETS, private=True, broadcast=True)

    networks = network("one"), network("two")
    mine, others = ([world.endpoint(name, host) for host in ("h1", "h2", "h3") for _ in range(2)] for name in networks)
    world.settle()
    return Site(networks, mine, others)


@pytest.fixture
def taps(site: Site) -> Iterator[dict[str, Tap]]:
    with ExitStack() as opened:
        yield {one.name: opened.enter_context(tap(one.netns)) for one in (*site.mine, *site.others)}


def say(source: Placed, to: str) -> bytes:
    """Sends a datagram that nobody else sends; what is in it."""
    text = secrets.token_bytes(16)
    address = ipaddress.ip_address(to)
    own = next(a for a in (text.partition("/")[0] for text in source.addresses) if (":" in a) == (address.version == 6))
    with netns.inside(source.netns):
        sender = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        with sender:
            index = socket.if_nametoindex("eth0")
            if address.version == 4:
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
            else:
                sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
                sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 4)
            sender.bind((own, 0))
            sender.sendto(text, (to, PORT))
    return text


def heard(taps: dict[str, Tap], text: bytes, awaited: Sequence[str]) -> Counter[str]:
    """How many copies came to each tap: once those that are awaited have some, and a little more."""
    copies: Counter[str] = Counter()
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for name, its in taps.items():
            copies[name] += sum(text in frame for frame in its.waiting())
        if set(awaited) <= (+copies).keys() and end > time.monotonic() + QUIET:
            end = time.monotonic() + QUIET
        time.sleep(0.01)
    return +copies


def names(placed: Sequence[Placed]) -> list[str]:
    return [one.name for one in placed]


def hears(taps: dict[str, Tap], source: Placed, to: str, receivers: Sequence[Placed]) -> None:
    """Exactly those, each once. This machine may lose a packet, but it makes none up: a second try for what is lost."""
    expected = Counter(names(receivers))
    copies = heard(taps, say(source, to), names(receivers))
    assert copies <= expected, f"{to} from {source.name}: {copies - expected} too many"
    if copies != expected:
        assert heard(taps, say(source, to), names(receivers)) == expected, f"{to} from {source.name}"


@pytest.mark.parametrize("to", ALL)
def test_everybody_else_in_the_network_hears_it_once_and_nobody_of_another_tenant(
    site: Site, taps: dict[str, Tap], to: str
) -> None:
    for source, network in ((site.mine[0], site.mine), (site.others[3], site.others)):
        hears(taps, source, to, [one for one in network if one is not source])


def test_a_dhcp_client_and_a_link_local_sender_are_heard_and_a_forger_is_not(site: Site, taps: dict[str, Tap]) -> None:
    source, receivers = site.mine[0], site.mine[1:]
    mac = source.mac
    text = secrets.token_bytes(16)
    to_all = Ether(src=mac, dst="ff:ff:ff:ff:ff:ff")
    discover = to_all / IP(src="0.0.0.0", dst=EVERYBODY) / UDP(sport=68, dport=67) / text
    taps[source.name].send(bytes(discover))
    assert heard(taps, text, names(receivers)) == Counter(names(receivers))
    forged = to_all / IP(src="10.71.0.99", dst=EVERYBODY) / UDP(sport=68, dport=67) / text[::-1]
    taps[source.name].send(bytes(forged))
    assert heard(taps, text[::-1], []) == Counter()
    link_local = in6_mactoifaceid(mac)
    mdns = Ether(src=mac, dst="33:33:00:00:00:fb") / IPv6(src=f"fe80::{link_local.lower()}", dst="ff02::fb")
    taps[source.name].send(bytes(mdns / UDP(sport=5353, dport=5353) / text))
    assert heard(taps, text, names(receivers)) == Counter(names(receivers))


def test_a_program_that_listens_hears_it(site: Site) -> None:
    source, receiver = site.mine[0], site.mine[4]
    with netns.inside(receiver.netns):
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with listener:
        listener.settimeout(30)
        listener.bind(("", PORT))
        own = receiver.addresses[0].partition("/")[0]
        joined = socket.inet_aton(GROUP) + socket.inet_aton(own)
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)
        for to in (EVERYBODY, DIRECTED, GROUP):
            said = say(source, to)
            text, (sender, port) = listener.recvfrom(100)
            assert (text, sender) == (said, source.addresses[0].partition("/")[0])
            listener.sendto(b"answer", (sender, port))


@pytest.mark.parametrize("to", [EVERYBODY, GROUP6])
def test_the_underlay_carries_one_packet_for_each_other_host(
    lab: Lab, world: World, site: Site, taps: dict[str, Tap], to: str
) -> None:
    vni = world.rest.get(f"/networks/{site.networks[0]}").body["vni"]
    hears(taps, site.mine[0], to, site.mine[1:])  # hosts know each other's MAC now
    with ExitStack() as opened:
        nics = {name: opened.enter_context(tap(lab.host(name).netns, "eth0")) for name in ("h1", "h2", "h3")}
        text = say(site.mine[0], to)
        assert heard(taps, text, names(site.mine[1:])) == Counter(names(site.mine[1:]))
        frames = {name: [Ether(frame) for frame in nic.waiting() if text in frame] for name, nic in nics.items()}
    assert {name: len(found) for name, found in frames.items()} == {"h1": 0, "h2": 1, "h3": 1}
    assert {int(frame[VXLAN].vni) for found in frames.values() for frame in found} == {vni}


def test_a_restarted_controller_sends_no_group_and_copies_go_on(
    lab: Lab, world: World, site: Site, taps: dict[str, Tap]
) -> None:
    at = (lab.folder / "controller.log").stat().st_size
    lab.restart("controller", kill=True)
    hears(taps, site.mine[0], EVERYBODY, site.mine[1:])
    connected(lab)
    assert resumed(lab, at) == [0, 0, 0], "groups and flows"
    hears(taps, site.mine[0], GROUP6, site.mine[1:])


def test_off_nobody_hears_it_and_on_again_all_do(world: World, site: Site, taps: dict[str, Tap]) -> None:
    source, network = site.mine[0], site.networks[0]
    for on, receivers in ((False, []), (True, site.mine[1:])):
        assert world.rest.patch(f"/networks/{network}", {"broadcast": on}).body["broadcast"] is on
        world.settle()
        caches.follow(world.lab)
        for to in ALL:
            hears(taps, source, to, receivers)
    hears(taps, site.others[0], EVERYBODY, site.others[1:])


def policy(world: World, tenant: str, **spec: object) -> None:
    document = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "p", "namespace": tenant},
        "spec": spec,
    }
    rules.apply(world, document)
    caches.follow(world.lab)


def test_policies_of_the_receiver_and_of_the_sender_hold_on_every_host(world: World) -> None:
    tenant = world.tenant("judged")
    network = world.network(tenant, "lan", *SUBNETS, private=True, broadcast=True)
    red = [world.endpoint(network, host, labels={"colour": "red"}) for host in ("h1", "h2")]
    blue = [world.endpoint(network, host, labels={"colour": "blue"}) for host in ("h1", "h2")]
    world.settle()
    is_red = {"podSelector": {"matchLabels": {"colour": "red"}}}
    with ExitStack() as opened:
        taps = {one.name: opened.enter_context(tap(one.netns)) for one in (*red, *blue)}
        hears(taps, blue[0], EVERYBODY, [*red, blue[1]])
        policy(world, tenant, **is_red, policyTypes=["Ingress"], ingress=[{"from": [is_red]}])
        for to in (EVERYBODY, GROUP6):
            hears(taps, blue[0], to, [blue[1]])
            hears(taps, red[0], to, [*blue, red[1]])
        policy(world, tenant, **is_red, policyTypes=["Egress"], egress=[{"to": [is_red]}])
        for to in (EVERYBODY, GROUP6):
            hears(taps, red[0], to, [red[1]])
            hears(taps, blue[0], to, [*red, blue[1]])
        policy(world, tenant, **is_red, policyTypes=["Egress"], egress=[{"to": [{"ipBlock": {"cidr": f"{GROUP}/32"}}]}])
        hears(taps, red[0], GROUP, [*blue, red[1]])
        hears(taps, red[0], EVERYBODY, [])


def test_an_endpoint_that_joins_hears_at_once_and_one_that_leaves_is_told_no_more(
    lab: Lab, world: World, site: Site, taps: dict[str, Tap]
) -> None:
    source, network = site.mine[0], site.networks[0]
    for one in site.mine[4:]:
        world.remove(one)
    world.settle()
    caches.follow(lab)
    left = {name: its for name, its in taps.items() if name not in names(site.mine[4:])}
    with tap(lab.host("h3").netns, "eth0") as nic:
        text = say(source, EVERYBODY)
        assert heard(left, text, names(site.mine[1:4])) == Counter(names(site.mine[1:4]))
        assert not any(text in frame for frame in nic.waiting()), "h3 has no endpoint of the network any more"
    again = world.endpoint(network, "h3")
    with tap(again.netns) as its:
        hears(left | {again.name: its}, source, EVERYBODY, [*site.mine[1:4], again])
        hears(left | {again.name: its}, again, GROUP6, site.mine[:4])
    moved = again.name
    world.remove(again)
    again = world.endpoint(network, "h2", moved)
    with tap(again.netns) as its:
        hears(left | {again.name: its}, source, GROUP, [*site.mine[1:4], again])


def test_a_new_endpoint_changes_one_group_on_its_host_and_no_group_elsewhere(
    lab: Lab, world: World, site: Site
) -> None:
    def groups() -> dict[str, list[str]]:
        command = "ovs-ofctl", "-O", "OpenFlow14", "dump-groups", "warren0"
        said = {host.name: netns.run(*command, env=environment(host.folder, settings(host))) for host in lab.hosts}
        return {name: sorted(text.splitlines()[1:]) for name, text in said.items()}

    before = groups()
    assert all(before.values())
    world.endpoint(site.networks[0], "h2")
    world.settle()
    after = groups()
    assert {name for name in before if before[name] != after[name]} == {"h2"}
    assert len(set(after["h2"]) - set(before["h2"])) == 1
