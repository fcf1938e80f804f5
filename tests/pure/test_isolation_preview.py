"""What a change of isolation is said to do is what the judge says of every connection, whatever policies say."""

from __future__ import annotations

from itertools import combinations, product
from random import Random

import pytest

from controller.calc.judge import Asked, judge
from controller.calc.policy_preview import openings
from controller.calc.preview import Difference, Effort, differences
from controller.calc.reach import Reach
from controller.model import Action, Block, Change, Direction, Members, Network, Policy, Rule, Service, Tier
from controller.watch import difference
from controller.world import World
from tests.policies import case, policies_of
from tests.pure import worlds
from tests.pure.test_policy_preview import MESSAGES, PORTS, covers
from tests.pure.test_preview import objects
from tests.sites import Plan

IN, OUT = Direction.INGRESS, Direction.EGRESS
ANYBODY = (Members((), ()),)
WEB = Service(6, 80, 80)


def turned(random: Random, plan: Plan) -> Plan:
    """The plan with other zones, peerings and mode."""
    private = {segment.tenant for segment in plan.networks.values() if segment.private}
    zones = {id: id if id in private else random.choice((id, id, min(plan.zones), 0)) for id in plan.zones}
    open_tenants = [id for id in zones if id not in private]
    peerings = [two for two in combinations(open_tenants, 2) if random.randrange(3) == 0]
    return plan._replace(zones=zones, peerings=peerings, flat=random.randrange(3) == 0)


def spelled_out(world: World, name: str) -> list[str]:
    """The endpoints that a row means by `t1/*`, `n10`, `n10/*` or `e101`."""
    whole = name.removesuffix("/*")
    found = []
    for endpoint in world.endpoints.values():
        network: Network = world.networks[endpoint.network]
        tenant = world.tenants[network.tenant].name
        if name in (endpoint.name, network.name) or (name != whole and whole in (network.name, tenant)):
            found.append(endpoint.name)
    return found


@pytest.mark.parametrize("seed", range(60))
def test_every_connection_that_turns_is_told_and_no_other(seed: int) -> None:
    random = Random(seed)
    drawn = case(random)
    policies = list(map(worlds.policy, policies_of(drawn.before, drawn.plan)))
    old = World().apply(1, [*drawn.plan.changes(), *policies])
    wanted = World().apply(1, [*turned(random, drawn.plan).changes(), *policies])
    changes = difference(old, [*objects(wanted), *policies])
    new = old.apply(2, changes)
    assert not list(openings(old, new, changes, Effort(10**6))), "policies are the same"
    told: dict[tuple[str, str], list[Difference]] = {}
    for row in differences(old, new, changes, Effort(10**6)):
        for pair in product(spelled_out(new, row.source), spelled_out(new, row.destination)):
            told.setdefault(pair, []).append(row)
    agree(old, new, told)


def agree(old: World, new: World, told: dict[tuple[str, str], list[Difference]]) -> None:
    for source, destination in product(new.endpoints.values(), repeat=2):
        if source.id == destination.id:
            continue
        rows = told.get((source.name, destination.name), [])
        for version, protocol in ((4, 1), (6, 58), *product((4, 6), (6, 17, 132))):
            for port in MESSAGES if protocol in (1, 58) else PORTS:
                asked = Asked(version, protocol, port)
                ends = [(world, world.endpoints[source.id], world.endpoints[destination.id]) for world in (old, new)]
                before, after = (judge(*its, asked)[-1].allowed for its in ends)
                said = [row.after.allowed for row in rows if row.service is None or covers(row.service, asked)]
                assert said == ([after] if before != after else []), (source, destination, asked, rows)


@pytest.mark.parametrize("seed", range(30))
def test_policies_and_isolation_that_change_at_once_are_told_once(seed: int) -> None:
    random = Random(1000 + seed)
    drawn = case(random)
    old = World().apply(1, [*drawn.plan.changes(), *map(worlds.policy, policies_of(drawn.before, drawn.plan))])
    wanted = list(map(worlds.policy, policies_of(drawn.after, drawn.plan)))
    after = World().apply(1, [*turned(random, drawn.plan).changes(), *wanted])
    changes = difference(old, [*objects(after), *wanted])
    new = old.apply(2, changes)
    told: dict[tuple[str, str], list[Difference]] = {}
    for row in differences(old, new, changes, Effort(10**6)):
        for pair in product(spelled_out(new, row.source), spelled_out(new, row.destination)):
            told.setdefault(pair, []).append(row)
    for opening in openings(old, new, changes, Effort(10**6)):
        row = Difference(opening.source, opening.destination, Reach(opening.allowed, ""), opening.service)
        told.setdefault((opening.source, opening.destination), []).append(row)
    agree(old, new, told)


def words(*more: Change) -> list[str]:
    """Of a join of tenants A and B, of whom each has an endpoint on three hosts."""
    old = worlds.world(*worlds.two_tenants(), *more)
    join = [worlds.tenant(2, zone=1), worlds.network(worlds.NETWORK_B, 2, zone=1)]
    return [str(row) for row in differences(old, old.apply(2, join), join, Effort(10**6))]


def policy(ingress: tuple[Rule, ...], endpoints: tuple[object, ...] = ()) -> Change:
    its = Policy(1, "t2/lock", worlds.TENANT_B, Tier.TENANT, 1, 0, None, endpoints, ingress, None)  # type: ignore[arg-type]
    return worlds.policy(its)


JOINED = "denied -> allowed, t1 and t2 are joined"


def test_what_a_policy_denies_anyway_is_not_said_to_become_allowed() -> None:
    assert words(policy(())) == [f"t2/* -> t1/*: {JOINED}"]


def test_a_policy_about_all_endpoints_needs_one_line() -> None:
    assert words(policy((Rule("", Action.ACCEPT, ANYBODY, (WEB,)),))) == [
        f"t1/* -> t2/* tcp/80: {JOINED}",
        f"t2/* -> t1/*: {JOINED}",
    ]


def test_where_endpoints_differ_they_are_named_and_the_other_network_as_a_whole() -> None:
    rule = Rule("", Action.ACCEPT, (Block(4, 0x0A0A000B, 32), Block(6, 0, 0)), None)  # e101 over IPv4
    assert words(policy((rule,))) == [
        f"e101 -> n11/* everything: {JOINED}",
        *(f"e10{n} -> n11/* everything over IPv6: {JOINED}" for n in (2, 3)),
        f"t2/* -> t1/*: {JOINED}",
    ]


def test_with_too_little_effort_only_what_needs_none_is_told() -> None:
    old = worlds.world(*worlds.two_tenants(), policy(()))
    join = [worlds.tenant(2, zone=1), worlds.network(worlds.NETWORK_B, 2, zone=1)]
    effort = Effort(0)
    assert [str(row) for row in differences(old, old.apply(2, join), join, effort)] == [f"t2/* -> t1/*: {JOINED}"]
    assert effort.spent
