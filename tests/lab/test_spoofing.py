"""Nobody can pretend: forged packets, really sent from an endpoint, reach nobody, and are counted.

Each test sends its forgeries, then one honest packet. When the honest one has arrived, a forgery that could pass
would have arrived before it: absence is shown without waiting for it.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import ARP, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from lab import netns
from lab.lab import Lab
from lab.names import fabric_netns
from lab.state import Placed
from tests.lab.wire import Tap, tap
from tests.lab.world import World

FORGED, HONEST = b"forged-by-the-test", b"honest-from-the-test"
BROADCAST = "ff:ff:ff:ff:ff:ff"


class Scene:
    """Tenant red has a liar and a neighbour on h1 and a friend on h2; tenant blue has a victim on h2."""

    def __init__(self, lab: Lab, world: World) -> None:
        self.lab, self.world = lab, world
        red, blue = world.tenant("red"), world.tenant("blue")
        network = world.network(red, "net", "10.41.0.0/24", "fd00:41::/64")
        other = world.network(blue, "net", "10.42.0.0/24", "fd00:42::/64")
        self.vnis = {n: world.rest.get(f"/networks/{n}").body["vni"] for n in (network, other)}
        self.network, self.other = network, other
        self.liar = world.endpoint(network, "h1")
        self.neighbour = world.endpoint(network, "h1")
        self.friend = world.endpoint(network, "h2")
        self.victim = world.endpoint(other, "h2")
        world.settle()

    def honest(self, target: Placed) -> Packet:
        """From the liar itself, by its own name; to a target that may hear it."""
        return self.to(target) / IP(src=ip(self.liar), dst=ip(target)) / UDP(sport=9, dport=9) / Raw(HONEST)

    def to(self, target: Placed) -> Packet:
        return Ether(src=self.liar.mac, dst=target.mac)

    def nothing_passes(self, *forgeries: Packet) -> None:
        targets = (self.neighbour, self.friend)
        taps = {placed.name: Tap(placed.netns, "eth0") for placed in (*targets, self.victim)}
        try:
            with tap(self.liar.netns) as mouth:
                for forgery in forgeries:
                    mouth.send(bytes(forgery))
                for target in targets:
                    mouth.send(bytes(self.honest(target)))
            for target in targets:
                frames = taps[target.name].heard(lambda frame: HONEST in frame)
                strange = [frame for frame in frames[:-1] if is_forged(frame)]
                assert not strange, f"{target.name} heard {strange}"
            with tap(self.victim.netns) as own:
                # The victim's own honest packet, from a tenant-mate made for it, closes its list.
                mate = self.world.endpoint(self.other, "h1")
                self.world.settle()
                with tap(mate.netns) as voice:
                    voice.send(
                        bytes(
                            Ether(src=mate.mac, dst=self.victim.mac)
                            / IP(src=ip(mate), dst=ip(self.victim))
                            / UDP(sport=9, dport=9)
                            / Raw(HONEST)
                        )
                    )
                own.heard(lambda frame: HONEST in frame)
            frames = taps[self.victim.name].heard(lambda frame: HONEST in frame)
            assert not [frame for frame in frames[:-1] if is_forged(frame)]
        finally:
            for opened in taps.values():
                opened.close()

    def drops(self, host: str, reason: str) -> int:
        return int(self.lab.rest.get(f"/hosts/{host}").body["drops"].get(reason, 0))

    def counted(self, host: str, reason: str, before: int) -> None:
        """The counters are read back every few seconds."""
        end = time.monotonic() + 90
        while self.drops(host, reason) <= before:
            assert time.monotonic() < end, f"{reason} was not counted on {host}"
            time.sleep(0.2)


def ip(placed: Placed, family: int = 4) -> str:
    wanted = ":" if family == 6 else "."
    return next(address.split("/")[0] for address in placed.addresses if wanted in address)


def is_forged(frame: bytes) -> bool:
    """Ours by its mark, or any ARP or neighbour discovery: endpoints never hear each other's."""
    packet = Ether(frame)
    return FORGED in frame or ARP in packet or any(kind in packet for kind in (ICMPv6ND_NS, ICMPv6ND_NA, ICMPv6ND_RA))


@pytest.fixture(scope="module")
def scene(lab: Lab) -> Iterator[Scene]:
    world = World(lab)
    yield Scene(lab, world)
    world.clear()


def test_a_foreign_mac(scene: Scene) -> None:
    before = scene.drops("h1", "spoofed")
    scene.nothing_passes(
        *(
            Ether(src=mac, dst=target.mac) / IP(src=ip(scene.liar), dst=ip(target)) / UDP(dport=80) / Raw(FORGED)
            for target in (scene.neighbour, scene.friend)
            for mac in ("02:00:00:00:00:99", scene.friend.mac, "02:77:61:72:72:6e")
        )
    )
    scene.counted("h1", "spoofed", before)


def test_a_foreign_ipv4_address(scene: Scene) -> None:
    scene.nothing_passes(
        *(
            scene.to(target) / IP(src=source, dst=ip(target)) / UDP(dport=80) / Raw(FORGED)
            for target in (scene.neighbour, scene.friend)
            for source in (ip(scene.neighbour), ip(scene.friend), ip(scene.victim), "10.41.0.1", "8.8.8.8", "0.0.0.0")
        )
    )


def test_a_foreign_ipv6_address(scene: Scene) -> None:
    scene.nothing_passes(
        *(
            scene.to(target) / IPv6(src=source, dst=ip(target, 6)) / UDP(dport=80) / Raw(FORGED)
            for target in (scene.neighbour, scene.friend)
            for source in (ip(scene.friend, 6), ip(scene.victim, 6), "fd00:41::1", "fe80::1", "::1", "2001:db8::1")
        )
    )


