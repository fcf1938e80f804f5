"""Nobody ever reaches two networks that have the same addresses, whatever comes first; and nothing else is refused."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable
from contextlib import suppress
from itertools import combinations

import pytest
from sqlalchemy import Engine

from controller.calc.reach import reach
from controller.world import World
from db import isolation, networks
from db.addressing import overlap
from db.changes import Transaction, transaction
from db.engine import reading
from db.errors import Conflict, NotFound
from db.snapshot import snapshot
from tests.db import steps
from tests.db.steps import do


@pytest.fixture
def three(engine: Engine) -> Engine:
    """Tenants acme, beta and gamma."""
    for name in ("acme", "beta", "gamma"):
        steps.tenant(engine, name)
    return engine


def lan(engine: Engine, tenant: str, subnet: str = "10.20.0.0/24", **more: object) -> None:
    steps.network(engine, f"{tenant}/lan", subnet, private=True, **more)


def test_two_tenants_with_the_same_private_addresses_cannot_join_or_peer(three: Engine) -> None:
    lan(three, "acme")
    lan(three, "beta", "10.20.0.0/16")
    collision = (
        "10.20.0.0/24 of network acme/lan overlaps 10.20.0.0/16 of network beta/lan, and tenant acme would reach both; "
        "create one of them with other addresses, or isolate one (`warren network update acme/lan --isolated`)"
    )
    before = steps.revision(three)
    for act, sentence in (
        (isolation.join, "tenant acme cannot join beta"),
        (isolation.peer, "tenants acme and beta cannot peer"),
    ):
        with pytest.raises(Conflict) as refused:
            do(three, act, "acme", "beta")
        assert str(refused.value) == f"{sentence}: {collision}"
    assert steps.revision(three) == before
    do(three, networks.update, "acme/lan", isolated=True)
    do(three, isolation.join, "acme", "beta")
    with pytest.raises(
        Conflict, match=r"network acme/lan cannot be routed: .* of network beta/lan, .*; leave it isolated"
    ):
        do(three, networks.update, "acme/lan", isolated=False)


def test_a_global_tenants_private_network_may_overlap_nobodys(three: Engine) -> None:
    lan(three, "acme")
    lan(three, "beta")
    with pytest.raises(Conflict) as refused:
        do(three, isolation.make_global, "acme")
    assert "tenant acme cannot be global: 10.20.0.0/24 of network acme/lan overlaps" in str(refused.value)
    assert "every tenant would reach both" in str(refused.value)


def test_a_private_network_may_not_hide_a_global_one_from_its_own_tenant(three: Engine) -> None:
    steps.network(three, "acme/web", "10.20.0.0/24")
    do(three, isolation.make_global, "acme")
    with pytest.raises(Conflict, match=r"10\.20\.0\.0/24 of network acme/web, and tenant beta would reach both"):
        lan(three, "beta")
    lan(three, "beta", isolated=True)


def test_one_tenant_cannot_peer_with_two_that_have_the_same_addresses(three: Engine) -> None:
    lan(three, "acme")
    lan(three, "beta")
    do(three, isolation.peer, "acme", "gamma")
    with pytest.raises(Conflict, match="of network acme/lan, and tenant gamma would reach both"):
        do(three, isolation.peer, "beta", "gamma")
    with pytest.raises(Conflict, match=r"tenant gamma cannot join beta: .* and tenant gamma would reach both"):
        do(three, isolation.join, "gamma", "beta")


def test_a_network_that_would_collide_through_a_join_or_a_peering_is_not_made(three: Engine) -> None:
    lan(three, "acme")
    do(three, isolation.join, "beta", "acme")
    do(three, isolation.peer, "acme", "gamma")
    for tenant, who in (("beta", "beta"), ("gamma", "gamma")):
        with pytest.raises(Conflict) as refused:
            lan(three, tenant)
        assert f"overlaps 10.20.0.0/24 of network acme/lan, and tenant {who} would reach both" in str(refused.value)
        with pytest.raises(
            Conflict, match=f"network {tenant}/web: subnet 10.20.0.0/25 overlaps .* of network acme/lan"
        ):
            steps.network(three, f"{tenant}/web", "10.20.0.0/25")


def test_a_flat_cluster_has_no_private_network_that_hides_a_routable_one(three: Engine) -> None:
    steps.network(three, "acme/web", "10.20.0.0/24")
    lan(three, "beta")
    lan(three, "gamma", isolated=True)
    with pytest.raises(Conflict) as refused:
        do(three, isolation.set_mode, "flat")
    assert str(refused.value) == (
        "the cluster cannot be flat: 10.20.0.0/24 of network beta/lan overlaps 10.20.0.0/24 of network acme/web, "
        "and tenant beta would reach both; create one of them with other addresses, "
        "or isolate one (`warren network update beta/lan --isolated`)"
    )
    do(three, networks.update, "beta/lan", isolated=True)
    do(three, isolation.set_mode, "flat")
    with pytest.raises(
        Conflict, match=r"network acme/lan: subnet 10\.30\.0\.0/24 overlaps .* or create it with --isolated"
    ):
        steps.network(three, "gamma/web", "10.30.0.0/24")
        lan(three, "acme", "10.30.0.0/24")


def test_private_networks_with_the_same_addresses_stay_private_in_a_flat_cluster(three: Engine) -> None:
    lan(three, "acme")
    lan(three, "beta")
    do(three, isolation.set_mode, "flat")
    world = now(three)
    acme, beta = (next(n for n in world.networks.values() if n.name == f"{t}/lan") for t in ("acme", "beta"))
    assert not reach(world, acme, beta).allowed


def now(engine: Engine) -> World:
    with reading(engine) as session:
        revision, objects = snapshot(session)
    return World().apply(revision, objects)


def ambiguous(world: World) -> bool:
    """Whether a tenant, or an isolated network, reaches two networks that overlap: by the rules of isolation alone."""
    askers = [network for network in world.networks.values() if world.is_isolated(network)]
    for tenant in world.tenants.values():
        a_network = next(iter(world.networks.values()))
        askers.append(a_network._replace(id=-1, tenant=tenant.id, zone=tenant.zone, private=False))
    for asker in askers:
        reached = [n for n in world.networks.values() if reach(world, asker, n).allowed]
        subnets = [ipaddress.ip_network(str(subnet)) for network in reached for subnet in network.subnets]
        if any(overlap(*pair) for pair in combinations(subnets, 2)):
            return True
    return False


def acts(dice: random.Random, names: list[str]) -> list[Callable[[Transaction], object]]:
    one, other = dice.sample(names, 2)
    network, isolated, mode = f"{one}/n{dice.randint(0, 1)}", dice.random() < 0.4, dice.choice(("flat", "multitenant"))
    return [
        lambda tx: isolation.join(tx, one, other),
        lambda tx: isolation.isolate(tx, one),
        lambda tx: isolation.make_global(tx, one),
        lambda tx: isolation.peer(tx, one, other),
        lambda tx: isolation.peer(tx, one, other),
        lambda tx: isolation.unpeer(tx, one, other),
        lambda tx: isolation.set_mode(tx, mode),
        lambda tx: networks.update(tx, network, isolated=isolated),
    ]


@pytest.mark.parametrize("seed", range(4))
def test_nobody_ever_reaches_two_networks_with_the_same_addresses_and_nothing_else_is_refused(
    engine: Engine, seed: int
) -> None:
    dice = random.Random(seed)
    names = [f"t{number}" for number in range(5)]
    for name in names:
        steps.tenant(engine, name)
    for network in (f"{name}/n{number}" for name in names for number in range(2)):
        subnet = dice.choice(("10.20.0.0/24", "10.21.0.0/24", "10.20.0.0/16", "10.22.0.0/23", "10.22.1.0/24"))
        with suppress(Conflict):
            steps.network(engine, network, subnet, private=dice.random() < 0.7, isolated=dice.random() < 0.5)
    refused = done = 0
    for _ in range(120):
        act = dice.choice(acts(dice, names))
        try:
            do(engine, act)
            done += 1
            assert not ambiguous(now(engine))
        except NotFound:
            pass
        except Conflict as refusal:
            if "overlaps" in str(refusal):
                refused += 1
                assert ambiguous(as_if(engine, act)), f"refused without need: {refusal}"
    assert refused > 5 and done > 30


def as_if(engine: Engine, act: Callable[[Transaction], object]) -> World:
    """The world as it would be if nobody looked for collisions."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr("db.collisions.find", lambda *_: None)
        patch.setattr("db.collisions.between_private_and_routable", lambda *_: None)
        with transaction(engine) as tx:
            act(tx)
            tx.session.flush()
            revision, objects = snapshot(tx.session)
            raise ZeroDivisionError
    return World().apply(revision, objects)
