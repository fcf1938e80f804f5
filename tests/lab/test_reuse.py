"""An address that changes hands belongs to its new holder alone, and does not change hands at once."""

from __future__ import annotations

from tests.lab.test_first_packet import ask
from tests.lab.test_spoofing import ip
from tests.lab.world import World


def test_an_address_freed_by_one_tenant_and_given_to_another_is_reachable_only_by_the_other(world: World) -> None:
    red, blue = world.tenant("red"), world.tenant("blue")
    first = world.network(red, "net", "10.49.0.0/24")
    old, red_friend = world.endpoint(first, "h1", addresses=["10.49.0.50"]), world.endpoint(first, "h2")
    world.settle()
    assert ask(red_friend, old) == old.name.encode()
    world.remove(old)
    second = world.network(blue, "net", "10.49.0.0/24", private=True)
    new, blue_friend = world.endpoint(second, "h1", addresses=["10.49.0.50"]), world.endpoint(second, "h2")
    world.settle()
    assert ip(new) == ip(old)
    assert ask(blue_friend, new) == new.name.encode()
    assert ask(red_friend, new, 0.5) is None


def test_a_whole_subnet_changes_hands(world: World) -> None:
    red, blue = world.tenant("red"), world.tenant("blue")
    first = world.network(red, "net", "10.50.0.0/24")
    old = world.endpoint(first, "h1", addresses=["10.50.0.9"])
    witness = world.endpoint(f"{red}/default", "h2")
    world.settle()
    assert ask(witness, old) == old.name.encode(), "networks of one tenant reach each other"
    world.remove(old)
    world.rest.delete(f"/networks/{first}")
    second = world.network(blue, "net", "10.50.0.0/24")
    new, friend = world.endpoint(second, "h3", addresses=["10.50.0.9"]), world.endpoint(second, "h2")
    world.settle()
    assert ask(friend, new) == new.name.encode()
    assert ask(witness, new, 0.5) is None


def test_addresses_rest_before_they_are_given_again(world: World) -> None:
    network = world.network(world.tenant("red"), "net", "10.51.0.0/24")
    seen = []
    for _ in range(5):
        placed = world.endpoint(network, "h1")
        seen.append(ip(placed))
        world.remove(placed)
    assert len(set(seen)) == len(seen)
