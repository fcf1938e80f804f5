"""A switch that refuses, forgets, is tampered with or obeys another is brought back to what is wanted."""

from __future__ import annotations

import pytest

from controller.openflow import bundle
from controller.openflow.events import (
    Broken,
    Confirmed,
    Drifted,
    Failed,
    Measured,
    Step,
    Superseded,
    Synced,
)
from controller.openflow.session import REQUEST_SECONDS, State
from controller.pipeline.flow import Kind, Reason
from tests.pure.openflow_switch import FLOWS, Wire, a_flow, content, in_step


@pytest.fixture
def wire() -> Wire:
    return in_step()


# Failures.


def test_a_refused_flow_is_reported_with_the_switchs_words_and_tried_once_more(wire: Wire) -> None:
    bad = a_flow(66)
    wire.switch.refuse = {bad.cookie}
    wire.change(2, [bad, a_flow(20)], [FLOWS[0]])
    failure = Failed(
        2, "the switch refused a flow in table 70 with priority 100: bad match: a prerequisite is missing", bad.cookie
    )
    assert wire.settle() == [failure, failure]
    assert wire.session.counters.bundles_sent == 3
    assert wire.session.state is State.IDLE


def test_a_bundle_with_a_refused_flow_changes_nothing_at_all(wire: Wire) -> None:
    bad = a_flow(66)
    wire.switch.refuse = {bad.cookie}
    wire.change(2, [bad, a_flow(20)], [FLOWS[0]])
    wire.settle()
    assert wire.switch.has() == content(FLOWS)


def test_a_flow_refused_when_the_bundle_is_committed_is_named_too(wire: Wire) -> None:
    bad = a_flow(66)
    wire.switch.refuse_at_commit = {bad.cookie}
    wire.change(2, [bad, a_flow(20)], [])
    failure = Failed(
        2, "the switch refused a flow in table 70 with priority 100: flow not changed: table is full", bad.cookie
    )
    assert wire.settle() == [failure, failure]
    assert wire.switch.has() == content(FLOWS)


def test_after_a_failure_the_next_wish_is_compared_with_what_the_switch_really_has(wire: Wire) -> None:
    bad = a_flow(66)
    wire.switch.refuse = {bad.cookie}
    wire.change(2, [bad], [])
    wire.settle()
    wire.change(3, [], [bad])
    assert wire.settle() == [Confirmed(3)]
    assert wire.switch.has() == content(FLOWS)


def test_a_passing_refusal_is_overcome_by_the_second_try(wire: Wire) -> None:
    odd = a_flow(66)
    wire.switch.refuse = {odd.cookie}
    wire.change(2, [odd], [])
    while wire.session.state is not State.DUMPING:
        wire.deliver()
    wire.switch.refuse = set()
    events = wire.settle()
    assert isinstance(events[0], Failed)
    assert events[1:] == [Confirmed(2)]
    assert wire.switch.has() == content([*FLOWS, odd])


def test_a_switch_that_does_not_answer_is_given_up_in_time(wire: Wire) -> None:
    step = wire.session.change(2, [a_flow(20)], [], 100.0)
    assert step.send
    assert wire.session.tick(100.0 + REQUEST_SECONDS - 0.1).events == []
    [event] = wire.session.tick(100.0 + REQUEST_SECONDS).events
    assert isinstance(event, Broken)
    assert "did not answer within 15 s when asked to take a bundle" in event.sentence
    wire.connect()
    assert wire.settle() == [Synced(10, 1, 0), Confirmed(2)]


def test_a_switch_in_step_may_be_silent_for_ever(wire: Wire) -> None:
    assert wire.session.tick(1e9) == Step(b"", [])


def test_a_connection_lost_half_way_is_made_up_for_on_the_next(wire: Wire) -> None:
    wire.change(2, [a_flow(20)], [FLOWS[0]])
    wire.session.disconnected()
    wire.change(3, [a_flow(21)], [])
    wire.connect()
    assert wire.settle() == [Synced(10, 2, 1), Confirmed(3)]
    assert wire.switch.has() == content([*FLOWS[1:], a_flow(20), a_flow(21)])


def test_a_switch_that_lost_its_flows_gets_all_of_them(wire: Wire) -> None:
    wire.session.disconnected()
    wire.switch.flows.clear()
    wire.connect()
    assert wire.settle() == [Synced(0, 10, 0), Confirmed(1)]
    assert wire.switch.has() == content(FLOWS)


# Looking again.


def test_an_audit_of_a_switch_in_order_says_and_sends_nothing(wire: Wire) -> None:
    before = wire.session.counters.flow_mods_sent
    wire.take(wire.session.audit(0.0))
    assert wire.settle() == []
    assert wire.switch.dumps == 2
    assert wire.session.counters.flow_mods_sent == before


def test_an_audit_repairs_what_others_deleted_added_or_changed(wire: Wire) -> None:
    del wire.switch.flows[FLOWS[0].key]
    wire.switch.install(a_flow(99))
    # As `ovs-ofctl mod-flows` would: other actions, the same cookie.
    wire.switch.flows[FLOWS[1].key] = FLOWS[1].cookie, a_flow(1, port=5).instructions, 0
    wire.take(wire.session.audit(0.0))
    assert wire.settle() == [Drifted(3), Confirmed(1)]
    assert wire.switch.has() == content(FLOWS)


