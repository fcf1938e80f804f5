"""One switch is brought to, and kept at, what is wanted of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.openflow.events import (
    Confirmed,
    Synced,
)
from controller.openflow.session import Session
from tests.pure.openflow_switch import FLOWS, Wire, a_flow, content, in_step


@pytest.fixture
def wire() -> Wire:
    return in_step()


def test_an_empty_switch_gets_the_program_in_one_bundle(wire: Wire) -> None:
    assert wire.switch.has() == content(FLOWS)
    assert wire.switch.bundles == 1
    assert wire.session.flows == 10


def test_a_switch_that_already_has_everything_gets_no_flow_mods() -> None:
    wire = Wire()
    for flow in FLOWS:
        wire.switch.install(flow)
    wire.connect()
    wire.want(7, FLOWS)
    assert wire.settle() == [Synced(10, 0, 0), Confirmed(7)]
    assert wire.session.counters.flow_mods_sent == 0
    assert wire.switch.bundles == 0


def test_only_the_difference_is_sent_and_foreign_flows_go() -> None:
    wire = Wire()
    for flow in [*FLOWS[:8], a_flow(8, port=99), a_flow(77), a_flow(78, owner=0)]:
        wire.switch.install(flow)
    wire.connect()
    wire.want(1, FLOWS)
    assert wire.settle() == [Synced(11, 2, 2), Confirmed(1)]
    assert wire.session.counters.flow_mods_sent == 4
    assert wire.switch.has() == content(FLOWS)


def test_nothing_is_touched_before_anyone_said_what_is_wanted() -> None:
    wire = Wire()
    wire.switch.install(a_flow(1))
    wire.connect()
    assert wire.settle() == []
    assert wire.switch.dumps == 0
    assert wire.switch.has() == content([a_flow(1)])


def test_a_small_change_to_a_large_program_is_a_small_message() -> None:
    wire = Wire()
    wire.want(1, [a_flow(number) for number in range(5000)])
    wire.connect()
    wire.settle()
    before = wire.session.counters.bytes_sent
    wire.change(2, [a_flow(9999)], [a_flow(17)])
    assert wire.settle() == [Confirmed(2)]
    assert wire.session.counters.flow_mods_sent == 5002
    assert wire.session.counters.bytes_sent - before < 400
    assert wire.session.counters.dumps == 1
    assert len(wire.switch.flows) == 5000


def test_a_revision_that_changes_nothing_here_is_confirmed_at_once(wire: Wire) -> None:
    wire.change(2, [], [])
    assert wire.settle() == [Confirmed(2)]
    assert wire.session.counters.bundles_sent == 1


def test_a_changed_action_overwrites_the_flow(wire: Wire) -> None:
    wire.change(2, [a_flow(3, port=50)], [a_flow(3)])
    wire.settle()
    assert wire.session.counters.flow_mods_sent == 11
    assert wire.switch.has() == content([*FLOWS[:3], a_flow(3, port=50), *FLOWS[4:]])


def test_what_is_wanted_during_a_bundle_waits_and_is_merged(wire: Wire) -> None:
    wire.change(2, [a_flow(20)], [])
    wire.change(3, [a_flow(21), a_flow(22)], [a_flow(20)])
    wire.change(4, [a_flow(20)], [a_flow(21)])
    assert wire.session.counters.bundles_sent == 2
    assert wire.settle() == [Confirmed(2), Confirmed(4)]
    assert wire.session.counters.flow_mods_sent == 10 + 1 + 1
    assert wire.switch.has() == content([*FLOWS, a_flow(20), a_flow(22)])


def test_opposite_changes_during_a_bundle_cancel_out(wire: Wire) -> None:
    wire.change(2, [a_flow(20)], [])
    wire.change(3, [a_flow(0, port=9)], [a_flow(0)])
    wire.change(4, [a_flow(0)], [a_flow(0, port=9)])
    assert wire.settle() == [Confirmed(2), Confirmed(4)]
    assert wire.session.counters.bundles_sent == 2


def test_a_whole_program_and_the_same_change_cost_the_same(wire: Wire) -> None:
    wire.want(2, [a_flow(number) for number in range(1, 11)])
    assert wire.settle() == [Confirmed(2)]
    assert wire.session.counters.flow_mods_sent == 10 + 2
    assert wire.session.counters.dumps == 1


def test_two_flows_with_one_match_are_refused_and_nothing_changes(wire: Wire) -> None:
    with pytest.raises(ValueError, match="table 70 with priority 100 have the same match"):
        wire.change(2, [a_flow(5, port=2)], [a_flow(4)])
    with pytest.raises(ValueError, match="same match"):
        wire.want(2, [*FLOWS, a_flow(5, port=2)])
    with pytest.raises(ValueError, match="say what is wanted first"):
        Session().change(1, [], [], 0.0)
    wire.take(wire.session.audit(0.0))
    wire.settle()
    assert wire.switch.has() == content(FLOWS)


# Anything, in any order.

_PROGRAMS = st.dictionaries(st.integers(0, 6), st.integers(1, 3), max_size=6)
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("want"), _PROGRAMS),
        st.tuples(st.just("change"), _PROGRAMS),
        st.tuples(st.just("deliver"), st.integers(1, 6)),
        st.tuples(st.sampled_from(("audit", "measure", "reconnect", "restart")), st.just(0)),
        st.tuples(st.just("tamper"), st.integers(0, 6)),
        st.tuples(st.just("refuse"), st.integers(0, 6)),
    ),
    max_size=30,
)


@settings(max_examples=300, deadline=None)
@given(_STEPS)
def test_whatever_happens_the_switch_ends_with_what_is_wanted(steps: list[tuple[str, object]]) -> None:
    wire = Wire()
    wire.connect()
    wanted: dict[int, int] = {}
    wire.want(1, [])
    for revision, (verb, value) in enumerate(steps, 2):
        if verb in ("want", "change"):
            assert isinstance(value, dict)
            new = [a_flow(*item) for item in value.items() if wanted.get(item[0]) != item[1]]
            gone = [a_flow(*item) for item in wanted.items() if value.get(item[0]) != item[1]]
            wanted = value
            if verb == "want":
                wire.want(revision, [a_flow(*item) for item in wanted.items()])
            else:
                wire.change(revision, new, gone)
        elif verb == "deliver":
            assert isinstance(value, int)
            for _ in range(min(value, len(wire.pending))):
                wire.deliver()
        elif verb == "audit":
            wire.take(wire.session.audit(0.0))
        elif verb == "measure":
            wire.take(wire.session.measure(0.0))
        elif verb in ("reconnect", "restart"):
            if verb == "restart":
                wire.switch.flows.clear()
            wire.connect()
        elif verb == "tamper":
            assert isinstance(value, int)
            wire.switch.install(a_flow(value, port=44))
        else:
            wire.switch.refuse = {a_flow(value, port=port).cookie for port in (1, 2, 3)}  # type: ignore[arg-type]
    wire.switch.refuse = set()
    wire.settle()
    wire.take(wire.session.audit(0.0))
    wire.settle()
    wire.want(10_000, [a_flow(*item) for item in wanted.items()])
    wire.settle()
    assert wire.session.confirmed == 10_000
    assert wire.switch.has() == content([a_flow(*item) for item in wanted.items()])
