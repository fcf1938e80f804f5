"""The one reader of a process: who waits for what is woken by it, the rest sleeps on."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator
from types import SimpleNamespace
from typing import NamedTuple
from unittest.mock import patch

import pytest

from db.convergence import Lag
from web.api.events import events, revision_events
from web.live import KEPT_CHANGES, Held, Live, News
from web.viewers import GATHER_SECONDS


class Row(NamedTuple):
    revision: int
    noun: str = "endpoint"
    id: int = 1
    op: str = "create"
    host_id: int | None = None


class ScriptedSource:
    """A database that changes when the test says so. None: the log is lost, as after a restored backup."""

    def __init__(self) -> None:
        self.commits: queue.Queue[list[Row] | Exception | None] = queue.Queue()
        self.newest = 10
        self.latest: list[Row] | None = []
        self.asked: dict[int, int] = {}
        self.lag = Lag(0, [])
        self.concerned: list[Collection[int] | None] = []
        self.opened = 0

    def open(self) -> ScriptedSource:
        self.opened += 1
        return self

    def wait(self, timeout: float) -> bool:
        try:
            commit = self.commits.get(timeout=min(timeout, 0.02))
        except queue.Empty:
            return False
        if isinstance(commit, Exception):
            raise commit
        self.latest = commit
        return True

    def revision(self) -> int:
        return self.newest

    def since(self, revision: int, concerned: Collection[int] | None) -> News:
        self.concerned.append(concerned)
        return News(self.latest, self.asked, None if concerned is None else self.lag)

    def close(self) -> None:
        pass


@pytest.fixture
def source() -> ScriptedSource:
    return ScriptedSource()


@pytest.fixture
def live(source: ScriptedSource) -> Iterator[Live]:
    made = Live(source.open, slots=2)  # type: ignore[arg-type]
    yield made
    made.close()


def waiter(live: Live, after: int, host: int, woken: list[tuple[int, bool]]) -> threading.Thread:
    def wait() -> None:
        found = live.wait_for_change(after, lambda changes: any(change.host_id == host for change in changes), 60)
        woken.append((host, found))

    thread = threading.Thread(target=wait)
    before = live.waiting()
    thread.start()
    while live.waiting() == before and thread.is_alive():
        time.sleep(0.001)
    return thread


def test_only_those_whom_a_change_concerns_are_woken(live: Live, source: ScriptedSource) -> None:
    assert live.seen().revision == 10
    woken: list[tuple[int, bool]] = []
    first, second = waiter(live, 10, 1, woken), waiter(live, 10, 2, woken)
    source.commits.put([Row(11, host_id=2)])
    second.join(60)
    assert woken == [(2, True)]
    assert live.waiting() == 1
    source.commits.put([Row(12, host_id=1)])
    first.join(60)
    assert woken == [(2, True), (1, True)]


def test_a_change_between_looking_and_waiting_is_not_missed(live: Live, source: ScriptedSource) -> None:
    looked = live.seen()
    source.commits.put([Row(11, host_id=1)])
    assert live.wait_for_pulse(looked.pulse, 60)
    assert live.wait_for_change(looked.revision, lambda changes: bool(changes), 0)


def asked_waiter(live: Live, host: int, pulse: int, woken: list[tuple[int, bool]]) -> threading.Thread:
    """Waits for no change, but for a question to the agent of a host."""

    def wait() -> None:
        woken.append((host, live.wait_for_change(10, lambda changes: False, 60, asked=(host, pulse))))

    thread = threading.Thread(target=wait)
    before = live.waiting()
    thread.start()
    while live.waiting() == before and thread.is_alive():
        time.sleep(0.001)
    return thread


def test_a_question_wakes_its_hosts_agent_once_and_no_other(live: Live, source: ScriptedSource) -> None:
    pulse = live.seen().pulse
    woken: list[tuple[int, bool]] = []
    first, second = asked_waiter(live, 1, pulse, woken), asked_waiter(live, 2, pulse, woken)
    source.asked = {7: 2}
    source.commits.put([])
    second.join(60)
    assert woken == [(2, True)]
    looked = live.seen().pulse
    again = asked_waiter(live, 2, looked, woken)
    source.commits.put([])
    assert live.wait_for_pulse(looked, 60)
    assert live.waiting() == 2, "a question that is known wakes nobody"
    source.asked = {7: 2, 9: 2, 8: 1}
    source.commits.put([])
    first.join(60)
    again.join(60)
    assert sorted(woken[1:]) == [(1, True), (2, True)]


def test_a_question_between_looking_and_waiting_is_not_missed(live: Live, source: ScriptedSource) -> None:
    looked = live.seen()
    source.asked = {7: 1}
    source.commits.put([])
    assert live.wait_for_pulse(looked.pulse, 60)
    assert live.wait_for_change(looked.revision, lambda changes: False, 0, asked=(1, looked.pulse))
    assert not live.wait_for_change(looked.revision, lambda changes: False, 0, asked=(2, looked.pulse))
    assert not live.wait_for_change(looked.revision, lambda changes: False, 0, asked=(1, live.seen().pulse))


def test_who_waits_for_hosts_sleeps_while_they_hold_it(live: Live, source: ScriptedSource) -> None:
    """One look at the lag is for all who wait, and none is taken when nobody does."""
    pulse = live.seen().pulse
    source.commits.put([])
    assert live.wait_for_pulse(pulse, 60)
    looks = Counter[int]()

    def wait(revision: int) -> None:
        def by(lag: Lag) -> bool:
            looks[revision] += 1
            return lag.computed < revision

        woken.append((revision, live.wait_for_pulse(live.seen().pulse, 60, Held(by, frozenset({revision})))))

    woken: list[tuple[int, bool]] = []
    threads = [threading.Thread(target=wait, args=(revision,)) for revision in (21, 22)]
    for thread in threads:
        thread.start()
    while live.waiting() < 2:
        time.sleep(0.001)
    for computed, expected in ((20, []), (21, [21]), (22, [21, 22])):
        source.lag = Lag(computed, [])
        pulse = live.seen().pulse
        source.commits.put([])
        assert live.wait_for_pulse(pulse, 60)
        for thread, revision in zip(threads, (21, 22), strict=True):
            if revision in expected:
                thread.join(60)
        assert [revision for revision, _ in woken] == expected
    assert looks == {21: 2, 22: 3} and all(found for _, found in woken)
    assert source.concerned == [None, {21, 22}, {21, 22}, {22}]


def test_memory_that_does_not_reach_back_says_so(live: Live, source: ScriptedSource) -> None:
    assert live.since(10) == []
    assert live.since(9) is None
    assert live.since(11) is None
    source.commits.put([Row(11), Row(12)])
    assert live.wait_for_pulse(live.seen().pulse, 60)
    assert live.since(11) == [Row(12)]
    assert live.wait_for_change(9, lambda changes: False, 5), "who cannot know has to look"


def test_memory_is_bounded(live: Live, source: ScriptedSource) -> None:
    pulse = live.seen().pulse
    source.commits.put([Row(11)])
    assert live.wait_for_pulse(pulse, 60)
    source.commits.put([Row(12, id=number) for number in range(KEPT_CHANGES)])
    assert live.wait_for_pulse(pulse + 1, 60)
    assert live.since(10) is None
    kept = live.since(11)
    assert kept is not None and len(kept) == KEPT_CHANGES


def test_a_lost_log_wakes_everybody(live: Live, source: ScriptedSource) -> None:
    live.seen()
    woken: list[tuple[int, bool]] = []
    thread = waiter(live, 10, 1, woken)
    source.newest = 500
    source.commits.put(None)
    thread.join(60)
    assert woken == [(1, True)]
    assert live.seen().revision == 500


def test_a_database_that_went_away_is_opened_again(live: Live, source: ScriptedSource) -> None:
    live.seen()
    source.commits.put(OSError("gone"))
    source.commits.put([Row(11, host_id=1)])
    deadline = time.monotonic() + 60
    while live.seen().revision != 11:
        assert time.monotonic() < deadline
        live.wait_for_pulse(live.seen().pulse, 0.1)
    assert source.opened == 2


def test_slots_are_bounded_and_given_back(live: Live) -> None:
    with live.slot() as first, live.slot() as second, live.slot() as third:
        assert (first, second, third) == (True, True, False)
    with live.slot() as again:
        assert again


def test_closing_wakes_everybody_and_lets_nobody_wait_again(live: Live) -> None:
    live.seen()
    woken: list[tuple[int, bool]] = []
    thread = waiter(live, 10, 1, woken)
    live.close()
    thread.join(60)
    assert woken == [(1, False)]
    assert not live.wait_for_pulse(live.seen().pulse, 60)
    with live.slot() as got:
        assert not got


def test_a_stream_tells_the_first_change_at_once_and_rests_between(live: Live, source: ScriptedSource) -> None:
    rests: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: 1000.0)  # it stands: on a slow machine time enough has passed anyway
    with patch.object(live, "rest", rests.append), patch("web.api.events.time", clock):
        stream = events(live, 10)
        assert next(stream).startswith("retry")
        for revision in (11, 12, 13):
            source.commits.put([Row(revision)])
            assert any(f"id: {revision}\n" in text for text in stream)
    assert len(rests) >= 1 and all(0 < one <= GATHER_SECONDS for one in rests)


def test_what_many_are_told_is_written_once(live: Live, source: ScriptedSource) -> None:
    assert live.seen().revision == 10
    source.commits.put([Row(11)])
    assert live.wait_for_pulse(live.seen().pulse, 60) or live.seen().revision == 11
    revision_events.cache_clear()
    for _ in range(5):
        stream = events(live, 10)
        assert any("id: 11\n" in text for text in stream)
    assert revision_events.cache_info().misses == 1
