"""What went from host to host, read off flows' counters by their cookies."""

from __future__ import annotations

from controller.account import Account
from controller.carried import Carried, Carriers
from controller.model import Change
from controller.openflow.encode import encode
from controller.pipeline import classify, output
from controller.pipeline.program import Key, Part, fragment
from controller.world import World
from tests.pure import worlds


def cookies(world: World, host: int) -> tuple[int, int]:
    """Of the flows that send to it and take what comes from it."""
    (to,), (out_of,) = output.peer(world, world.hosts[host]), classify.peer(world, world.hosts[host])
    assert {to, out_of} == set(fragment(world, Key(Part.PEER, host)))
    return encode(to).cookie, encode(out_of).cookie


def test_both_ways_are_told_apart_and_others_flows_left_out() -> None:
    world = worlds.world(*worlds.two_tenants())
    here, there = sorted(world.hosts)[:2]
    to, out_of = cookies(world, there)
    carriers = Carriers()
    counts = {to: (3, 300), out_of: (2, 250), 0x7702 << 48: (9, 900)}
    assert carriers.read(world, here, counts) == {there: Carried(3, 300, 2, 250)}
    assert carriers.read(world, here, {to: (0, 0), out_of: (2, 250)}) == {there: Carried(0, 0, 2, 250)}
    assert carriers.read(world, there, counts) == {}  # nobody sends to himself


def test_an_account_keeps_what_is_new_until_it_is_written() -> None:
    world = worlds.world(*worlds.two_tenants())
    here, there = sorted(world.hosts)[:2]
    to, _ = cookies(world, there)
    now = [0.0]
    account = Account({}, lambda: now[0])
    account.carried(world, here, {to: (3, 300)})
    try:
        with account.noted() as (_, _, carried):
            assert carried == {here: {there: Carried(3, 300)}}
            raise OSError
    except OSError:
        pass
    now[0] += 1
    account.carried(world, here, {to: (3, 300)})
    with account.noted() as (_, _, carried):
        assert carried == {here: {there: Carried(3, 300)}}
    now[0] += 1
    account.carried(world, here, {to: (3, 300)})
    account.carried(world, here, {})
    with account.noted() as (_, _, carried):
        assert carried == {}


def test_a_host_that_comes_is_known_at_once() -> None:
    world = worlds.world(*worlds.two_tenants())
    here = min(world.hosts)
    carriers = Carriers()
    carriers.read(world, here, {1: (1, 1)})
    new = world.hosts[here]._replace(id=77, name="h77", address=(4, 0xC6120F4D))
    grown = world.apply(world.revision + 1, [Change("host", 77, new)])
    to, _ = cookies(grown, 77)
    assert carriers.read(grown, here, {to: (5, 500)}) == {77: Carried(5, 500)}
