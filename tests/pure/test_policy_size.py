"""Large policies and many of them: what they say stays the same, and what they cost is theirs alone."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from controller.calc.engine import Engine
from controller.calc.membership import members
from controller.model import Action, Members, NamedPort, Policy, Requirement, Rule, Service, Tier
from controller.openflow.encode import encode
from controller.pipeline import policy as judges
from controller.pipeline.flow import Conjunction, Flow, Item
from controller.pipeline.program import fragment, program
from controller.world import World
from tests.oracle import Question
from tests.pure import worlds
from tests.pure.fabric import Fabric, untracked


def app(*names: str) -> tuple[Requirement, ...]:
    return (Requirement("app", "In", names),)


def site(*rules: Rule) -> World:
    """Three databases that can be told apart, a web endpoint and another one; all of one tenant, on one host."""
    policy = Policy(1, "p1", 1, Tier.TENANT, 1, 0, None, (Requirement("db", "Exists"),), rules, None)
    return worlds.world(
        *(worlds.tenant(1), worlds.network(10, 1), worlds.host(1)),
        *(worlds.endpoint(100 + n, 10, 1, 10 + n, labels=(("db", str(n)),)) for n in (1, 2, 3)),
        worlds.endpoint(110, 10, 1, 20, labels=(("app", "web"),)),
        worlds.endpoint(111, 10, 1, 21, labels=(("app", "api"),)),
        worlds.policy(policy),
    )


def ports(*numbers: int) -> tuple[Service, ...]:
    return tuple(Service(6, number, number) for number in numbers)


def passes(fabric: Fabric, source: str, port: int) -> bool:
    return fabric.ask(Question(source, "e102", "tcp", port), untracked((1,)))


def test_a_policy_of_thousands_of_rules_can_be_said_to_a_switch() -> None:
    """Each of its subjects is a part of each rule."""
    world = site(*(Rule("", Action.ACCEPT, None, ports(n, 20_000 + n, 40_001 + 2 * n)) for n in range(1, 4_001)))
    items = program(world, members(world, 1))
    flows = [item for item in items if isinstance(item, Flow)]
    assert max(sum(isinstance(one, Conjunction) for one in flow.actions) for flow in flows) == judges.MOST_CONJUNCTIONS
    assert all(encode(flow).message for flow in flows)
    fabric = Fabric(world)
    assert all(passes(fabric, "e110", port) for port in (1, 24_000, 40_003, 48_001))
    assert not any(passes(fabric, "e110", port) for port in (4_001, 20_000, 40_004, 48_003))


def test_the_rules_of_a_policy_are_told_apart_however_many_there_are() -> None:
    def rule(whom: str, *numbers: int) -> Rule:
        return Rule("", Action.ACCEPT, (Members(None, app(whom)),), ports(*numbers))

    rules = [Rule("", Action.ACCEPT, (), None)] * 70_001
    place = 70_000 & 0xFFFF
    rules[place], rules[70_000] = rule("web", 80, 81, 82, 83, 84), rule("api", 90, 91, 92, 93, 94)
    fabric = Fabric(site(*rules))
    assert [passes(fabric, source, port) for source in ("e110", "e111") for port in (80, 90)] == [
        *(True, False),
        *(False, True),
    ]


def test_new_endpoints_concern_no_rule_that_asks_others_for_a_port_by_its_name() -> None:
    """A hundred tenants each ask their own `dns` for a port by its name; another one's has the name, too."""
    tenants = range(1, 101)
    asks = Rule("", Action.ACCEPT, (Members(None, app("dns")),), (Service(17, name="dns"),))
    dns = (NamedPort("dns", 17, 5353),)
    world = worlds.world(
        worlds.host(1),
        *(worlds.tenant(id) for id in (*tenants, 200)),
        *(worlds.network(1000 + id, id, third=id) for id in (*tenants, 200)),
        *(worlds.endpoint(100 + id, 1000 + id, 1, 10, third=id, labels=(("app", "dns"),), ports=dns) for id in tenants),
        *(worlds.policy(Policy(id, f"p{id}", id, Tier.TENANT, 1, 0, None, (), None, (asks,))) for id in tenants),
    )
    engine: Engine[Item] = Engine(world, fragment)
    engine.attach(1)
    new = worlds.endpoint(900, 1200, 1, 10, third=200, labels=(("app", "dns"),), ports=dns)
    engine.advance(world.apply(2, [new]), [new])
    assert engine.work.fragments == len({"network", "zone", "tenant", "local"})
    other = worlds.endpoint(150, 1050, 1, 10, third=50, labels=(("app", "dns"),), ports=(NamedPort("dns", 17, 53),))
    engine.advance(engine.world.apply(3, [other]), [other])
    assert engine.work.fragments < 10, "its own tenant's policy reads differently, and no other does"
    has = {item for _, items in engine.program(1) for item in items}
    assert has == program(engine.world, members(engine.world, 1))


@pytest.mark.parametrize("peers", [None, (Members((), ()),), (Members((), app("dns")),)])
def test_whoever_may_be_meant_is_asked_for_the_port_that_he_has(peers: tuple[Members, ...] | None) -> None:
    asks = Rule("", Action.ACCEPT, peers, (Service(6, name="dns"),))
    world = worlds.world(
        *(worlds.tenant(1), worlds.tenant(2, zone=0), worlds.network(10, 1), worlds.network(11, 2, zone=0)),
        *(worlds.host(1), worlds.endpoint(101, 10, 1, 11)),
        worlds.policy(Policy(1, "p1", 1, Tier.TENANT, 1, 0, None, (), None, (asks,))),
    )
    engine: Engine[Item] = Engine(world, fragment)
    switch = set(engine.attach(1))
    for number in (53, 5353):
        ends = (NamedPort("dns", 6, number),)
        new = worlds.endpoint(201, 11, 1, 11, labels=(("app", "dns"),), ports=ends)
        for delta in engine.advance(engine.world.apply(number, [new]), [new]).values():
            switch = switch - set(delta.removed) | set(delta.added)
        assert switch == program(engine.world, members(engine.world, 1))
        fabric = Fabric(engine.world)
        questions = [Question("e101", "e201", "tcp", port) for port in (53, 5353)]
        assert [fabric.ask(one, untracked((1,))) for one in questions] == [number == 53, number == 5353]


def test_who_plans_a_policy_while_another_thread_does_gets_his_own() -> None:
    """The API previews changes in many threads; between any two lines of one another may do the same."""
    world = site(Rule("", Action.ACCEPT, None, None))
    other = world.apply(2, [worlds.policy(world.policies[1]._replace(ingress=(), egress=()))])

    def interrupt(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code is judges._plans.__code__:
            judges._plans(other, other.policies[1])
            return interrupt
        return None

    before = sys.gettrace()
    sys.settrace(interrupt)
    try:
        found = judges._plans(world, world.policies[1])
    finally:
        sys.settrace(before)
    assert len(found) == 1
