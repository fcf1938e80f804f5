"""One switch is brought to, and kept at, what is wanted of it."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.openflow import bundle
from controller.openflow.encode import WireFlow, encode
from controller.openflow.events import (
    Broken,
    Confirmed,
    Drifted,
    Event,
    Failed,
    Measured,
    Step,
    Superseded,
    Synced,
)
from controller.openflow.session import REQUEST_SECONDS, Session, State
from controller.pipeline.flow import Flow, Kind, Match, Output, Reason
from controller.pipeline.stages import Stage
from tests.pure.openflow_switch import FakeSwitch


def a_flow(number: int, port: int = 1, owner: int = Kind.ENDPOINT) -> WireFlow:
    """The flow for address `number`; with another port it has the same match and other actions."""
    match = (Match("eth_type", 0x0800), Match("ip_dst", number))
    return encode(Flow(Stage.DELIVER, 100, match, (Output(port),), None, owner))


def content(flows: list[WireFlow]) -> dict[bytes, tuple[int, bytes]]:
    return {flow.key: (flow.cookie, flow.instructions) for flow in flows}


class Wire:
    """Carries bytes between a session and a switch, one message at a time."""

    def __init__(self, switch: FakeSwitch | None = None) -> None:
        self.switch = switch or FakeSwitch()
        self.session = Session()
        self.events: list[Event] = []
        self.pending: deque[bytes] = deque()
        self.now = 0.0

    def take(self, step: Step) -> None:
        self.events += step.events
        self.pending += self.switch.answer(step.send)

    def deliver(self) -> None:
        self.take(self.session.received(self.pending.popleft(), self.now))

    def settle(self) -> list[Event]:
        """Until nobody has anything to say; gives what happened since the last time, measurements aside."""
        while self.pending:
            self.deliver()
        events = [event for event in self.events if not isinstance(event, Measured)]
        self.events = []
        return events

    def connect(self, generation: int | None = None) -> None:
        self.switch.reconnect()
        self.pending.clear()
        self.take(self.session.connected(self.now, generation))

    def want(self, revision: int, flows: list[WireFlow]) -> None:
        self.take(self.session.want(revision, flows, self.now))

    def change(self, revision: int, added: list[WireFlow], removed: list[WireFlow]) -> None:
        self.take(self.session.change(revision, added, removed, self.now))


FLOWS = [a_flow(number) for number in range(10)]


@pytest.fixture
def wire() -> Wire:
    """Connected, and in step with the ten flows at revision 1."""
    wire = Wire()
    wire.want(1, FLOWS)
    wire.connect()
    assert wire.settle() == [Synced(0, 10, 0), Confirmed(1)]
    return wire


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
        assert wire.events == [Measured({Reason.SPOOFED: 12, Reason.TENANT_ISOLATION: 1})]
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
