"""Interfaces by hand, addresses that endpoints share, and endpoints that move: on three hosts, with real packets."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from lab import netns, state
from lab.endpoint import Wanted
from lab.lab import Lab
from lab.names import LabError, endpoint_netns
from lab.process import environment
from lab.state import Placed
from tests.lab.test_spoofing import ip
from tests.lab.waiting import until
from tests.lab.wire import tap
from tests.lab.world import World

BROADCAST = "ff:ff:ff:ff:ff:ff"
VIP, VIP6 = "10.43.0.100", "fd00:43::64"


class ByHand:
    """`warren attach` and `detach` on the lab's hosts; what is left attached is detached at the end."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._attached: list[tuple[str, tuple[str, ...]]] = []
        self._spaces: list[str] = []

    def space(self, host: str, name: str) -> str:
        space = endpoint_netns(self.lab.host(host), name)
        netns.create(space)
        self._spaces.append(space)
        return space

    def attach(self, host: str, space: str, ifname: str, *arguments: str) -> Any:
        where = "--netns", str(netns.path(space)), "--ifname", ifname
        made = self._warren(host, "attach", *where, *arguments)
        self._attached.append((host, where))
        return made

    def _warren(self, host: str, *arguments: str) -> Any:
        at = self.lab.host(host)
        command = sys.executable, "-m", "client", *arguments, "--socket", str(at.cni_socket), "-o", "json"
        with netns.inside(at.netns):
            return json.loads(netns.run(*command, env=environment(state.folder(self.lab.name))))

    def clear(self) -> None:
        for host, where in self._attached:
            self._warren(host, "detach", *where)
        for space in self._spaces:
            netns.delete(space)


@pytest.fixture
def by_hand(lab: Lab, world: World) -> Iterator[ByHand]:
    hand = ByHand(lab)
    try:
        yield hand
    finally:
        hand.clear()


def answering(space: str, address: str, seconds: float = 20) -> str:
    """The name of who answers there by TCP; empty if nobody does."""
    with netns.inside(space), suppress(OSError), socket.create_connection((address, 80), timeout=seconds) as channel:
        return channel.makefile().readline().strip()
    return ""


def test_a_container_on_two_networks_of_a_tenant_and_on_anothers_reaches_each(
    lab: Lab, world: World, by_hand: ByHand
) -> None:
    red, blue = world.tenant("red"), world.tenant("blue")
    front = world.network(red, "front", "10.44.0.0/24", "fd00:44::/64")
    back = world.network(red, "back", "10.45.0.0/24")
    far = world.network(blue, "far", "10.46.0.0/24")
    own = world.endpoint(front, "h1")
    for ifname, network, more in (("eth1", back, []), ("eth2", far, ["--route", "10.47.0.0/24"])):
        by_hand.attach("h1", own.netns, ifname, "--network", network, "--name", f"second-{ifname}", *more)
    beside = world.network(blue, "beside", "10.47.0.0/24")
    peers = [world.endpoint(network, "h2") for network in (front, back, far, beside)]
    world.settle()
    for peer in peers:
        assert answering(own.netns, ip(peer)) == peer.name
    assert answering(own.netns, ip(peers[0], 6)) == peers[0].name
    routes = netns.run("ip", "-n", own.netns, "route").splitlines()
    assert [route.split()[2] for route in routes if route.startswith("default")] == ["10.44.0.1"], "only the first's"
    addresses = {one["ifname"]: one["addr_info"] for one in json.loads(netns.run("ip", "-n", own.netns, "-j", "a"))}
    second = next(one["local"] for one in addresses["eth1"] if one["family"] == "inet")
    assert answering(peers[1].netns, second) == own.name, "also from the other side, on its own network"
    assert answering(peers[0].netns, ip(peers[2]), 2) == "", "and lends its way to nobody"


