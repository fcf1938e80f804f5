"""What a search put into words is used again after a change, and never where other words would be said now."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given, settings

from controller.calc.engine import Engine
from controller.calc.known import Names
from controller.model import Change
from controller.world import World
from tests.pure import worlds
from tests.pure.test_engine import HOSTS, histories
from web.modelled import Placed, place, program
from web.ui import flows


@given(histories())
@settings(deadline=None, max_examples=40)
def test_texts_that_are_kept_are_those_that_would_be_said_now(batches: list[list[Change]]) -> None:
    known: Engine[Placed] = Engine(World(), place)
    kept = {}
    for host in HOSTS:
        known.attach(host)
        kept[host] = program(known.world, host, known, None)
    for revision, batch in enumerate(batches, 1):
        known.advance(known.world.apply(revision, batch), batch)
        for host in HOSTS:
            kept[host] = program(known.world, host, known, kept[host])
            assert flows._texts(kept[host]) == flows._texts(program(known.world, host, known, None))


def test_a_change_of_one_endpoint_puts_into_words_what_it_concerns() -> None:
    world = worlds.world(*worlds.two_tenants())
    known: Engine[Placed] = Engine(world, place)
    known.attach(1)
    before = program(world, 1, known, None)
    all = len(flows._texts(before))
    new = worlds.endpoint(104, 10, 1, 40)
    known.advance(world.apply(2, [new]), [new])
    after = program(known.world, 1, known, before)
    with patch.object(flows, "told", wraps=flows.told) as told:
        assert len(flows._texts(after)) > all
    assert 0 < told.call_count < all / 2
    assert isinstance(after.names, Names)
