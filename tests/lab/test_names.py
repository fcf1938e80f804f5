"""Firewalls that say names: what endpoints are really told by a DNS server decides what they may reach."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from statistics import median
from typing import Any

import pytest

from controller.pipeline.flow import Kind, Reason
from controller.pipeline.packet import GATEWAY_OFPORT
from lab import netns, ovs
from lab.lab import Lab
from lab.state import Placed
from tests.lab.dns import Server, Zone, ask, server
from tests.lab.world import World

SECONDS = 60.0
WWW = "www.example.org"
MANY = [f"203.0.113.{number}" for number in range(100, 160)]


class Scene:
    """Tenant red has clients on h1 and h2 and a server of its own on h2; the global tenant's server is on h3."""

    def __init__(self, lab: Lab, world: World) -> None:
        self.lab, self.world = lab, world
        red, common = world.tenant("red"), world.tenant("dns")
        network = world.network(red, "net", "10.51.0.0/24", "fd00:51::/64")
        servers = world.network(common, "net", "10.52.0.0/24", "fd00:52::/64")
        world.rest.post(f"/tenants/{common}/global")
        self.tenant = red
        self.client, self.mate = world.endpoint(network, "h1"), world.endpoint(network, "h2")
        self.own = world.endpoint(network, "h2")
        self.known_to_all = world.endpoint(servers, "h3")
        self.firewall(("Allow", WWW), ("Allow", "*.shop.example.org"), ("Deny", "bad.example.org"))

    def firewall(self, *rules: tuple[str, str]) -> None:
        """Addresses outside that no rule names are denied."""
        egress: list[dict[str, Any]] = [{"type": type, "to": {"dnsName": name}} for type, name in rules]
        egress += [{"type": "Deny", "to": {"cidrSelector": cidr}} for cidr in ("0.0.0.0/0", "::/0")]
        document = {
            "apiVersion": "network.openshift.io/v1",
            "kind": "EgressNetworkPolicy",
            "metadata": {"name": "default", "namespace": self.tenant},
            "spec": {"egress": egress},
        }
        self.world.rest.post("/policies", {"documents": [document]})
        self.world.settle()

    def ask(
        self, name: str, kind: str = "A", *, tcp: bool = False, family: int = 4, whom: Placed | None = None
    ) -> None:
        reply = ask(self.client, ip(whom or self.known_to_all, family), name, kind, tcp=tcp)
        assert reply.answer, f"{name} has no {kind}"

    def flows(self, host: str, address: str) -> list[str]:
        """Of the host's firewall, those about an address."""
        field = ("ipv6,ipv6_dst" if ":" in address else "ip,nw_dst") + f"={address}"
        found = self.run(host, "ovs-ofctl", "-O", "OpenFlow14", "--no-stats", "dump-flows", "warren0", field)
        return [line for line in found.splitlines() if "table=67" in line or "table=FIREWALL" in line]

    def awaits(self, address: str, hosts: tuple[str, ...] = ("h1", "h2"), *, there: bool = True) -> float:
        """Seconds until the firewalls of the hosts speak of an address, or do no more."""
        began = time.monotonic()
        while not all(bool(self.flows(host, address)) == there for host in hosts):
            assert time.monotonic() < began + SECONDS, (
                f"{address} {'is not' if there else 'is'} in the flows of {hosts}"
            )
        return time.monotonic() - began

    def fate(self, address: str, host: str = "h1") -> str:
        """What becomes of a packet to an address outside: it goes "out", or why it is dropped."""
        client = self.client if host == "h1" else self.mate
        before = self.counted(host)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with netns.inside(client.netns), socket.socket(family, socket.SOCK_DGRAM) as mouth:
            mouth.sendto(b"hello", (address, 4000))
        end = time.monotonic() + 90
        while time.monotonic() < end:
            if grown := self.counted(host) - before:
                return " and ".join(sorted(grown))
            time.sleep(0.2)
        raise AssertionError(f"a packet to {address} was not seen on {host}")

    def counted(self, host: str) -> Counter[str]:
        """Packets that went out of the host's switch by its gateway, and that were dropped on the way there."""
        self.run(host, "ovs-appctl", "revalidator/purge")  # counts what only the data path has counted yet
        counts: Counter[str] = Counter()
        for line in self.run(host, "ovs-ofctl", "-O", "OpenFlow14", "dump-flows", "warren0").splitlines():
            if found := COUNTED.search(line):
                cookie, packets, actions = int(found[1], 16) >> 48, int(found[2]), found[3]
                counts[FATES.get(cookie, "out" if actions == f"output:{GATEWAY_OFPORT}" else "")] += packets
        del counts[""]
        return counts

    def run(self, host: str, *command: str) -> str:
        with netns.inside(self.lab.host(host).netns):
            env = ovs.settings(self.lab.host(host))
            return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout


FATES = {Kind.DROP + Reason.NO_ROUTE: "no_route", Kind.DROP + Reason.EGRESS_FIREWALL: "egress_firewall"}
COUNTED = re.compile(r"cookie=(0x[0-9a-f]+).* n_packets=(\d+).* actions=(.*)")


def ip(placed: Placed, family: int = 4) -> str:
    wanted = ":" if family == 6 else "."
    return next(address.split("/")[0] for address in placed.addresses if wanted in address)