class Shared:
    """lb1 on h1 and lb2 on h2 share an address of each family; a client on h3 asks who is there."""

    def __init__(self, world: World) -> None:
        self.world = world
        red = world.tenant("red")
        self.network = world.network(red, "net", "10.43.0.0/24", "fd00:43::/64")
        self.lb1, self.lb2, self.other = (world.endpoint(self.network, host) for host in ("h1", "h2", "h2"))
        # Whoever heard nothing remembers that for a moment, and asks no more.
        self.client, self.early = (world.endpoint(self.network, "h3") for _ in range(2))
        for lb in (self.lb1, self.lb2, self.other):
            for address in (f"{VIP}/32", f"{VIP6}/128"):
                netns.run("ip", "-n", lb.netns, "address", "add", address, "dev", "eth0")

    def declare(self, lb: Placed, active: bool = False) -> None:
        allowed = [{"address": address, "active": active} for address in (VIP, VIP6)]
        self.world.rest.patch(f"/endpoints/{lb.tenant}/{lb.name}", {"allowed": allowed})

    def who(self, client: Placed | None = None, seconds: float = 20) -> tuple[str, str]:
        space = (client or self.client).netns
        return answering(space, VIP, seconds), answering(space, VIP6, seconds)

    def active(self, lb: Placed) -> list[bool]:
        return [one["active"] for one in self.world.rest.get(f"/endpoints/{lb.tenant}/{lb.name}").body["allowed"]]

    def announce(self, lb: Placed) -> None:
        arp = ARP(op=1, hwsrc=lb.mac, psrc=VIP, hwdst="00:00:00:00:00:00", pdst=VIP)
        told = ICMPv6ND_NA(tgt=VIP6, R=0, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=lb.mac)
        with tap(lb.netns) as mouth:
            mouth.send(bytes(Ether(src=lb.mac, dst=BROADCAST) / arp))
            mouth.send(
                bytes(Ether(src=lb.mac, dst="33:33:00:00:00:01") / IPv6(src=VIP6, dst="ff02::1", hlim=255) / told)
            )


def test_a_shared_address_follows_who_announces_it(world: World) -> None:
    scene = Shared(world)
    world.settle()
    assert scene.who(scene.early, 2) == ("", ""), "nobody declared it"
    scene.declare(scene.lb1)
    scene.declare(scene.lb2)
    world.settle()
    assert scene.who() == (scene.lb1.name, scene.lb1.name), "the first that declared it"
    scene.announce(scene.other)  # who did not declare it changes nothing
    scene.announce(scene.lb2)
    until(lambda: scene.active(scene.lb2) == [True, True], "the controller has heard it")
    world.settle()
    assert scene.who() == (scene.lb2.name, scene.lb2.name)
    assert scene.active(scene.lb1) == [False, False]
    scene.declare(scene.lb1, active=True)
    world.settle()
    assert scene.who() == (scene.lb1.name, scene.lb1.name), "by the API as well"
    world.remove(scene.lb1)
    world.settle()
    assert scene.who() == (scene.lb2.name, scene.lb2.name), "the next has it when its endpoint goes"


def test_nobody_sends_from_an_address_that_is_not_declared_or_that_another_has(world: World) -> None:
    scene = Shared(world)
    scene.declare(scene.lb1)
    scene.declare(scene.lb2)
    world.settle()

    def said(source: Placed, text: bytes) -> Packet:
        to = Ether(src=source.mac, dst=scene.client.mac) / IP(src=VIP, dst=ip(scene.client))
        return to / UDP(sport=9, dport=9) / Raw(text)

    with tap(scene.client.netns) as ear:
        for liar in (scene.lb2, scene.other):
            with tap(liar.netns) as mouth:
                mouth.send(bytes(said(liar, b"a lie")))
                # Its own, by which the lie would have come if it could.
                honest = Ether(src=liar.mac, dst=scene.client.mac) / IP(src=ip(liar), dst=ip(scene.client))
                mouth.send(bytes(honest / UDP(sport=9, dport=9) / Raw(b"no lie")))
            frames = ear.heard(lambda frame: b"no lie" in frame)
            assert not [frame for frame in frames if b"a lie" in frame]
        with tap(scene.lb1.netns) as mouth:
            mouth.send(bytes(said(scene.lb1, b"the truth")))
        ear.heard(lambda frame: b"the truth" in frame)


