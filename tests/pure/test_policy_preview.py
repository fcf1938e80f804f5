"""What would change is told exactly: everything that is judged otherwise afterwards, and nothing else."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest

from controller.calc.judge import Asked, judge
from controller.calc.policy_preview import Opening, openings
from controller.calc.preview import Effort
from controller.model import Change, Direction
from controller.world import World
from tests import oracle
from tests.policies import Case, case, policies_of, questions
from tests.pure import worlds
from tests.sites import PROTOCOLS

PORTS = (0, 52, 53, 79, 80, 81, 90, 91, 442, 443, 444, 999, 1000, 5432, 6000, 6001, 8000, 8080, 8081, 8090, 8091, 65535)
MESSAGES = tuple(type << 8 | code for type, code in product((0, 3, 8, 13, 128), (0, 1, 2)))


def applied(drawn: Case) -> tuple[World, World, list[Change]]:
    """The world under one set of policies and under another."""
    old = World().apply(1, [*drawn.plan.changes(), *map(worlds.policy, policies_of(drawn.before, drawn.plan))])
    wanted = {policy.id: worlds.policy(policy) for policy in policies_of(drawn.after, drawn.plan)}
    changes = [*wanted.values(), *(Change("policy", id, None) for id in old.policies.keys() - wanted.keys())]
    return old, old.apply(2, changes), changes


def covers(service: str, asked: Asked) -> bool:
    """`tcp/80-90 over IPv4`, read back."""
    service, _, version = service.partition(" over IPv")
    if version and int(version) != asked.version:
        return False
    name, _, ports = service.partition("/")
    if name == "everything":
        return True
    if PROTOCOLS.get(name) != asked.protocol:
        return False
    if not ports:
        return True
    first, _, last = ports.partition("-")
    if asked.protocol not in (1, 58):
        return int(first) <= asked.port <= int(last or first)
    begin = message(first)[0], message(last or first)[1]
    return begin[0] <= asked.port <= begin[1]


def message(text: str) -> tuple[int, int]:
    type, colon, code = text.partition(":")
    return (int(type) << 8 | int(code),) * 2 if colon else (int(type) << 8, int(type) << 8 | 0xFF)


@pytest.mark.parametrize("seed", range(40))
def test_every_connection_that_turns_is_told_and_no_other(seed: int) -> None:
    old, new, changes = applied(case(Random(seed)))
    told: dict[tuple[str, str], list[Opening]] = {}
    for opening in openings(old, new, changes, Effort(10**6)):
        told.setdefault((opening.source, opening.destination), []).append(opening)
    for source, destination in product(new.endpoints.values(), repeat=2):
        if source.id == destination.id:
            continue
        for version, protocol in ((4, 1), (6, 58), *product((4, 6), (6, 17, 132))):
            for port in MESSAGES if protocol in (1, 58) else PORTS:
                asked = Asked(version, protocol, port)
                before, after = (judge(world, source, destination, asked)[-1].allowed for world in (old, new))
                said = [one for one in told.get((source.name, destination.name), []) if covers(one.service, asked)]
                assert [one.allowed for one in said] == ([after] if before != after else []), (
                    source,
                    destination,
                    asked,
                )


@pytest.mark.parametrize("seed", range(60))
def test_the_judge_agrees_with_the_oracle(seed: int) -> None:
    random = Random(seed)
    drawn = case(random)
    world = applied(drawn)[0]
    for question in questions(random, drawn.plan, drawn.before, 40):
        source, destination = (world.endpoints[int(name[1:])] for name in (question.source, question.destination))
        port = question.port << 8 | question.code if question.protocol.startswith("icmp") else question.port
        asked = Asked(question.version, PROTOCOLS[question.protocol], port)
        said = judge(world, source, destination, asked)
        expected = oracle.judge(drawn.plan.site, drawn.before, question)
        assert said[-1].allowed == expected.allowed, f"{question}: {said}, but {expected}"


def test_a_tenant_that_begins_to_deny_by_default_is_told() -> None:
    old = worlds.world(*worlds.two_tenants())
    deny = worlds.tenant(worlds.TENANT_A, default_deny=frozenset({Direction.INGRESS}))
    words = [str(opening) for opening in openings(old, old.apply(2, [deny]), [deny], Effort(10**6))]
    assert len(words) == 6, "three endpoints, each from two others"
    assert (
        words[0]
        == "e101 -> e102 everything: allowed -> denied by default: tenant t1 denies ingress that no policy allows"
    )
