"""What leaves a tenant's networks passes its egress firewall: rules in their order, by address, port and name."""

from __future__ import annotations

import ipaddress

import pytest

from controller.calc.membership import members
from controller.model import Action, Block, Change, DomainName, Peer, Policy, ResolvedName, Rule, Service, Tier
from controller.pipeline.flow import Reason
from controller.pipeline.packet import ROUTER_MAC
from controller.pipeline.program import program
from controller.world import World
from tests.pure import worlds
from tests.pure.softswitch import send


def firewall(*rules: Rule) -> Change:
    return worlds.policy(Policy(1, "a/default", worlds.TENANT_A, Tier.FIREWALL, 1, 0, None, (), None, rules))


def rule(action: Action, *peers: Peer, services: tuple[Service, ...] | None = None) -> Rule:
    return Rule("", action, peers, services)


def block(cidr: str) -> Block:
    found = ipaddress.ip_network(cidr)
    return Block(found.version, int(found.network_address), found.prefixlen)


def outcome(world: World, source: int, to: str, port: int = 443) -> Reason | None:
    """Why a TCP packet to an address outside is dropped; as yet there is no way out."""
    endpoint, address = world.endpoints[source], ipaddress.ip_address(to)
    prefix = "ip" if address.version == 4 else "ipv6"
    packet = {
        "in_port": endpoint.ofport,
        "eth_src": endpoint.mac,
        "eth_dst": ROUTER_MAC,
        "eth_type": 0x0800 if address.version == 4 else 0x86DD,
        f"{prefix}_src": endpoint.addresses[0 if address.version == 4 else 1].value,
        f"{prefix}_dst": int(address),
        "ip_proto": 6,
        "tcp_src": 40000,
        "tcp_dst": port,
        "nw_ttl": 64,
    }
    return send(program(world, members(world, endpoint.host)), packet).reason


PASSED = Reason.NO_ROUTE
NAMED = Change("name", 1, ResolvedName(1, "www.example.org", ((4, int(ipaddress.ip_address("203.0.113.7"))),)))


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("192.0.2.10", PASSED),
        ("192.0.2.77", Reason.EGRESS_FIREWALL),
        ("203.0.113.7", PASSED),
        ("203.0.113.8", Reason.EGRESS_FIREWALL),
        ("2001:db8::1", PASSED),
    ],
)
def test_the_first_rule_that_fits_decides(to: str, expected: Reason) -> None:
    rules = (
        rule(Action.DENY, block("192.0.2.77/32")),
        rule(Action.ACCEPT, block("192.0.2.0/24")),
        rule(Action.ACCEPT, DomainName("*.example.org")),
        rule(Action.DENY, block("0.0.0.0/0")),
    )
    world = worlds.world(*worlds.two_tenants(), NAMED, firewall(*rules))
    assert outcome(world, 101, to) is expected
    assert outcome(world, 201, to) is PASSED, "another tenant's rules are its own"


def test_a_name_counts_for_what_it_stands_for_now() -> None:
    rules = (rule(Action.DENY, DomainName("www.example.org")),)
    world = worlds.world(*worlds.two_tenants(), firewall(*rules))
    assert outcome(world, 101, "203.0.113.7") is PASSED
    assert outcome(world.apply(2, [NAMED]), 101, "203.0.113.7") is Reason.EGRESS_FIREWALL


def test_ports_narrow_a_rule() -> None:
    rules = (rule(Action.DENY, block("0.0.0.0/0"), services=(Service(6, 8000, 8010),)),)
    world = worlds.world(*worlds.two_tenants(), firewall(*rules))
    assert outcome(world, 101, "192.0.2.10", port=7999) is PASSED
    assert outcome(world, 101, "192.0.2.10", port=8005) is Reason.EGRESS_FIREWALL


def test_a_thousand_rules_are_a_thousand_flows_on_hosts_of_the_tenant_only() -> None:
    rules = tuple(rule(Action.DENY, Block(4, 0xC6336400 + number, 32)) for number in range(1000))
    without = worlds.world(*worlds.two_tenants(), Change("endpoint", 103, None))
    world = without.apply(2, [firewall(*rules)])
    grown = {
        host: len(program(world, members(world, host)) - program(without, members(without, host))) for host in (1, 2, 3)
    }
    assert grown == {1: 1000, 2: 1000, 3: 0}