def test_a_wish_that_comes_during_an_audit_is_not_drift(wire: Wire) -> None:
    wire.take(wire.session.audit(0.0))
    wire.change(2, [a_flow(20)], [FLOWS[0]])
    assert wire.settle() == [Confirmed(2)]
    assert wire.switch.has() == content([*FLOWS[1:], a_flow(20)])


def test_a_switch_with_its_own_spelling_of_actions_is_left_alone_once_that_is_known() -> None:
    wire = Wire()
    wire.switch.respell = lambda instructions: instructions + bytes(8)
    wire.want(1, FLOWS)
    wire.connect()
    wire.settle()
    wire.take(wire.session.audit(0.0))
    wire.settle()
    sent = wire.session.counters.flow_mods_sent
    for _ in range(3):
        wire.take(wire.session.audit(0.0))
        assert wire.settle() == []
    assert wire.session.counters.flow_mods_sent == sent
    wire.switch.flows[FLOWS[1].key] = FLOWS[1].cookie, a_flow(1, port=5).instructions, 0
    wire.take(wire.session.audit(0.0))
    assert wire.settle() == [Drifted(1), Confirmed(1)]


def test_the_same_tampering_twice_is_repaired_twice(wire: Wire) -> None:
    for _ in range(2):
        wire.switch.flows[FLOWS[1].key] = FLOWS[1].cookie, a_flow(1, port=5).instructions, 0
        wire.take(wire.session.audit(0.0))
        assert wire.settle() == [Drifted(1), Confirmed(1)]
        assert wire.switch.has() == content(FLOWS)


def test_a_flow_like_ours_with_a_foreign_cookie_becomes_ours(wire: Wire) -> None:
    wire.switch.flows[FLOWS[1].key] = 0, FLOWS[1].instructions, 0
    wire.take(wire.session.audit(0.0))
    assert wire.settle() == [Drifted(1), Confirmed(1)]
    assert wire.switch.has() == content(FLOWS)


def test_a_switch_with_its_own_spelling_of_matches_keeps_its_flows() -> None:
    wire = Wire()
    wire.switch.respell_match = lambda oxm: oxm + b"\x00"
    wire.want(1, FLOWS)
    wire.connect()
    wire.settle()
    wire.connect()
    assert wire.settle() == [Synced(10, 0, 0), Confirmed(1)]
    assert len(wire.switch.flows) == 10


def test_dropped_packets_are_added_up_by_reason() -> None:
    wire = Wire()
    spoofed = [a_flow(number, owner=Kind.DROP + Reason.SPOOFED) for number in (1, 2)]
    isolated = a_flow(3, owner=Kind.DROP + Reason.TENANT_ISOLATION)
    for flow, packets in zip([*spoofed, isolated, a_flow(4)], (5, 7, 1, 1000), strict=True):
        wire.switch.install(flow, packets)
    wire.want(1, [*spoofed, isolated, a_flow(4)])
    wire.connect()
    wire.settle()
    for _ in range(2):
        wire.take(wire.session.measure(0.0))
        while wire.pending:
            wire.deliver()
        assert wire.events == [Measured({Reason.SPOOFED: 12, Reason.TENANT_ISOLATION: 1}, [])]
        wire.events = []


def test_a_switch_that_will_not_tell_its_flows_is_given_up(wire: Wire) -> None:
    step = wire.session.audit(0.0)
    refusal = bytes([5, 1, 0, 12]) + step.send[4:8] + bytes([0, 1, 0, 5])
    assert wire.session.received(refusal, 0.0).events == [
        Broken("the switch does not tell its flows: bad request: not permitted")
    ]


# Masters.


def test_a_controller_with_an_old_lease_sends_nothing(wire: Wire) -> None:
    wire.switch.generation = 9
    wire.session.disconnected()
    wire.change(2, [a_flow(20)], [])
    wire.connect(generation=8)
    [event] = wire.settle()
    assert event == Superseded(
        "the switch refused to make this controller its master: role request failed: stale generation id"
    )
    wire.change(3, [a_flow(21)], [])
    assert wire.settle() == []
    assert wire.switch.has() == content(FLOWS)
    wire.take(wire.session.claim(0.0, 10))
    assert wire.settle() == [Synced(10, 2, 0), Confirmed(3)]


def test_a_controller_hears_that_another_took_over(wire: Wire) -> None:
    status = bytes([5, 30, 0, 24, 0, 0, 0, 0]) + bundle.SLAVE.to_bytes(4, "big") + bytes(12)
    wire.take(wire.session.received(status, 0.0))
    assert wire.settle() == [Superseded("another controller became the switch's master")]
    wire.change(2, [a_flow(20)], [])
    assert wire.settle() == []


def test_a_switch_that_obeys_another_is_not_asked_again(wire: Wire) -> None:
    step = wire.session.change(2, [a_flow(20)], [], 0.0)
    opened, closed = step.send[4:8], step.send[-12:-8]
    for xid in (opened, bytes(4), closed):
        wire.take(wire.session.received(bytes([5, 1, 0, 12]) + xid + bytes([0, 1, 0, 10]), 0.0))
    assert wire.settle() == [Superseded("the switch takes no changes from a controller that is not its master")]
