"""An open connection remembers which rules admitted it, at each end whom a policy is about, and the agent reads it."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import HealthCheck, Phase, given, settings

from controller.calc.judge import Asked, End, decide, judge
from controller.mark import mark
from controller.model import Action, Change, Direction, Members, Policy, Rule, Service, Tier
from controller.world import World
from ovs_agent.conntrack import Admitted, parse
from tests.oracle import Question
from tests.policies import Case, cases, policies_of, questions
from tests.pure import worlds
from tests.pure.fabric import Fabric, Tracked, untracked
from tests.sites import HOSTS, PROTOCOLS

IN, OUT = Direction.INGRESS, Direction.EGRESS
EVERYBODY = (Members((), ()),)
WEB, DB = Service(6, 80, 80), Service(6, 5432, 5432)


def admitted(tracked: Tracked) -> Counter[Admitted]:
    """As the agents of all hosts count together; Open vSwitch leaves out a label of 0."""
    found: Counter[Admitted] = Counter()
    for connections in tracked.values():
        lines = (f"tcp,zone={zone}" + (f",labels={label:#x}" if label else "") for zone, label in connections.labels())
        found += parse("\n".join(lines))
    return found


def accepting(*services: Service) -> tuple[Rule, ...]:
    return tuple(Rule("", Action.ACCEPT, EVERYBODY, (service,)) for service in services)


def cluster(ingress: tuple[Rule, ...], egress: tuple[Rule, ...]) -> Policy:
    return Policy(9, "wall", 0, Tier.ADMIN, 1, 5, (), (), ingress, egress)


def between(world: World, source: str, destination: str, port: int = 80) -> Counter[Admitted]:
    fabric, tracked = Fabric(world), untracked((1, 2, 3))
    for number in range(3):
        asked = Question(source, destination, "tcp", port, 0, 4, 40_000 + number)
        assert fabric.ask(asked, tracked) and fabric.answer(asked, tracked)
    return admitted(tracked)


def test_each_connection_counts_for_the_rule_that_accepted_it() -> None:
    policy = Policy(1, "a/p", worlds.TENANT_A, Tier.TENANT, 1, 0, None, (), accepting(WEB, DB), None)
    world = worlds.world(*worlds.two_tenants(), worlds.policy(policy))
    second = mark(1, IN, accepting(DB)[0])
    assert between(world, "e101", "e102", 5432) == {Admitted(worlds.TENANT_A, "ingress", second): 3}


def test_between_two_tenants_on_one_host_a_rule_counts_once() -> None:
    world = worlds.world(
        *worlds.two_tenants(),
        worlds.peering(1, worlds.TENANT_A, worlds.TENANT_B),
        worlds.endpoint(111, worlds.NETWORK_A, 1, 99),
        worlds.policy(cluster(accepting(WEB), accepting(WEB))),
    )
    rule = accepting(WEB)[0]
    for destination, tenant in (("e201", worlds.TENANT_B), ("e202", worlds.TENANT_B), ("e111", worlds.TENANT_A)):
        assert between(world, "e101", destination) == {
            Admitted(worlds.TENANT_A, "egress", mark(9, OUT, rule)): 3,
            Admitted(tenant, "ingress", mark(9, IN, rule)): 3,
        }, destination


def test_a_mark_follows_the_rule_and_not_its_place() -> None:
    web, db = accepting(WEB, DB)
    marks = {mark(policy, way, rule) for policy in (1, 2) for way in Direction for rule in (web, db)}
    assert len(marks) == 8 and 0 not in marks
    before = Policy(1, "a/p", worlds.TENANT_A, Tier.TENANT, 1, 0, None, (), (web, db), None)
    world = worlds.world(*worlds.two_tenants(), worlds.policy(before))
    after = world.apply(2, [worlds.policy(before._replace(ingress=(db, web), version=2))])
    assert between(world, "e101", "e102") == between(after, "e101", "e102")


def test_what_ended_is_not_open() -> None:
    line = "tcp,orig=(src=10.0.0.1),zone=7,labels=0x{label:x},protoinfo=(state_orig={0},state_reply={1},flags_orig=0)"
    label = 7 << 64 | 5 << 32 | 9
    states = [("SYN_SENT", "CLOSED"), ("ESTABLISHED", "ESTABLISHED"), ("FIN_WAIT_2", "ESTABLISHED")]
    open_ones = [line.format(*both, label=label) for both in states]
    ended = [("FIN_WAIT_2", "FIN_WAIT_2"), ("TIME_WAIT", "TIME_WAIT"), ("FIN_WAIT_2", "CLOSING")]
    said = "\n".join([*open_ones, *(line.format(*both, label=label) for both in ended)])
    assert parse(said) == {Admitted(7, "egress", 9): 3, Admitted(7, "ingress", 5): 3}
    assert parse("udp,orig=(src=10.0.0.1),zone=7,labels=0x9\nudp,orig=(src=10.0.0.1),zone=8\n") == {
        Admitted(7, "egress", 9): 1
    }


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(cases())
def test_the_rules_that_are_noted_are_those_that_the_model_names(case: Case) -> None:
    plan = case.plan
    policies = policies_of(case.before, plan)
    world = World().apply(1, [*plan.changes(), *map(worlds.policy, policies)])
    fabric = Fabric(world)
    by_mark = {
        mark(policy.id, way, rule): (policy, way, rule)
        for policy in policies
        for way in Direction
        for rule in policy.rules(way) or ()
    }
    for question in questions(Random(case.seed), plan, case.before, 12):
        source, destination = (world.endpoints[int(end[1:])] for end in (question.source, question.destination))
        icmp = question.protocol in ("icmp", "icmpv6")
        port = question.port << 8 | question.code if icmp else question.port
        asked = Asked(question.version, PROTOCOLS[question.protocol], port)
        tracked = untracked(HOSTS)
        if not fabric.ask(question, tracked):
            continue
        found = admitted(tracked)
        said = {Direction[d.stage.upper()]: d for d in judge(world, source, destination, asked)[1:]}
        for way, decision in said.items():
            its = [(its, count) for its, count in found.items() if its.direction == way.name.lower()]
            if decision.policy is None:
                assert not its, f"{its} under {case.before}"
                continue
            ((one, count),) = its
            assert count == 1
            policy, direction, rule = by_mark[one.mark]
            assert direction is way and policy.tier is decision.policy.tier
            alone: list[Change] = [Change("policy", p.id, None) for p in policies if p.tier is policy.tier]
            only = (rule,)
            alone.append(
                worlds.policy(policy._replace(**{"ingress" if way is IN else "egress": only}))  # type: ignore[arg-type]
            )
            ends = (End.of(world, end, asked.version) for end in (source, destination))
            again = decide(world.apply(2, alone), way, *ends, asked)
            assert again.allowed and again.rule == 0, f"{question} was not for {rule} under {case.before}"
