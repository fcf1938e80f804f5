"""Whatever is changed, a preview is the comparison of every connection before and after, by the judge."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from random import Random

import pytest

from controller.calc.policy_preview import openings
from controller.calc.preview import Difference, Effort, differences
from controller.calc.reach import Reach
from controller.model import (
    GLOBAL_ZONE,
    Action,
    Change,
    Direction,
    Labels,
    Members,
    NamedPort,
    Policy,
    Rule,
    Service,
    Tier,
)
from controller.world import World
from tests.policies import case, policies_of
from tests.pure import worlds
from tests.pure.test_isolation_preview import agree, spelled_out
from tests.sites import ENDPOINT_LABELS, HOSTS, PORT_NAMES, PORTS, TENANT_LABELS, pairs


def labels(random: Random, vocabulary: dict[str, tuple[str, ...]]) -> Labels:
    return pairs({key: random.choice(values) for key, values in vocabulary.items() if random.randrange(3)})


def relabelled(random: Random, world: World) -> Iterator[Change]:
    """One endpoint, or several at once."""
    for id in random.sample(sorted(world.endpoints), random.choice((1, 1, 3))):
        yield Change("endpoint", id, world.endpoints[id]._replace(labels=labels(random, ENDPOINT_LABELS)))


def renamed_ports(random: Random, world: World) -> Iterator[Change]:
    id = random.choice(sorted(world.endpoints))
    ports = sorted(NamedPort(name, random.choice((6, 17)), random.choice(PORTS)) for name in PORT_NAMES)
    yield Change("endpoint", id, world.endpoints[id]._replace(ports=tuple(ports)))


def moved(random: Random, world: World) -> Iterator[Change]:
    id = random.choice(sorted(world.endpoints))
    yield Change("endpoint", id, world.endpoints[id]._replace(host=random.choice(HOSTS)))


def other_transport(random: Random, world: World) -> Iterator[Change]:
    network = random.choice(sorted(world.networks.values()))
    yield Change("network", network.id, network._replace(transport=random.choice(("local", "vxlan", "geneve"))))


def other_tenant(random: Random, world: World) -> Iterator[Change]:
    tenant = random.choice(sorted(world.tenants.values()))
    its = labels(random, TENANT_LABELS) if random.randrange(2) else tenant.labels
    denied = frozenset(way for way in Direction if not random.randrange(3))
    yield Change("tenant", tenant.id, tenant._replace(labels=its, default_deny=denied))


def set_apart(random: Random, world: World) -> Iterator[Change]:
    network = random.choice(sorted(world.networks.values()))
    if not network.private and network.zone != GLOBAL_ZONE:
        yield Change("network", network.id, network._replace(zone=900))


def without_a_policy(random: Random, world: World) -> Iterator[Change]:
    if world.policies:
        yield Change("policy", random.choice(sorted(world.policies)), None)


CHANGES = (relabelled, renamed_ports, moved, other_transport, other_tenant, set_apart, without_a_policy)


def told(old: World, new: World, changes: list[Change]) -> dict[tuple[str, str], list[Difference]]:
    found: dict[tuple[str, str], list[Difference]] = {}
    for row in differences(old, new, changes, Effort(10**6)):
        for pair in product(spelled_out(new, row.source), spelled_out(new, row.destination)):
            found.setdefault(pair, []).append(row)
    for opening in openings(old, new, changes, Effort(10**6)):
        row = Difference(opening.source, opening.destination, Reach(opening.allowed, ""), opening.service)
        found.setdefault((opening.source, opening.destination), []).append(row)
    return found


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize("kind", CHANGES, ids=lambda kind: kind.__name__)
def test_a_preview_tells_what_turns_and_nothing_else(kind: object, seed: int) -> None:
    random = Random(f"{kind.__name__} {seed}")  # type: ignore[attr-defined]
    drawn = case(random)
    old = World().apply(1, [*drawn.plan.changes(), *map(worlds.policy, policies_of(drawn.before, drawn.plan))])
    if random.randrange(3) == 0:
        old = old.apply(2, list(other_transport(random, old)))
    changes = list(kind(random, old))  # type: ignore[operator]
    new = old.apply(3, changes)
    agree(old, new, told(old, new, changes))


APP, ROLE = pairs({"app": "web"}), pairs({"role": "client"})
WEB = Service(6, 80, 80)


def words(id: int, its: Labels, peers: Members, effort: Effort) -> list[str]:
    """Of the labels of one of tenant A's three, of whom e101 has app=web: it is called on tcp/80 alone, by `peers`."""
    rule = Rule("", Action.ACCEPT, (peers,), (WEB,))
    policy = Policy(1, "t1/web", 1, Tier.TENANT, 1, 0, None, worlds.members_of(APP).endpoints, (rule,), None)
    old = worlds.world(*worlds.two_tenants(), worlds.policy(policy))
    old = old.apply(2, [Change("endpoint", 101, old.endpoints[101]._replace(labels=APP))])
    change = Change("endpoint", id, old.endpoints[id]._replace(labels=its))
    return [str(one) for one in openings(old, old.apply(3, [change]), [change], effort)]


ANYBODY = Members((), ())


def test_an_endpoint_that_a_policy_selects_no_more_is_told() -> None:
    lines = words(101, (), ANYBODY, Effort(100))
    assert any(line.startswith("e102 -> e101 tcp/0-79: denied -> allowed") for line in lines)
    assert any(line.startswith("e103 -> e101 udp: denied -> allowed") for line in lines)
    assert not any("e101 -> " in line or "tcp/80:" in line for line in lines)


def test_an_endpoint_that_a_policy_comes_to_select_is_told() -> None:
    lines = words(102, APP, ANYBODY, Effort(100))
    assert any(line.startswith("e101 -> e102 udp: allowed -> denied by policy t1/web") for line in lines)
    assert {line.partition(" ")[2].partition(" ")[2].partition(" ")[0] for line in lines} == {"e102"}


def test_an_endpoint_that_a_policy_comes_to_name_is_told() -> None:
    assert words(102, ROLE, worlds.members_of(ROLE), Effort(100)) == [
        "e102 -> e101 tcp/80: denied -> allowed by policy t1/web ingress rule 1"
    ]


def test_what_there_is_no_effort_for_is_not_passed_off_as_nothing() -> None:
    effort = Effort(0)
    assert not words(102, ROLE, worlds.members_of(ROLE), effort)
    assert effort.spent


def test_an_endpoint_that_no_policy_is_about_needs_no_effort() -> None:
    old = worlds.world(*worlds.two_tenants())
    change = Change("endpoint", 101, old.endpoints[101]._replace(labels=APP))
    effort = Effort(0)
    assert not list(openings(old, old.apply(2, [change]), [change], effort))
    assert not effort.spent
