"""A hundred random changes of who stands how to whom, under traffic, end where a fresh start would begin."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from client.rest import Problem
from controller.calc.membership import members
from controller.calc.reach import reach
from controller.openflow.encode import encode
from controller.pipeline.program import program
from controller.watch import first_world
from controller.world import World as Model
from db.engine import create_engine
from lab import netns, ovs, server
from lab.lab import Lab
from lab.state import Placed
from tests.lab.standing import isolate, join, make_global, peer, set_apart, set_mode, unpeer
from tests.lab.test_lossless import RATE, streams
from tests.lab.world import World

CHANGES = 100
NAMES = ("acme", "beta", "gamma", "delta")


@pytest.fixture
def placed(world: World) -> Iterator[dict[str, list[Placed]]]:
    """The endpoints of each network: four tenants, each with three networks across the hosts, one of them private."""
    found: dict[str, list[Placed]] = {}
    for number, name in enumerate(NAMES):
        tenant = world.tenant(name)
        more = world.network(tenant, "more", f"10.7{number}.0.0/24", f"fd00:7{number}::/64")
        # The first two have the same private subnets.
        lan_number = max(number, 1)
        lan = world.network(tenant, "lan", f"10.8{lan_number}.0.0/16", f"fd00:8{lan_number}::/64", private=True)
        found[f"{tenant}/default"] = world.endpoints(f"{tenant}/default", hosts=("h1", "h2"), per_host=1)
        found[more] = world.endpoints(more, hosts=("h2", "h3"), per_host=1)
        # No address twice: an answer tells who gave it.
        found[lan] = [
            world.endpoint(lan, host, addresses=[f"10.8{lan_number}.{number}.{n}", f"fd00:8{lan_number}::{number}:{n}"])
            for n, host in ((10, "h1"), (11, "h3"))
        ]
    yield found
    set_mode(world, "multitenant")


def changes(dice: random.Random, tenants: list[str]) -> Callable[[World], Any]:
    one, other = dice.sample(tenants, 2)
    network, isolated = f"{one}/{dice.choice(('more', 'lan'))}", dice.random() < 0.5
    mode = dice.choice(("flat", "multitenant", "multitenant"))
    return dice.choice(
        (
            lambda world: join(world, one, other),
            lambda world: join(world, one, other),
            lambda world: isolate(world, one),
            lambda world: isolate(world, one),
            lambda world: make_global(world, one),
            lambda world: peer(world, one, other),
            lambda world: peer(world, one, other),
            lambda world: unpeer(world, one, other),
            lambda world: set_apart(world, network, isolated),
            lambda world: set_mode(world, mode),
        )
    )


def installed(lab: Lab, host: str) -> set[int]:
    """The cookies of the flows that a host's bridge has."""
    with netns.inside(lab.host(host).netns):
        dump = subprocess.run(
            ["ovs-ofctl", "-O", "OpenFlow14", "--no-stats", "dump-flows", "warren0"],
            env=ovs.settings(lab.host(host)),
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    return {int(line.split("cookie=")[1].split(",")[0], 16) for line in dump.splitlines() if "cookie=" in line}


def model(lab: Lab) -> Model:
    engine = create_engine(server.database(lab.folder))
    try:
        return first_world(engine)
    finally:
        engine.dispose()


def test_random_changes_under_traffic_end_in_the_flows_of_a_fresh_build_and_in_what_is_said(
    lab: Lab, world: World, placed: dict[str, list[Placed]]
) -> None:
    dice = random.Random(20261120)
    tenants = [network.split("/")[0] for network in placed if network.endswith("/default")]
    revision, done, refused = 0, 0, 0
    with streams(*((ends[0], ends[1]) for ends in placed.values())) as results:
        while done < CHANGES:
            try:
                before, revision = revision, changes(dice, tenants)(world)["revision"]
                done += revision > before
            except Problem as problem:
                assert problem.status in (404, 409), problem
                refused += 1
    assert refused > 5, "some collide"
    assert all(answered > RATE for answered, _ in results)
    assert [lost for _, lost in results] == [set()] * len(results), "a network always reaches itself"

    now = model(lab)
    for host in now.hosts.values():
        assert installed(lab, host.name) == {encode(flow).cookie for flow in program(now, members(now, host.id))}

    networks = {network.name: network for network in now.networks.values()}
    home = {one.name: networks[network] for network, ends in placed.items() for one in ends}
    answers = [
        answer for answer in world.probe(*(one for ends in placed.values() for one in ends)) if answer.ok is not None
    ]
    wrong = []
    for answer in answers:
        said = reach(now, home[answer.ask.source.name], home[answer.ask.target.name])
        if answer.ok != said.allowed:
            wrong.append(f"{answer.ask}: {answer.ok}, but {said}")
    assert not wrong, wrong[:5]
    assert {answer.ok for answer in answers} == {True, False}