ZONE: Zone = {
    (WWW, "A"): [(WWW, 60, "A", "203.0.113.7")],
    (WWW, "AAAA"): [(WWW, 60, "AAAA", "2001:db8::7")],
    ("eu.shop.example.org", "A"): [
        ("eu.shop.example.org", 60, "CNAME", "edge.example.net"),
        ("edge.example.net", 60, "A", "203.0.113.8"),
    ],
    ("many.shop.example.org", "A"): [("many.shop.example.org", 60, "A", address) for address in MANY],
    ("bad.example.org", "A"): [("bad.example.org", 60, "A", "203.0.113.9")],
    ("shop.example.org", "A"): [("shop.example.org", 60, "A", "203.0.113.10")],
}


@pytest.fixture(scope="module")
def scene(lab: Lab) -> Iterator[Scene]:
    world = World(lab)
    yield Scene(lab, world)
    world.clear()


@pytest.fixture(scope="module")
def dns(scene: Scene) -> Iterator[Server]:
    with server(scene.known_to_all, ZONE) as serving:
        yield serving


def test_what_one_endpoint_is_told_counts_on_every_host_of_its_tenant(scene: Scene, dns: Server) -> None:
    assert scene.fate("203.0.113.7") == "egress_firewall", "nobody was told yet"
    scene.ask(WWW)
    scene.awaits("203.0.113.7", ("h1", "h2"))
    assert scene.flows("h3", "203.0.113.7") == []
    assert scene.fate("203.0.113.7") == "out"
    assert scene.fate("203.0.113.7", "h2") == "out"
    assert scene.fate("203.0.113.200") == "egress_firewall"


def test_ipv6_and_tcp(scene: Scene, dns: Server) -> None:
    scene.ask(WWW, "AAAA", tcp=True, family=6)
    scene.awaits("2001:db8::7")
    assert scene.fate("2001:db8::7") == "out"
    assert scene.fate("2001:db8::8") == "egress_firewall"


def test_an_answer_too_long_for_a_datagram_counts_when_it_comes_by_tcp(scene: Scene, dns: Server) -> None:
    scene.ask("many.shop.example.org")
    for address in (MANY[0], MANY[-1]):
        scene.awaits(address)


def test_an_alias_counts_for_the_name_that_was_asked_for(scene: Scene, dns: Server) -> None:
    scene.ask("eu.shop.example.org")
    scene.awaits("203.0.113.8")
    assert scene.fate("203.0.113.8") == "out"


def test_a_name_that_is_denied_is_denied(scene: Scene, dns: Server) -> None:
    scene.ask("bad.example.org")
    scene.awaits("203.0.113.9")
    assert scene.fate("203.0.113.9") == "egress_firewall"


def test_an_answer_of_the_tenants_own_endpoint_and_one_that_no_rule_means_change_nothing(
    scene: Scene, dns: Server
) -> None:
    forged = {(WWW, "A"): [(WWW, 60, "A", "203.0.113.66")]}
    with server(scene.own, forged):
        scene.ask(WWW, whom=scene.own)
        scene.ask(WWW, whom=scene.own, tcp=True)
    scene.ask("shop.example.org")
    # One that counts comes last: when it has, those before it have had their time.
    dns.zone["last.shop.example.org", "A"] = [("last.shop.example.org", 60, "A", "203.0.113.11")]
    scene.ask("last.shop.example.org")
    scene.awaits("203.0.113.11")
    told = {one["address"] for name in scene.world.rest.items("/names") for one in name["addresses"]}
    assert "203.0.113.11" in told and not told & {"203.0.113.66", "203.0.113.10"}
    assert scene.flows("h1", "203.0.113.66") == scene.flows("h1", "203.0.113.10") == []


def test_how_long_it_takes_until_an_answer_counts(scene: Scene, dns: Server, record_property: Any) -> None:
    took = []
    for number in range(20):
        name, address = f"n{number}.shop.example.org", f"198.51.100.{number}"
        dns.zone[name, "A"] = [(name, 60, "A", address)]
        scene.ask(name)
        took.append(scene.awaits(address, ("h1",)))
    record_property("median_seconds", median(took))
    print(f"\nfrom the answer to the flow: median {median(took) * 1000:.0f} ms, most {max(took) * 1000:.0f} ms")
    assert min(took) < 1


def test_a_restart_of_the_controller_forgets_no_name(scene: Scene, dns: Server) -> None:
    scene.ask(WWW)
    scene.awaits("203.0.113.7")
    scene.lab.restart("controller", kill=True)
    scene.world.settle()
    assert scene.flows("h1", "203.0.113.7")
    assert scene.fate("203.0.113.7") == "out"


def test_an_address_ends_with_its_time_and_a_grace(scene: Scene, dns: Server) -> None:
    dns.zone["soon.shop.example.org", "A"] = [("soon.shop.example.org", 1, "A", "198.51.100.99")]
    told = time.monotonic()
    while not scene.flows("h1", "198.51.100.99"):  # while a controller has just come back it may not hear an answer
        assert time.monotonic() < told + SECONDS
        scene.ask("soon.shop.example.org")
        time.sleep(1)
    scene.awaits("198.51.100.99")
    while scene.flows("h1", "198.51.100.99"):
        assert time.monotonic() < told + 240, "30 s at least, 60 s of grace, and a sweep"
        time.sleep(1)
    assert time.monotonic() - told > 90
    scene.awaits("198.51.100.99", ("h2",), there=False)
