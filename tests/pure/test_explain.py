"""The model's answer is held against what switches say: they agree as long as flows are the model's, and not else."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from controller.calc.explain import Explanation, Fate, decide, explain, packets
from controller.calc.judge import PROTOCOLS, Asked, Decision
from controller.calc.membership import members
from controller.model import Action, Block, Direction, Endpoint, Members, Policy, Rule, Tier, ip_address
from controller.pipeline.flow import Kind, Match, Reason
from controller.pipeline.program import program
from controller.pipeline.stages import Stage
from controller.transport import TUNNEL_OFPORTS
from controller.transport.vxlan import VXLAN
from controller.world import World
from tests.policies import Case, cases, policies_of
from tests.pure import worlds
from tests.pure.connections import NEW, TRACKED
from tests.pure.softswitch import Always, Outcome, Switch
from tests.sites import HOSTS, PORTS

PAIRS = 30
SSH = Asked(4, 6, 22)
A1, A2, A3, B1, B2 = 101, 102, 103, 201, 202


def switches(world: World) -> dict[int, Switch]:
    return {host: Switch(program(world, members(world, host))) for host in world.hosts}


def fate(outcome: Outcome) -> Fate:
    """What a switch would say of it."""
    owner = Kind.BASE if outcome.reason is None else Kind.DROP + outcome.reason
    ports = frozenset() if outcome.port is None else frozenset({outcome.port})
    tunnel = str(ip_address(4, outcome.packet["tun_dst"])) if TUNNEL_OFPORTS & ports else None
    return Fate(outcome.path[-1], owner << 48 | 0xABC, ports, tunnel)


def told(world: World, fabric: dict[int, Switch], source: Endpoint, destination: Endpoint, asked: Asked) -> Explanation:
    """The explanation by switches that have the programs of `fabric`."""
    fates = {
        host: fate(fabric[host].send({field.field: field.value for field in packet}, Always(TRACKED | NEW)))
        for host, packet in packets(world, source, destination, asked).items()
    }
    return explain(world, source, destination, decide(world, source, destination, asked), fates)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(cases())
def test_the_models_own_flows_always_agree_with_it(case: Case) -> None:
    random = Random(case.seed)
    policies = map(worlds.policy, policies_of(case.before, case.plan))
    world = World().apply(1, [*case.plan.changes(), *policies])
    fabric = switches(world)
    ends = [pair for pair in product(world.endpoints.values(), repeat=2) if pair[0] != pair[1]]
    for source, destination in random.sample(ends, min(PAIRS, len(ends))):
        protocol = random.choice([6, 6, 17, 132, 1, 58])
        version = {1: 4, 58: 6}.get(protocol, random.choice((4, 6)))
        port = {1: 8 << 8, 58: 128 << 8}.get(protocol, random.choice(PORTS))
        said = told(world, fabric, source, destination, Asked(version, protocol, port))
        assert said.agreement == "confirmed", f"{source.name} {destination.name} {PROTOCOLS[protocol]} {port}: {said}"
        assert said.allowed == (said.hosts[-1].reason == "delivered")


def test_flows_of_another_world_disagree_where_it_differs() -> None:
    world, other = worlds.world(*worlds.two_tenants()), worlds.world(*worlds.joined())
    a1, b1, b2 = (world.endpoints[id] for id in (A1, B1, B2))
    for destination in (b1, b2):
        said = told(world, switches(other), a1, destination, SSH)
        assert (said.allowed, said.agreement) == (False, "disagreement")
        assert said.hosts[0].agrees is False
        assert "By the model h1 should drop it (tenant isolation)." in said.remarks
    followed = told(world, switches(other), a1, b2, SSH)
    assert [(heard.host.name, heard.agrees) for heard in followed.hosts] == [("h1", False), ("h2", None)]

    said = told(other, switches(world), a1, b2, SSH)
    assert (said.allowed, said.agreement) == (True, "disagreement")
    assert said.remarks == ["By the model h1 should send it to h2."]


def test_whom_a_host_knows_nothing_of_may_meet_the_firewall_for_those_outside() -> None:
    everyone = [change for change in worlds.two_tenants() if change.id not in (B1, A2)]
    outside = Rule("", Action.DENY, (Block(4, 0, 0),), None)
    wall = Policy(1, "t1/default", worlds.TENANT_A, Tier.FIREWALL, 1, 0, None, (), None, (outside,))
    without, walled = (worlds.world(*everyone, *policies) for policies in ([], [worlds.policy(wall)]))
    for world, flows, reason, agrees, agreement in (
        (without, without, "no_route", True, "confirmed"),
        (walled, walled, "egress_firewall", None, "unconfirmed"),
        (without, walled, "egress_firewall", False, "disagreement"),
    ):
        said = told(world, switches(flows), world.endpoints[A1], world.endpoints[B2], SSH)
        assert (said.allowed, said.agreement) == (False, agreement)
        assert [(heard.host.name, heard.reason, heard.agrees) for heard in said.hosts] == [("h1", reason, agrees)]
    assert told(walled, switches(walled), walled.endpoints[A1], walled.endpoints[B2], SSH).remarks == [
        "h1 takes it for an address outside, as where nobody of t2 is; isolation is not asked."
    ]


def answers(**fates: Fate) -> Explanation:
    """Of a2's host and a3's, when a2 calls a3, which the model allows."""
    world = worlds.world(*worlds.two_tenants())
    a2, a3 = world.endpoints[A2], world.endpoints[A3]
    return explain(world, a2, a3, decide(world, a2, a3, SSH), {int(name[1:]): its for name, its in fates.items()})


SENT = Fate(Stage.OUTPUT, Kind.HOST << 48, frozenset({VXLAN.port.ofport}), "198.18.0.3")
DELIVERED = Fate(Stage.OUTPUT, Kind.BASE << 48, frozenset({1000 + A3}))
SILENT = Fate(trouble="its agent has not answered within 5 s")


def test_an_answer_is_told_in_words() -> None:
    said = answers(h2=SENT, h3=DELIVERED)
    assert said.agreement == "confirmed"
    assert said.words[-2:] == ["h2 sends it to h3.", "h3 delivers it."]


@pytest.mark.parametrize(
    ("at_h3", "reason", "words"),
    [
        (
            Fate(Stage.INGRESS_TENANT, (Kind.DROP + Reason.INGRESS_POLICY) << 48),
            "ingress_policy",
            "drops it in INGRESS_TENANT (ingress policy)",
        ),
        (Fate(Stage.ADMIT, 0), "foreign_flow", "drops it in ADMIT (foreign flow)"),
        (Fate(8, 0), "foreign_flow", "drops it in 8 (foreign flow)"),
        (Fate(Stage.CLASSIFY, None), "no_flow", "drops it in CLASSIFY (no flow)"),
        (Fate(Stage.ADMIT, Kind.ZONE << 48), "no_output", "drops it in ADMIT (no output)"),
        (Fate(0, 0, frozenset({7})), "sent by port 7", "sends it by port 7, not to e103"),
        (Fate(0, 0, frozenset({1}), "198.18.0.9"), "sent to 198.18.0.9", "sends it to 198.18.0.9, not to e103"),
    ],
)
def test_whatever_a_switch_does_instead_is_a_disagreement(at_h3: Fate, reason: str, words: str) -> None:
    said = answers(h2=SENT, h3=at_h3)
    assert said.agreement == "disagreement"
    assert (said.hosts[1].allowed, said.hosts[1].reason, said.hosts[1].words) == (False, reason, words)
    assert said.remarks == ["By the model h3 should deliver it."]


def test_a_drop_for_the_right_reason_in_the_wrong_tier_is_a_disagreement() -> None:
    world = worlds.world(*worlds.two_tenants(), worlds.tenant(1, default_deny=frozenset({Direction.EGRESS})))
    a1, a2 = world.endpoints[A1], world.endpoints[A2]
    decisions = decide(world, a1, a2, SSH)
    cookie = (Kind.DROP + Reason.EGRESS_POLICY) << 48
    for stage, agreement in ((Stage.EGRESS_TENANT, "confirmed"), (Stage.EGRESS_ADMIN, "disagreement")):
        assert explain(world, a1, a2, decisions, {1: Fate(stage, cookie)}).agreement == agreement


def test_a_drop_by_a_rule_of_the_clusters_names_the_rule() -> None:
    everybody = (Members((), ()),)
    rules = Rule("ssh", Action.PASS, everybody, ()), Rule("no-ssh", Action.DENY, everybody, None)
    wall = Policy(1, "wall", 0, Tier.ADMIN, 1, 5, (), (), None, rules)
    world = worlds.world(*worlds.two_tenants(), worlds.policy(wall))
    said = told(world, switches(world), world.endpoints[A1], world.endpoints[A2], SSH)
    assert (said.agreement, [heard.words for heard in said.hosts]) == (
        "confirmed",
        ["drops it in EGRESS_ADMIN (egress policy: by the model policy wall egress rule 2 (no-ssh))"],
    )


def test_what_is_lost_after_the_flows_is_told_and_is_no_disagreement() -> None:
    said = answers(h2=SENT._replace(trouble="native tunnel routing failed"), h3=DELIVERED)
    assert said.agreement == "confirmed"
    assert said.hosts[0].words == "sends it to h3, where it is lost: native tunnel routing failed"


def test_without_an_answer_nothing_is_confirmed_but_a_disagreement_is_seen() -> None:
    said = answers(h2=SILENT, h3=DELIVERED)
    assert (said.agreement, said.remarks) == ("unconfirmed", ["The model's answer stands alone."])
    assert said.hosts[0].words == "cannot be asked: its agent has not answered within 5 s"
    assert [(heard.reason, heard.agrees) for heard in said.hosts] == [("no_answer", None), ("delivered", True)]
    assert answers(h2=SENT, h3=SILENT).agreement == "unconfirmed"
    assert answers(h2=SILENT, h3=Fate(Stage.ADMIT, 0)).agreement == "disagreement"
    assert answers().agreement == "unconfirmed"


def test_no_switch_is_asked_about_what_never_leaves() -> None:
    bare = worlds.endpoint(A2, worlds.NETWORK_A, 2, 12, ipv6=False)
    world = worlds.world(*worlds.two_tenants(), bare)
    a1, a2 = world.endpoints[A1], world.endpoints[A2]
    for source, destination, decision in (
        (a1, a1, Decision("address", True, "as what an endpoint sends to itself never leaves it")),
        (a1, a2, Decision("address", False, "as e102 has no IPv6 address")),
        (a2, a1, Decision("address", False, "as e102 has no IPv6 address")),
    ):
        asked = Asked(6, 6, 22)
        decisions = decide(world, source, destination, asked)
        assert decisions == [decision]
        assert packets(world, source, destination, asked) == {}
        said = explain(world, source, destination, decisions, {})
        assert (said.allowed, said.agreement, said.hosts) == (decision.allowed, "unconfirmed", [])


def test_the_other_host_is_asked_about_the_packet_as_it_comes_out_of_the_tunnel() -> None:
    world = worlds.world(*worlds.two_networks())
    a1, a2 = world.endpoints[101], world.endpoints[112]
    found = packets(world, a1, a2, SSH)
    assert set(found) == {1, 2}
    sent, arrived = ({field.field: field.value for field in found[host]} for host in HOSTS[:2])
    switch = Switch(program(world, members(world, 1)))
    outcome = switch.send(sent, Always(TRACKED | NEW))
    inner = {field: value for field, value in outcome.packet.items() if field in sent and field != "in_port"}
    assert {**inner, "tun_id": outcome.packet["tun_id"], "tun_dst": outcome.packet["tun_dst"]} == {
        field: value for field, value in arrived.items() if field not in ("in_port", "tun_src")
    }
    assert Match("tun_src", world.hosts[1].address[1]) in found[2]  # type: ignore[index]
