"""What the model says of addresses outside, held against what the flows do."""

from __future__ import annotations

import ipaddress
from itertools import product
from random import Random

import pytest

from controller.calc.explain import Fate
from controller.calc.judge import Asked, End, decide
from controller.calc.membership import members
from controller.calc.outside import explain_outside, judge_outside, packet_outside
from controller.model import Action, Block, Change, Direction, Members, Network, Rule, Service
from controller.pipeline.flow import Kind, Reason
from controller.pipeline.packet import GATEWAY_OFPORT, TRANSIT
from controller.pipeline.program import program
from controller.pipeline.stages import Stage
from tests.policies import case, policies_of
from tests.pure import worlds
from tests.pure.connections import Connections
from tests.pure.softswitch import Switch
from tests.pure.test_firewall import block, firewall, rule
from tests.pure.test_gateway import FAR, Host, entering, leaving, policy

HTTPS = Asked(4, 6, 443)
ADDRESS = int(ipaddress.ip_address(FAR[4]))
TO_FAR = Block(4, 198 << 24 | 51 << 16 | 100 << 8, 24)


def egress(*rules: Rule) -> Change:
    return policy(Direction.EGRESS, rules)


@pytest.mark.parametrize(
    ("changes", "stage", "allowed", "words"),
    [
        ((), "egress", True, "as no egress policy decides"),
        (
            (worlds.network(worlds.NETWORK_A, worlds.TENANT_A, third=7, private=True),),
            "outbound",
            False,
            "as network n10 is closed to the outside",
        ),
        (
            (firewall(rule(Action.DENY, block("198.51.100.0/24"))),),
            "firewall",
            False,
            "by policy a/default egress rule 1",
        ),
        ((firewall(rule(Action.DENY, block("203.0.113.0/24"))),), "egress", True, "as no egress policy decides"),
        ((egress(Rule("", Action.ACCEPT, (TO_FAR,), None)),), "egress", True, "by policy a/p egress rule 1"),
        ((egress(Rule("", Action.ACCEPT, (TO_FAR,), (Service(6, 80, 80),))),), "egress", False, "no egress rule"),
        ((egress(Rule("", Action.ACCEPT, (Members(None, ()),), None)),), "egress", False, "no egress rule"),
        ((egress(Rule("", Action.ACCEPT, (Members((), ()),), None)),), "egress", False, "no egress rule"),
        ((egress(Rule("", Action.ACCEPT, None, None)),), "egress", True, "by policy a/p egress rule 1"),
    ],
)
def test_the_model_and_the_flows_agree(changes: tuple[Change, ...], stage: str, allowed: bool, words: str) -> None:
    host = Host(*worlds.outbound(), *changes)
    source = host.world.endpoints[101]
    decisions = judge_outside(host.world, source, ADDRESS, HTTPS)
    assert (decisions[-1].stage, decisions[-1].allowed) == (stage, allowed) and words in decisions[-1].reason
    sent = host.send({match.field: match.value for match in packet_outside(source, ADDRESS, HTTPS)})
    fate = Fate(sent.path[-1], 0 if sent.reason is None else (Kind.DROP + sent.reason) << 48, frozenset(sent.ports))
    said = explain_outside(host.world, source, decisions, fate)
    assert (said.agreement, said.hosts[0].allowed) == ("confirmed", allowed), said


@pytest.mark.parametrize("seed", range(40))
def test_the_model_and_the_flows_agree_about_random_policies_both_ways(seed: int) -> None:
    drawn = case(Random(seed))
    changes = [
        change._replace(value=change.value._replace(outbound=True)) if isinstance(change.value, Network) else change
        for change in drawn.plan.changes()
    ]
    world = worlds.world(*changes, *map(worlds.policy, policies_of(drawn.before, drawn.plan)))
    for endpoint in world.endpoints.values():
        switch = Switch(program(world, members(world, endpoint.host)))
        own = End.of(world, endpoint, 4), End.of(world, endpoint, 6)
        for text, port in product(("10.99.0.9", "198.51.100.7", "fd00:99::9", "2001:db8::7"), (53, 80, 5432)):
            address = ipaddress.ip_address(text)
            asked = Asked(address.version, 6, port)
            out = switch.send(leaving(world, endpoint, text, port, 40_000), Connections())
            goes = judge_outside(world, endpoint, int(address), asked)[-1]
            assert (out.port == GATEWAY_OFPORT) == goes.allowed, (seed, endpoint.name, asked, out.path, goes)
            called = TRANSIT[address.version] | endpoint.ofport
            came = switch.send(entering(int(address), called, 50_000, port, address.version == 6), Connections())
            comes = decide(world, Direction.INGRESS, End(None, int(address)), own[address.version == 6], asked)
            assert (came.port == endpoint.ofport) == comes.allowed, (seed, endpoint.name, asked, came.path, comes)


def test_what_a_switch_does_instead_is_said() -> None:
    host = Host(*worlds.outbound())
    source = host.world.endpoints[101]
    decisions = judge_outside(host.world, source, ADDRESS, HTTPS)
    for fate, words in (
        (Fate(Stage.WAY_OUT, (Kind.DROP + Reason.NO_ROUTE) << 48), "drops it in WAY_OUT (no route)"),
        (Fate(0, 0, frozenset({7})), "sends it by port 7, not outside"),
    ):
        said = explain_outside(host.world, source, decisions, fate)
        assert (said.agreement, said.hosts[0].words) == ("disagreement", words)
        assert said.remarks == ["By the model h1 should send it out."]
    silent = explain_outside(host.world, source, decisions, Fate(trouble="it does not answer"))
    assert silent.agreement == "unconfirmed" and GATEWAY_OFPORT == 2
    no_ipv4 = source._replace(addresses=source.addresses[1:])
    assert judge_outside(host.world, no_ipv4, ADDRESS, HTTPS)[-1].stage == "address"
    assert not packet_outside(no_ipv4, ADDRESS, HTTPS)
