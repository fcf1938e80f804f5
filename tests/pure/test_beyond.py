"""A preview is not silent of what turns for hosts and the outside, and says nothing of it where nothing can."""

from __future__ import annotations

from random import Random

import pytest

from controller.calc.beyond import beyond
from controller.calc.judge import Asked, End, decide
from controller.calc.outside import judge_outside
from controller.model import Change, Direction
from controller.world import World
from tests.policies import case
from tests.pure import worlds
from tests.pure.test_policy_preview import applied

OUTSIDE = {4: (0xF0770001, 0xC6336407, 0x0A000001), 6: (0xFD776172_72656F75_00000000_00000001, 0x20010DB8 << 96 | 7)}


def judged(world: World) -> list[bool]:
    """Every endpoint with some addresses outside, both ways."""
    found = []
    for endpoint in world.endpoints.values():
        for version in {a.version for a in endpoint.addresses}:
            for address in OUTSIDE[version]:
                asked = Asked(version, 6, 80)
                found.append(judge_outside(world, endpoint, address, asked)[-1].allowed)
                ends = End(None, address), End.of(world, endpoint, version)
                found.append(decide(world, Direction.INGRESS, *ends, asked).allowed)
    return found


@pytest.mark.parametrize("seed", range(40))
def test_what_turns_beyond_endpoints_is_never_passed_over(seed: int) -> None:
    old, new, changes = applied(case(Random(seed)))
    for one in changes:
        step = old.apply(old.revision + 1, [one])
        if judged(old) != judged(step):
            assert list(beyond(old, step, [one])), one
    assert not list(beyond(new, new, changes)), "what is as before turns nothing"


def said(*changes: Change) -> list[str]:
    old = worlds.world(*worlds.two_tenants())
    return [one.words for one in beyond(old, old.apply(2, changes), changes)]


def test_a_tenant_that_begins_to_deny_does_so_to_hosts_and_the_outside() -> None:
    deny = worlds.tenant(worlds.TENANT_A, default_deny=frozenset({Direction.INGRESS, Direction.EGRESS}))
    assert said(deny) == [
        "tenant t1 begins to deny ingress from hosts and the outside by default",
        "tenant t1 begins to deny egress to the outside and the hosts by default",
    ]
    assert said(worlds.tenant(worlds.TENANT_A, zone=7)) == [], "isolation says nothing of the outside"