def test_arp_that_claims_anothers_address(scene: Scene) -> None:
    claims = []
    for target in (scene.neighbour, scene.friend):
        for claimed in (ip(scene.neighbour), ip(scene.friend), "10.41.0.1"):
            for dst in (BROADCAST, target.mac):
                for op in ("who-has", "is-at"):
                    lie = ARP(op=op, hwsrc=scene.liar.mac, psrc=claimed, hwdst=target.mac, pdst=ip(target))
                    claims.append(Ether(src=scene.liar.mac, dst=dst) / lie)
    # Its own address, with another's MAC inside.
    claims.append(
        scene.to(scene.friend) / ARP(op=2, hwsrc=scene.friend.mac, psrc=ip(scene.liar), pdst=ip(scene.friend))
    )
    scene.nothing_passes(*claims)


def test_neighbour_discovery_that_claims_anothers_address(scene: Scene) -> None:
    lies = []
    for target in (scene.neighbour, scene.friend):
        for claimed in (ip(scene.neighbour, 6), ip(scene.friend, 6), "fd00:41::1"):
            for source in (claimed, ip(scene.liar, 6)):
                packet = scene.to(target) / IPv6(src=source, dst=ip(target, 6), hlim=255)
                mine = scene.liar.mac
                lies.append(packet / ICMPv6ND_NA(tgt=claimed, O=1) / ICMPv6NDOptDstLLAddr(lladdr=mine))
                lies.append(packet / ICMPv6ND_NS(tgt=ip(target, 6)) / ICMPv6NDOptSrcLLAddr(lladdr=mine))
                lies.append(packet / ICMPv6ND_RA() / ICMPv6NDOptSrcLLAddr(lladdr=mine))
    scene.nothing_passes(*lies)


def test_multicast_and_broadcast_reach_nobody(scene: Scene) -> None:
    mine, mine6 = ip(scene.liar), ip(scene.liar, 6)
    multicast = Ether(src=scene.liar.mac, dst="33:33:00:00:00:01")
    scene.nothing_passes(
        Ether(src=scene.liar.mac, dst=BROADCAST) / IP(src=mine, dst="255.255.255.255") / UDP(dport=80) / Raw(FORGED),
        Ether(src=scene.liar.mac, dst=BROADCAST) / IP(src=mine, dst="10.41.0.255") / UDP(dport=80) / Raw(FORGED),
        Ether(src=scene.liar.mac, dst=BROADCAST) / IP(src=mine, dst=ip(scene.friend)) / UDP(dport=80) / Raw(FORGED),
        multicast / IPv6(src=mine6, dst="ff02::1") / UDP(dport=80) / Raw(FORGED),
    )


@pytest.mark.parametrize("kind", [0x88B5, 0x8100, 0x8847, 0x88CC], ids=["experimental", "vlan", "mpls", "lldp"])
def test_another_ethertype_reaches_nobody(scene: Scene, kind: int) -> None:
    frames = (Ether(src=scene.liar.mac, dst=target.mac, type=kind) for target in (scene.neighbour, scene.friend))
    scene.nothing_passes(*(frame / Raw(FORGED) for frame in frames))


def test_vxlan_to_a_hosts_tunnel_port(scene: Scene) -> None:
    """With the victim's VNI inside, from every host to every host."""
    before = scene.drops("h1", "tunnel_port")
    inner = (
        Ether(src=scene.liar.mac, dst=scene.victim.mac)
        / IP(src="10.42.0.77", dst=ip(scene.victim))
        / UDP(dport=80)
        / Raw(FORGED)
    )
    gateway = Ether(src=scene.liar.mac, dst="02:77:61:72:72:6e")
    scene.nothing_passes(
        *(
            gateway
            / IP(src=ip(scene.liar), dst=host.address)
            / UDP(sport=4444, dport=4789)
            / VXLAN(vni=scene.vnis[scene.other], flags=8)
            / inner
            for host in scene.lab.hosts
        )
    )
    scene.counted("h1", "tunnel_port", before)


def test_vxlan_from_an_address_that_is_no_host(scene: Scene) -> None:
    """Sent on the underlay itself, with the right VNI, a good inner packet, and the host's real MAC."""
    before = scene.drops("h2", "unknown_tunnel_source")
    h2 = scene.lab.host("h2")
    with netns.inside(h2.netns):
        shown = subprocess.run(["ip", "-o", "link", "show", "br-phy"], check=True, capture_output=True, text=True)
    mac = shown.stdout.split("link/ether ")[1].split()[0]
    inner = (
        Ether(src=scene.liar.mac, dst=scene.friend.mac)
        / IP(src=ip(scene.liar), dst=ip(scene.friend))
        / UDP(dport=80)
        / Raw(FORGED)
    )
    for source in ("198.18.0.1", "198.18.0.99"):
        outer = Ether(dst=mac) / IP(src=source, dst=h2.address) / UDP(sport=5555, dport=4789)
        packet = outer / VXLAN(vni=scene.vnis[scene.network], flags=8) / inner
        with tap(fabric_netns(scene.lab.name), "underlay") as underlay, tap(scene.friend.netns) as ear:
            underlay.send(bytes(packet))
            with tap(scene.liar.netns) as mouth:
                mouth.send(bytes(scene.honest(scene.friend)))
            assert not [frame for frame in ear.heard(lambda frame: HONEST in frame) if FORGED in frame]
    scene.counted("h2", "unknown_tunnel_source", before)