def test_an_endpoint_moves_and_who_talks_to_it_finds_it_there(lab: Lab, world: World, by_hand: ByHand) -> None:
    red = world.tenant("red")
    network = world.network(red, "net", "10.48.0.0/24", "fd00:48::/64")
    mover, near = world.endpoint(network, "h1", labels={"app": "db"}), world.endpoint(network, "h1")
    peer = world.endpoint(network, "h3")
    world.settle()
    before = world.rest.get(f"/endpoints/{red}/{mover.name}").body
    with netns.inside(peer.netns):
        asking = subprocess.Popen(["ping", "-i", "0.05", ip(mover)], stdout=subprocess.PIPE, text=True)
    try:
        until(lambda: netns.run("ip", "-n", peer.netns, "neigh") != "", "it pings")
        space = by_hand.space("h2", f"{mover.name}-there")
        netns.run("ip", "-n", space, "link", "set", "lo", "up")
        with pytest.raises(LabError, match=f"may not take it.*endpoint move {red}/{mover.name} --to h2"):
            by_hand.attach("h2", space, "eth0", "--network", network, "--name", mover.name, "--move")
        world.rest.patch(f"/endpoints/{red}/{mover.name}", {"move_to": "h2"})
        made = by_hand.attach("h2", space, "eth0", "--network", network, "--name", mover.name, "--move")
        world.settle()
        for voice in (peer, near):
            for family in (4, 6):
                netns.run("ip", "netns", "exec", voice.netns, "ping", "-c1", "-W20", ip(mover, family))
    finally:
        asking.send_signal(signal.SIGINT)
        said, _ = asking.communicate(timeout=60)
    sent, came = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", said).groups())  # type: ignore[union-attr]
    print(f"a move from host to host: {sent} pings sent, {sent - came} lost")
    after = world.rest.get(f"/endpoints/{red}/{mover.name}").body
    stays = ("name", "mac", "addresses", "labels", "allowed", "created_at", "port_name")
    assert {key: after[key] for key in stays} == {key: before[key] for key in stays}
    assert (after["host"], made["id"]) == ("h2", int(before["port_name"].removeprefix("wrn")))
    h1 = lab.host("h1").netns
    until(lambda: before["port_name"] not in netns.run("ip", "-n", h1, "-o", "link"), "the old host lets its port go")
    assert "eth0" not in netns.run("ip", "-n", mover.netns, "-o", "link"), "and the old container has nothing"
    with netns.inside(space), socket.socket() as listener:
        listener.bind((ip(mover), 8080))
        listener.listen()
        with netns.inside(peer.netns):
            caller = socket.create_connection((ip(mover), 8080), timeout=30)
        caller.close()


def test_a_moved_endpoint_leaves_its_old_name_and_place_to_others(lab: Lab, world: World, by_hand: ByHand) -> None:
    """The runtime of the old host does what it always does; the endpoint is not its business any more."""
    red = world.tenant("red")
    network = world.network(red, "net", "10.49.0.0/24")
    mover = world.endpoint(network, "h1")
    space = by_hand.space("h2", f"{mover.name}-there")
    world.rest.patch(f"/endpoints/{red}/{mover.name}", {"move_to": "h2"})
    by_hand.attach("h2", space, "eth0", "--network", network, "--name", mover.name, "--move")
    world.remove(mover)
    peer = lab.run("h3", Wanted("peer-of-moved", network))
    try:
        world.settle()
        netns.run("ip", "netns", "exec", peer.netns, "ping", "-c1", "-W20", ip(mover))
    finally:
        lab.remove(peer.name)
