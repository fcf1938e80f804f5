"""Who reaches whom, shown by packets: endpoints of one tenant on any host, and never those of another."""

from __future__ import annotations

from tests.lab.world import World, wrong


def test_a_tenants_endpoints_reach_each_other_on_every_host_and_nobody_elses(world: World) -> None:
    red, blue = world.tenant("red"), world.tenant("blue")
    placed = [*world.endpoints(f"{red}/default"), *world.endpoints(f"{blue}/default")]
    answers = world.probe(*placed)
    # 12 endpoints ask 11 others by three protocols over two families, and every question proves something.
    assert len(answers) == 12 * 11 * 3 * 2
    assert all(answer.ok is not None for answer in answers)
    assert wrong(answers) == []


def test_two_tenants_may_use_the_same_subnet_and_the_same_addresses(world: World) -> None:
    red, blue = world.tenant("red"), world.tenant("blue")
    placed = []
    for tenant in (red, blue):
        network = world.network(tenant, "same", "10.20.0.0/24", "fd00:20::/64", private=True)
        for n, host in enumerate(("h1", "h2", "h3"), 10):
            placed.append(world.endpoint(network, host, addresses=[f"10.20.0.{n}", f"fd00:20::{n:x}"]))
    assert {one.addresses for one in placed[:3]} == {one.addresses for one in placed[3:]}
    answers = world.probe(*placed)
    assert wrong(answers) == []
    proving = [answer for answer in answers if answer.ok is not None]
    # Within each tenant 3 x 2 pairs by three protocols over two families; between them TCP and UDP only.
    assert len(proving) == 2 * (3 * 2 * 3 * 2) + 2 * (3 * 3 * 2 * 2)


def test_networks_of_one_tenant_reach_each_other_through_the_gateway(world: World) -> None:
    red = world.tenant("red")
    front = world.network(red, "front", "10.21.0.0/24", "fd00:21::/64")
    back = world.network(red, "back", "10.22.0.0/24", "fd00:22::/64")
    placed = [*world.endpoints(front, per_host=1), *world.endpoints(back, per_host=1)]
    assert wrong(world.probe(*placed)) == []


def test_a_network_created_isolated_is_apart_from_its_tenants_others(world: World) -> None:
    red = world.tenant("red")
    alone = world.network(red, "alone", "10.23.0.0/24", isolated=True)
    inside = world.endpoints(alone, hosts=("h1", "h2"), per_host=1)
    outside = world.endpoints(f"{red}/default", hosts=("h1", "h2"), per_host=1)
    names = {one.name for one in inside}
    for answer in world.probe(*inside, *outside, families=[4]):
        together = (answer.ask.source.name in names) == (answer.ask.target.name in names)
        assert answer.ok == together, answer.ask
