"""The matrix says of every two endpoints what `explain` says of them, however they are grouped."""

from __future__ import annotations

from itertools import permutations
from random import Random

import pytest

from controller.calc.explain import decide
from controller.calc.judge import Asked
from controller.calc.matrix import Cell, by_endpoint, by_label, by_network, by_tenant, grouped, matrix
from controller.calc.preview import Effort
from controller.calc.turned import opened
from controller.model import Change
from controller.transport import LOCAL
from controller.world import World
from tests.policies import case, policies_of, questions
from tests.pure import worlds
from tests.pure.test_policy_preview import covers
from tests.sites import PROTOCOLS

PLENTY = 1_000_000


def drawn(seed: int) -> tuple[World, list[tuple[str, str, Asked]]]:
    """A world with policies, and questions that probe the edges of their rules."""
    one = case(Random(seed))
    world = World().apply(1, [*one.plan.changes(), *map(worlds.policy, policies_of(one.after, one.plan))])
    asked = []
    for question in questions(Random(one.seed), one.plan, one.after, 60):
        icmp = question.protocol in ("icmp", "icmpv6")
        port = question.port << 8 | question.code if icmp else question.port
        asked.append(
            (question.source, question.destination, Asked(question.version, PROTOCOLS[question.protocol], port))
        )
    return world, asked


def verdicts(cell: Cell, asked: Asked) -> set[bool]:
    return {line.said.allowed for line in cell.lines if covers(line.said.service, asked)}


@pytest.mark.parametrize("seed", range(40))
def test_each_cell_of_two_endpoints_is_what_explain_says(seed: int) -> None:
    world, asked = drawn(seed)
    by_name = {endpoint.name: endpoint for endpoint in world.endpoints.values()}
    ends = {name.rpartition("/")[2]: name for name in by_name}
    cells = matrix(world, grouped(world, by_endpoint), Effort(PLENTY))
    assert set(cells) == {(one, other) for one in by_name for other in by_name}
    assert asked
    for source, destination, one in asked:
        names = ends[source], ends[destination]
        said = decide(world, *(by_name[name] for name in names), one)[-1]
        assert verdicts(cells[names], one) == {said.allowed}, (names, one)
        only = matrix(world, grouped(world, by_endpoint), Effort(PLENTY), (one.protocol, one.port))[names]
        assert verdicts(only, one) == {said.allowed}
    for (one_name, other_name), cell in cells.items():
        for line in cell.lines:
            if line.said.asked is not None:
                assert decide(world, by_name[one_name], by_name[other_name], line.said.asked)[-1].allowed is (
                    line.said.allowed
                )


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", [by_tenant, by_network, by_label("app")])
def test_a_cell_of_groups_is_what_its_pairs_are_together(seed: int, name: object) -> None:
    world, _ = drawn(seed)
    cells = matrix(world, grouped(world, name), Effort(PLENTY))  # type: ignore[arg-type]
    expected: dict[tuple[str, str], set[tuple[str, bool]]] = {key: set() for key in cells}
    pairs: dict[tuple[str, str], int] = dict.fromkeys(cells, 0)
    for one, other in permutations(world.endpoints.values(), 2):
        key = name(world, one), name(world, other)  # type: ignore[operator]
        expected[key] |= {(said.service, said.allowed) for said in opened(world, one, other)}
        pairs[key] += 1
    for key, cell in cells.items():
        assert {(line.said.service, line.said.allowed) for line in cell.lines} == expected[key]
        allowed = {allowed for _, allowed in expected[key]}
        assert cell.verdict == {0: "nobody", 1: "allowed" if True in allowed else "denied", 2: "partly"}[len(allowed)]
        assert all(line.pairs <= pairs[key] for line in cell.lines)


def test_where_nothing_leaves_the_host_it_matters_who_is_where() -> None:
    world = World().apply(1, worlds.two_tenants())
    kept = [network._replace(transport=LOCAL.name) for network in world.networks.values()]
    world = world.apply(2, [Change("network", network.id, network) for network in kept])
    cells = matrix(world, grouped(world, by_endpoint), Effort(PLENTY), (6, 80))
    by_name = {endpoint.name: endpoint for endpoint in world.endpoints.values()}
    found = {(one, other): line for (one, other), cell in cells.items() for line in cell.lines}
    for (one, other), line in found.items():
        assert line.said.asked is not None
        assert decide(world, by_name[one], by_name[other], line.said.asked)[-1].allowed is line.said.allowed
    assert any("keeps to its host" in line.said.reason for line in found.values())


def test_what_is_too_much_is_not_judged_and_says_so() -> None:
    world, _ = drawn(3)
    effort = Effort(3)
    cells = matrix(world, grouped(world, by_endpoint), effort)
    assert effort.spent
    assert any(cell.verdict == "unknown" for cell in cells.values())
