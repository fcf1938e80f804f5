"""Tenants join, part, peer and become global, and packets follow: both ways, on one host and between hosts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from client.rest import Problem
from lab.state import Placed
from tests.lab.standing import isolate, join, make_global, peer, set_apart, set_mode, together, unpeer
from tests.lab.world import World


class Scene(NamedTuple):
    """Three tenants with an endpoint each on h1 and h2, in networks called default."""

    world: World
    acme: str
    beta: str
    gamma: str
    placed: list[Placed]

    def together(self) -> set[frozenset[str]]:
        return together(self.world, self.placed)

    def pairs(self, *pairs: tuple[str, str]) -> set[frozenset[str]]:
        return {frozenset(pair) for pair in pairs}


@pytest.fixture
def scene(world: World) -> Iterator[Scene]:
    names = [world.tenant(name) for name in ("acme", "beta", "gamma")]
    placed = [one for name in names for one in world.endpoints(f"{name}/default", hosts=("h1", "h2"), per_host=1)]
    yield Scene(world, *names, placed)
    set_mode(world, "multitenant")


def test_joined_tenants_hear_each_other_and_nobody_else_until_one_is_isolated(scene: Scene) -> None:
    world, acme, beta, gamma, _ = scene
    assert scene.together() == set()
    reply = join(world, acme, beta)
    assert (reply["isolation"], reply["joined"]) == ("joined", [beta])
    assert [host["host"] for host in reply["hosts"]] == ["h1", "h2"], "h3 holds none of them"
    assert scene.together() == scene.pairs((acme, beta))
    join(world, gamma, beta)
    assert scene.together() == scene.pairs((acme, beta), (acme, gamma), (beta, gamma))
    isolate(world, beta)
    assert scene.together() == scene.pairs((acme, gamma))
    isolate(world, gamma)
    assert scene.together() == set()


def test_a_global_tenant_hears_all_and_the_others_do_not_hear_each_other(scene: Scene) -> None:
    world, acme, beta, gamma, _ = scene
    make_global(world, acme)
    assert scene.together() == scene.pairs((acme, beta), (acme, gamma))
    isolate(world, acme)
    assert scene.together() == set()


def test_peers_hear_each_other_and_peering_is_not_transitive(scene: Scene) -> None:
    world, acme, beta, gamma, _ = scene
    peer(world, acme, beta)
    peer(world, beta, gamma)
    assert scene.together() == scene.pairs((acme, beta), (beta, gamma))
    unpeer(world, beta, acme)
    assert scene.together() == scene.pairs((beta, gamma))
    join(world, acme, gamma)
    assert scene.together() == scene.pairs((beta, gamma), (acme, gamma)), "who joins a peer gains no peer"


def test_a_tenant_that_is_gone_leaves_its_zone_and_its_peers_alone(scene: Scene) -> None:
    world, acme, beta, gamma, placed = scene
    join(world, acme, beta)
    peer(world, acme, gamma)
    for one in placed[:2]:
        world.remove(one)
    world.rest.delete(f"/tenants/{acme}")
    assert together(world, placed[2:]) == set()
    join(world, gamma, beta)
    assert together(world, placed[2:]) == scene.pairs((beta, gamma))


def test_a_flat_cluster_opens_all_but_isolated_and_private_networks_and_closes_again(scene: Scene) -> None:
    world, acme, beta, gamma, placed = scene
    alone = world.network(acme, "alone", "10.61.0.0/24", "fd00:61::/64", isolated=True)
    more = world.endpoints(alone, hosts=("h1", "h2"), per_host=1)
    for number, tenant in enumerate((beta, gamma)):
        lan = world.network(tenant, "lan", "10.62.0.0/24", "fd00:62::/64", private=True)
        for host, last in (("h1", 10 + 2 * number), ("h2", 11 + 2 * number)):
            more.append(world.endpoint(lan, host, addresses=[f"10.62.0.{last}", f"fd00:62::{last:x}"]))
    set_mode(world, "flat")
    own = scene.pairs((f"{beta}/default", f"{beta}/lan"), (f"{gamma}/default", f"{gamma}/lan"))
    default = [f"{tenant}/default" for tenant in (acme, beta, gamma)]
    opened = scene.pairs((default[0], default[1]), (default[0], default[2]), (default[1], default[2]))
    assert together(world, [*placed, *more], by="network") == own | opened
    set_mode(world, "multitenant")
    assert together(world, [*placed, *more], by="network") == own


def test_a_network_is_set_apart_from_its_tenants_others_and_back(scene: Scene) -> None:
    world, acme, beta, _, placed = scene
    web = world.network(acme, "web", "10.63.0.0/24", "fd00:63::/64")
    all_of_acme = [*placed[:2], *world.endpoints(web, hosts=("h1", "h2"), per_host=1)]
    both = scene.pairs((f"{acme}/default", web))
    assert together(world, all_of_acme, by="network") == both
    set_apart(world, web, True)
    assert together(world, all_of_acme, by="network") == set()
    join(world, acme, beta)
    with_beta = scene.pairs((f"{acme}/default", f"{beta}/default"))
    assert together(world, [*all_of_acme, *placed[2:4]], by="network") == with_beta
    set_apart(world, web, False)
    assert together(world, [*all_of_acme, *placed[2:4]], by="network") == both | with_beta | scene.pairs(
        (web, f"{beta}/default")
    )


def test_private_networks_are_for_their_zone_and_peers_and_collide_with_neither(scene: Scene) -> None:
    world, acme, beta, gamma, placed = scene
    lans = {}
    for number, tenant in enumerate((acme, beta)):
        lan = world.network(tenant, "lan", "10.64.0.0/24", "fd00:64::/64", private=True)
        hosts = (("h1", 10 + 2 * number), ("h2", 11 + 2 * number))
        lans[tenant] = [world.endpoint(lan, h, addresses=[f"10.64.0.{n}", f"fd00:64::{n:x}"]) for h, n in hosts]
    for call in (join, peer):
        with pytest.raises(Problem, match=rf"10\.64\.0\.0/24 of network {acme}/lan overlaps .* of network {beta}/lan"):
            call(world, acme, beta)
    assert together(world, [*lans[acme], *lans[beta], *placed[4:]]) == set()
    peer(world, gamma, acme)
    with pytest.raises(Problem, match=f"tenant {gamma} would reach both"):
        peer(world, gamma, beta)
    assert together(world, [*lans[acme], *lans[beta], *placed[4:]]) == scene.pairs((acme, gamma))
    unpeer(world, gamma, acme)
    join(world, gamma, beta)
    assert together(world, [*lans[acme], *lans[beta], *placed[4:]]) == scene.pairs((beta, gamma))
