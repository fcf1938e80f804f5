"""What goes is told with as many as may open a connection to it, counted one by one by the judge."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest

from controller.calc.gone import Gone, going, reached
from controller.calc.judge import Asked, judge
from controller.calc.preview import Effort
from controller.calc.reach import reach
from controller.model import Change, Direction, Endpoint
from controller.world import World
from tests.policies import case, policies_of
from tests.pure import worlds
from tests.pure.test_policy_preview import MESSAGES, PORTS

ENOUGH = 100_000
SERVICES = [(0, 0), *product((6, 17, 132), PORTS), *product((1, 58), MESSAGES)]


def site(seed: int) -> World:
    drawn = case(Random(seed))
    return World().apply(1, [*drawn.plan.changes(), *map(worlds.policy, policies_of(drawn.before, drawn.plan))])


def may_open(world: World, source: Endpoint, destination: Endpoint) -> bool:
    versions = {a.version for a in source.addresses} & {a.version for a in destination.addresses}
    return any(
        judge(world, source, destination, Asked(version, *service))[-1].allowed
        for version, service in product(versions, SERVICES)
        if service[0] != {4: 58, 6: 1}[version]
    )


@pytest.mark.parametrize("seed", range(12))
def test_as_many_are_counted_as_the_judge_lets_through(seed: int) -> None:
    world = site(seed)
    doomed = sorted(world.endpoints.values())[:6]
    for told, endpoint in zip(reached(world, doomed, Effort(ENOUGH)), doomed, strict=True):
        others = [other for other in world.endpoints.values() if other.id != endpoint.id]
        assert told == Gone(endpoint.name, sum(may_open(world, other, endpoint) for other in others))


@pytest.mark.parametrize("seed", range(12))
def test_without_effort_isolation_is_told_and_never_less_than_there_is(seed: int) -> None:
    world = site(seed)
    doomed = list(world.endpoints.values())
    for exact, told in zip(reached(world, doomed, Effort(ENOUGH)), reached(world, doomed, Effort(0)), strict=True):
        assert not exact.at_most and exact.reached_by <= told.reached_by
        assert told.at_most or exact == told


def test_whom_isolation_keeps_out_is_not_counted() -> None:
    world = worlds.world(*worlds.two_tenants())
    a1 = world.endpoints[101]
    assert list(reached(world, [a1], Effort(0))) == [Gone("e101", 2)]
    peering = world.apply(2, [worlds.peering(1, worlds.TENANT_A, worlds.TENANT_B)])
    assert list(reached(peering, [a1], Effort(0))) == [Gone("e101", 5)]
    assert list(reached(peering, [a1], Effort(0), {worlds.TENANT_A})) == [Gone("e101", 2)]
    assert reach(peering, peering.networks[worlds.NETWORK_B], peering.networks[worlds.NETWORK_A]).allowed


def test_a_network_that_keeps_to_its_host_counts_that_host_alone() -> None:
    local = worlds.network(worlds.NETWORK_A, worlds.TENANT_A, transport="local")
    world = worlds.world(*worlds.two_tenants(), local, worlds.endpoint(104, worlds.NETWORK_A, 1, 14))
    assert list(reached(world, [world.endpoints[101]], Effort(0))) == [Gone("e101", 1)]


def test_default_deny_lets_nobody_reach_it() -> None:
    deny = worlds.tenant(worlds.TENANT_A, default_deny=frozenset({Direction.INGRESS}))
    world = worlds.world(*worlds.two_tenants(), deny)
    assert list(reached(world, [world.endpoints[101]], Effort(ENOUGH))) == [Gone("e101", 0)]
    assert list(reached(world, [world.endpoints[101]], Effort(0))) == [Gone("e101", 2, at_most=True)]


def test_alike_endpoints_are_judged_once() -> None:
    deny = worlds.tenant(worlds.TENANT_A, default_deny=frozenset({Direction.INGRESS}))
    more = [worlds.endpoint(1000 + n, worlds.NETWORK_A, 1, 20 + n) for n in range(100)]
    world = worlds.world(*worlds.two_tenants(), deny, *more)
    effort = Effort(ENOUGH)
    told = list(reached(world, [world.endpoints[change.id] for change in more], effort))
    assert [one.reached_by for one in told] == [0] * 100
    assert ENOUGH - effort.left == 2  # the network, and one pair of them


def test_only_what_is_there_no_more_goes() -> None:
    old = worlds.world(*worlds.two_tenants())
    changes = [
        Change("endpoint", 103, None),
        Change("endpoint", 101, None),
        Change("endpoint", 102, old.endpoints[102]._replace(host=1)),
        worlds.endpoint(109, worlds.NETWORK_A, 1, 19),
    ]
    assert [one.name for one in going(old, old.apply(2, changes), changes)] == ["e101", "e103"]


@pytest.mark.parametrize(
    ("gone", "own", "words"),
    [
        (Gone("e", 0), False, "nobody reaches it now"),
        (Gone("e", 0), True, "none of yours reaches it now"),
        (Gone("e", 1), False, "1 endpoint reaches it now"),
        (Gone("e", 5), False, "5 endpoints reach it now"),
        (Gone("e", 5), True, "5 endpoints of yours reach it now"),
        (Gone("e", 5, True), False, "up to 5 endpoints may reach it now"),
        (Gone("e", 1, True), True, "up to 1 endpoint of yours may reach it now"),
    ],
)
def test_it_is_said_in_words(gone: Gone, own: bool, words: str) -> None:
    assert gone.words(own) == words
