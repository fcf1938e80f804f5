"""Names for the numbers in flows: which of them mean something else after a change."""

from __future__ import annotations

from hypothesis import given, settings

from controller.calc.known import Names, numbers, owned
from controller.model import Change
from controller.pipeline.flow import Flow, SetField
from controller.world import World
from tests.pure.test_engine import HOSTS, histories


def said(flow: Flow, names: Names) -> list[str | None]:
    items = (*flow.match, *(action for action in flow.actions if isinstance(action, SetField)))
    return [names.of(item.field, item.value, item.mask) for item in items]


@given(histories())
@settings(deadline=None, max_examples=60)
def test_a_flow_without_a_number_that_changed_is_told_in_the_same_words(batches: list[list[Change]]) -> None:
    world = World()
    for revision, batch in enumerate(batches, 1):
        before, world = world, world.apply(revision, batch)
        for host in HOSTS:
            old, new = Names(before, host), Names(world, host)
            changed = new.changed(old)
            assert changed == old.changed(new)
            for one in owned(world, host):
                if changed.isdisjoint(numbers(one.flow)):
                    assert said(one.flow, old) == said(one.flow, new)
