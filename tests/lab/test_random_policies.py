"""Over a hundred random sets of policies, one after the other, and real packets that go as the oracle says."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from lab import responder
from lab.lab import Lab
from lab.state import Placed
from tests.lab import caches
from tests.lab.asking import disagreements, fresh
from tests.lab.rules import apply, called, delete
from tests.lab.standing import join, make_global, peer, set_mode
from tests.lab.world import World
from tests.oracle import Document, Question, Site, judge
from tests.policies import documents, questions
from tests.sites import Plan, plan

SITES = 3
SETS = 36
QUESTIONS = 30
ASKED_AGAIN = 6
"""Connections of the set before that are gone on with under the next."""


class Round(NamedTuple):
    documents: list[Document]
    questions: list[Question]


class Scene(NamedTuple):
    world: World
    plan: Plan
    placed: dict[str, Placed]
    rounds: list[Round]


@pytest.fixture(params=range(SITES))
def scene(lab: Lab, world: World, request: pytest.FixtureRequest) -> Iterator[Scene]:
    dice = random.Random(20261124 + request.param)
    built = build(world, _plan(dice))
    rounds = [Round(found := documents(dice, built), questions_of(dice, built, found)) for _ in range(SETS)]
    ports = {q.port for round in rounds for q in round.questions if q.protocol in ("tcp", "udp")}
    placed = {name: place(world, built, name, ports) for name in built.site.endpoints}
    world.settle()
    yield Scene(world, built, placed, rounds)
    set_mode(world, "multitenant")


def _plan(dice: random.Random) -> Plan:
    """One in which more than one tenant can be asked."""
    while True:
        found = plan(dice)
        if found.site.acquainted and len({endpoint.tenant for endpoint in found.site.endpoints.values()}) > 1:
            return found


def build(world: World, plan: Plan) -> Plan:
    """The plan's tenants, as they stand to each other, and its networks; and the plan with their names in the lab."""
    names = {
        name: world.tenant(
            name,
            labels={key: value for key, value in tenant.labels.items() if "/" not in key},
            track_all=int(name[1:]) in plan.tracked,
            default_deny=sorted(direction.lower() for direction in tenant.default_deny),
        )
        for name, tenant in plan.site.tenants.items()
    }
    for number, segment in plan.networks.items():
        subnets = f"10.{segment.third}.0.0/24", f"fd00:{segment.third}::/64"
        world.network(names[f"t{segment.tenant}"], f"n{number}", *subnets, private=segment.private)
    for one, other in plan.peerings:
        peer(world, names[f"t{one}"], names[f"t{other}"])
    first: dict[int, str] = {}
    for number, zone in plan.zones.items():
        name = names[f"t{number}"]
        if zone == 0:
            make_global(world, name)
        elif zone in first:
            join(world, name, first[zone])
        else:
            first[zone] = name
    if plan.flat:
        set_mode(world, "flat")
    return plan._replace(site=renamed(plan.site, names))


def renamed(site: Site, names: dict[str, str]) -> Site:
    label = "kubernetes.io/metadata.name"
    return Site(
        {
            new: site.tenants[old]._replace(name=new, labels={**site.tenants[old].labels, label: new})
            for old, new in names.items()
        },
        {name: endpoint._replace(tenant=names[endpoint.tenant]) for name, endpoint in site.endpoints.items()},
        frozenset(frozenset(names[name] for name in pair) for pair in site.acquainted),
    )


def place(world: World, plan: Plan, name: str, ports: set[int]) -> Placed:
    endpoint, where = plan.site.endpoints[name], plan.places[int(name[1:])]
    placed = world.endpoint(
        f"{endpoint.tenant}/n{where.network}",
        f"h{where.host}",
        labels=endpoint.labels,
        addresses=endpoint.addresses,
        ports=[{"name": port.name, "protocol": port.protocol, "port": port.number} for port in endpoint.ports],
    )
    responder.tell(world.lab.folder, "add", placed.name, placed.netns, ports)
    return placed


def questions_of(dice: random.Random, plan: Plan, found: list[Document]) -> list[Question]:
    """But what a switch without the kernel's module cannot tell: it takes an echo with a code for no part of any
    connection, and all SCTP between two addresses for one connection, whatever its ports and whoever began."""
    return [
        fresh(q._replace(code=0))
        for q in questions(dice, plan, found, QUESTIONS)
        if q.port and (q.protocol != "sctp" or q.source < q.destination)
    ]


def test_random_policies_hold_as_the_oracle_says(scene: Scene) -> None:
    world, plan, placed, rounds = scene
    there: list[Document] = []
    wrong: list[str] = []
    open_before: list[Question] = []
    said: list[bool] = []
    for number, (now, asked) in enumerate(rounds):
        replace(world, there, now)
        there = now
        expected = {q: judge(plan.site, now, q).allowed for q in [*asked, *open_before]}
        said += expected.values()
        for q, heard in disagreements(placed, expected).items():
            why = judge(plan.site, now, q)
            wrong.append(f"set {number}: {q} {'(again) ' if q in open_before else ''}is {heard}, but {why}")
        open_before = [q for q in asked if expected[q] and q.protocol != "tcp"][:ASKED_AGAIN]
    replace(world, there, [])
    assert not wrong, f"{len(wrong)} of {len(said)}:\n" + "\n".join(wrong[:20])
    assert min(said.count(True), said.count(False)) > len(said) / 10, "both kinds of answers"


def replace(world: World, old: list[Document], new: list[Document]) -> None:
    """The new ones come first, then the rest of the old ones go."""
    if new:
        apply(world, *new)
    kept = {called(document) for document in new}
    for document in old:
        if called(document) not in kept:
            delete(world, document)
    caches.follow(world.lab)
