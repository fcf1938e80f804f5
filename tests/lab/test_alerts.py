"""What the overview warns of is made to happen, each for real, and is told there with what to do; and so is traffic.

The page is asked for as a browser does; what it looks like is the business of `tests/ui`.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from html import unescape

import pytest
import urllib3
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.layers.vxlan import VXLAN

from lab import netns
from lab.lab import Lab
from lab.names import fabric_netns
from tests.lab.test_transports import until
from tests.lab.wire import tap
from tests.lab.world import World

SECONDS = 180.0


def page(world: World, path: str = "/") -> str:
    """What there is to read."""
    headers = {"Authorization": f"Bearer {world.rest.token}"}
    answer = urllib3.request("GET", world.lab.login()["api"] + path, headers=headers)
    assert answer.status == 200, answer.data[:300]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", answer.data.decode())).split())


@pytest.fixture
def says(world: World) -> Iterator[Callable[[str, str], None]]:
    """Waits for a sentence on the overview and for its remedy; it must not have been there before."""
    before = page(world)

    def wait(sentence: str, remedy: str) -> None:
        assert not re.search(sentence, before)
        until(lambda: re.search(sentence, page(world)) is not None, SECONDS)
        assert re.search(f"{sentence}.*?{remedy}", page(world))

    yield wait


Says = Callable[[str, str], None]


def test_a_host_that_falls_silent(lab: Lab, world: World, says: Says) -> None:
    world.endpoint(world.network(world.tenant("red"), "net", "10.71.0.0/24"), "h3")
    agent = lab.part("agent:h3")
    agent.stop(kill=True)
    try:
        silent = r"h3 is silent for \d+ (?:s|min): 1 endpoint out of sight\."
        says(silent, "Look whether it is up and warren agent runs there")
    finally:
        agent.start()
    until(lambda: "h3 is silent" not in page(world))


def test_a_black_hole_for_large_packets(lab: Lab, world: World, says: Says) -> None:
    fabric = fabric_netns(lab.name)
    try:
        netns.run("ip", "-n", fabric, "link", "set", "h2", "mtu", "1400")
        lab.restart("agent:h1", kill=False)  # which looks as it starts, and else once a minute
        says(r"h1: Packets of 1500 bytes, the MTU of br-phy, do not come to h2 ", "raise the MTU on the way, or lower")
        assert "h1 – h2" in page(world, "/topology")
    finally:
        netns.run("ip", "-n", fabric, "link", "set", "h2", "mtu", "1500")
        lab.restart("agent:h1", kill=False)
    until(lambda: "Packets of 1500 bytes" not in page(world))


def test_a_subnet_that_is_nearly_empty(world: World, says: Says) -> None:
    tenant = world.tenant("red")
    network = world.network(tenant, "tiny", "10.72.0.0/28")
    for _ in range(12):
        world.endpoint(network, "h1")
    left = rf"Subnet 10\.72\.0\.0/28 of network {network} has 1 of 13 addresses left\."
    says(left, "Add a subnet or a pool before it")


def test_flows_that_somebody_else_changed_are_repaired(lab: Lab, world: World, says: Says) -> None:
    host = lab.host("h1")
    control = [f"unix:{lab.folder}/h1/ovs/warren0.mgmt"]
    run = ["ovs-ofctl", "-O", "OpenFlow14", "del-flows", *control, "table=110"]
    with netns.inside(host.netns):
        subprocess.run(run, check=True, capture_output=True)
    says(r"\d+ flows? (was|were) changed on h1 by somebody else, and put right", "look who else writes to the bridge")


def test_tunnel_packets_of_a_machine_that_is_no_host(lab: Lab, world: World, says: Says) -> None:
    network = world.network(world.tenant("red"), "net", "10.74.0.0/24")
    world.endpoint(network, "h2")
    vni = world.rest.get(f"/networks/{network}").body["vni"]
    h2 = lab.host("h2")
    shown = netns.run("ip", "-n", h2.netns, "-o", "link", "show", "br-phy")
    mac = shown.split("link/ether ")[1].split()[0]
    outer = Ether(dst=mac) / IP(src="198.18.0.99", dst=h2.address) / UDP(sport=5555, dport=4789)
    with tap(fabric_netns(lab.name), "underlay") as underlay:
        underlay.send(bytes(outer / VXLAN(vni=vni, flags=8) / Ether() / IP() / UDP()))
    says(r"h2 dropped \d+ tunnel packets? from a machine that is not a host", "tcpdump -ni any udp port 4789 on h2")


def test_bytes_that_were_sent_are_told_at_both_ends_and_between(lab: Lab, world: World) -> None:
    network = world.network(world.tenant("red"), "net", "10.75.0.0/24")
    one, other = world.endpoint(network, "h1"), world.endpoint(network, "h2")
    world.settle()

    def between(host: str, peer: str) -> dict[str, int]:
        tunnels = world.rest.get(f"/hosts/{host}/traffic").body["tunnels"]
        return next((tunnel for tunnel in tunnels if tunnel["host"] == peer), {})

    before = between("h1", "h2").get("sent_bytes", 0), between("h2", "h1").get("received_bytes", 0)
    target = other.addresses[0].partition("/")[0]
    netns.run("ip", "netns", "exec", one.netns, "ping", "-q", "-c", "55", "-i", "0.01", "-s", "1000", target)
    least = 50 * 1042  # with ICMP's, IP's and Ethernet's headers

    def told() -> bool:
        sender, receiver = (world.rest.get(f"/endpoints/{end}/traffic").body for end in (full(one), full(other)))
        ways = (sender["sent"], sender["received"], receiver["sent"], receiver["received"])
        sent, received = between("h1", "h2").get("sent_bytes", 0), between("h2", "h1").get("received_bytes", 0)
        return all(way["packets"] >= 50 and least <= way["bytes"] < 2 * least for way in ways) and (
            sent - before[0] >= least and received - before[1] >= least
        )

    def full(placed: object) -> str:
        return f"{network.partition('/')[0]}/{placed.name}"  # type: ignore[attr-defined]

    until(told, SECONDS)
    until(lambda: "Received" in page(world, f"/endpoints/{full(one)}"), SECONDS)
    until(lambda: re.search(r"in \d+ minutes?\.", page(world, f"/networks/{network}")) is not None, SECONDS)
