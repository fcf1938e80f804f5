"""Counts of rules add up, whatever happens to flows, switches and controllers on the way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from controller.calc.tally import Count, Place, Reading, Tally
from controller.model import Direction
from controller.pipeline.flow import RuleRef

FIRST = RuleRef(7, Direction.INGRESS, 0)
SECOND = RuleRef(7, Direction.INGRESS, 1)
DENY = RuleRef(0, Direction.INGRESS, 3)
NOW = datetime(2026, 11, 24, tzinfo=UTC)
HOST = 1


class Bench:
    """A tally, what it has said so far, and a policy 7 that can change."""

    def __init__(self, known: dict[Place, Count] | None = None, version: int | None = 1) -> None:
        self.said = dict(known or {})
        self.version = version
        self.now = NOW
        self.tally = Tally(self.said)

    def read(self, *flows: tuple[int, RuleRef, int], host: int = HOST) -> set[Place]:
        """Each flow as cookie, rule and packets of 100 bytes; what is told to have changed."""
        readings: list[Reading] = [(cookie, rule, packets, packets * 100) for cookie, rule, packets in flows]
        changed = self.tally.read(host, readings, lambda policy: self.version if policy == 7 else None, self.now)
        self.said |= changed
        return set(changed)

    def restart(self) -> None:
        self.tally = Tally(self.said)

    def count(self, rule: RuleRef = FIRST, host: int = HOST) -> int:
        count = self.said.get(Place(*rule, host), Count(0))
        assert count.bytes == count.packets * 100
        return count.packets


def test_a_rule_has_what_its_flows_have_together() -> None:
    bench = Bench()
    assert bench.read((1, FIRST, 5), (2, FIRST, 7), (3, SECOND, 0)) == {Place(*FIRST, HOST)}
    assert (bench.count(), bench.count(SECOND)) == (12, 0)


def test_only_what_changed_is_told_and_when_it_was_last_hit() -> None:
    bench = Bench()
    bench.read((1, FIRST, 5), (2, SECOND, 1))
    bench.now += timedelta(seconds=5)
    assert bench.read((1, FIRST, 5), (2, SECOND, 4)) == {Place(*SECOND, HOST)}
    assert bench.said[Place(*FIRST, HOST)].last_hit == NOW
    assert bench.said[Place(*SECOND, HOST)].last_hit == bench.now


def test_hosts_count_apart() -> None:
    bench = Bench()
    bench.read((1, FIRST, 5))
    bench.read((1, FIRST, 3), host=2)
    assert (bench.count(), bench.count(host=2)) == (5, 3)


def test_flows_that_come_go_and_begin_anew_take_nothing_away() -> None:
    bench = Bench()
    bench.read((1, FIRST, 5), (2, FIRST, 7))
    bench.read((1, FIRST, 6))
    assert bench.count() == 13
    bench.read((1, FIRST, 6), (2, FIRST, 3))  # the same flow again, and new
    assert bench.count() == 16
    bench.read((1, FIRST, 2), (2, FIRST, 0))  # the switch was restarted
    assert bench.count() == 18


def test_a_controller_that_starts_counts_on_and_nothing_twice() -> None:
    bench = Bench()
    bench.read((1, FIRST, 5), (2, FIRST, 7))
    bench.restart()
    assert bench.read((1, FIRST, 5), (2, FIRST, 7)) == set()
    bench.restart()
    bench.read((1, FIRST, 6), (2, FIRST, 9), (3, SECOND, 4))
    assert (bench.count(), bench.count(SECOND)) == (15, 4)


def test_a_flow_that_went_before_the_controller_did_is_not_counted_again_by_the_next() -> None:
    bench = Bench()
    bench.read((1, FIRST, 5), (2, FIRST, 7))
    bench.read((1, FIRST, 5))
    bench.restart()
    bench.read((1, FIRST, 6))
    assert bench.count() == 13


def test_of_a_switch_that_was_restarted_while_no_controller_looked_some_is_lost_and_nothing_counted_twice() -> None:
    bench = Bench()
    bench.read((1, FIRST, 50))
    bench.restart()
    bench.read((1, FIRST, 4))
    assert bench.count() == 50
    bench.read((1, FIRST, 7))
    assert bench.count() == 53


def test_another_version_of_a_policy_begins_at_zero() -> None:
    bench = Bench()
    bench.read((1, FIRST, 50), (2, SECOND, 3))
    bench.version = 2
    bench.read((1, FIRST, 50), (2, SECOND, 5))
    assert (bench.count(), bench.count(SECOND)) == (0, 2)
    assert bench.said[Place(*FIRST, HOST)].version == 2


def test_another_version_begins_at_zero_also_when_no_controller_saw_it_come() -> None:
    bench = Bench()
    bench.read((1, FIRST, 50))
    bench.version = 2
    bench.restart()
    bench.read((1, FIRST, 60))
    assert bench.count() == 0
    bench.read((1, FIRST, 61))
    assert bench.count() == 1


def test_what_a_policy_that_is_gone_or_none_has_counted_is_not_told() -> None:
    bench = Bench()
    bench.read((1, FIRST, 5))
    bench.version = None
    assert bench.read((1, FIRST, 9), (2, DENY, 4)) == set()


def test_a_host_that_is_removed_is_forgotten() -> None:
    bench = Bench()
    bench.read((1, FIRST, 5))
    bench.tally.forget(HOST)
    bench.read((1, FIRST, 2))
    assert bench.count() == 2


STEPS = st.lists(st.tuples(st.sampled_from(("packets", "lose", "restart", "switch")), st.integers(0, 3)), max_size=40)


@given(STEPS)
def test_whatever_happens_between_readings_every_packet_counts_once(steps: list[tuple[str, int]]) -> None:
    """Readings come after every step here; what happens between two may be lost where flows go, and never doubled."""
    bench, flows, sent = Bench(), dict.fromkeys(range(4), 0), 0
    for what, which in steps:
        match what:
            case "packets":
                flows[which] += which + 1
                sent += which + 1
            case "lose":
                flows[which] = 0
            case "switch":
                flows = dict.fromkeys(flows, 0)
        bench.read(*((cookie, FIRST, packets) for cookie, packets in flows.items()))
        if what == "restart":
            bench.restart()
    assert bench.count() == sent
