"""What the underlay carries: VXLAN with the VNI of the sender's network, and nothing of the tenants besides."""

from __future__ import annotations

import subprocess

from scapy.layers.inet import UDP
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN

from lab import netns
from lab.lab import Lab
from lab.names import fabric_netns
from tests.lab.test_spoofing import ip
from tests.lab.wire import tap
from tests.lab.world import World


def test_packets_between_hosts_carry_the_vni_of_their_network(lab: Lab, world: World) -> None:
    red = world.tenant("red")
    front = world.network(red, "front", "10.43.0.0/24")
    back = world.network(red, "back", "10.44.0.0/24")
    vnis = {name: world.rest.get(f"/networks/{name}").body["vni"] for name in (front, back)}
    one, two = world.endpoint(front, "h1"), world.endpoint(back, "h2")
    world.settle()
    with tap(fabric_netns(lab.name), "underlay") as _, tap(lab.host("h2").netns, "eth0") as nic:
        with netns.inside(one.netns):
            subprocess.run(["ping", "-c1", "-W20", ip(two)], check=True, capture_output=True)
        request = nic.heard(lambda frame: ip_bytes(ip(one)) in frame and ip_bytes(ip(two)) in frame)[-1]
    with tap(lab.host("h1").netns, "eth0") as nic:
        with netns.inside(one.netns):
            subprocess.run(["ping", "-c1", "-W20", ip(two)], check=True, capture_output=True)
        reply = nic.heard(lambda frame: ip_bytes(ip(one)) in frame and ip_bytes(ip(two)) in frame)[-1]
    for frame, sender in ((request, front), (reply, back)):
        packet = Ether(frame)
        assert packet[UDP].dport == 4789
        assert packet[VXLAN].vni == vnis[sender]


def ip_bytes(text: str) -> bytes:
    return bytes(map(int, text.split(".")))
