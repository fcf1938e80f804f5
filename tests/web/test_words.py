"""The sentence on top of a page says the worst thing first, in plain words, and what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from web.pace import Pace
from web.ui import words

NOW = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
STILL = Pace(revision=42, state="applied", waiting_for=(), milliseconds=None)


def host(name: str, state: str = "up", **more: Any) -> dict[str, Any]:
    base = {
        "name": name,
        "state": state,
        "endpoints": 0,
        "error": "",
        "agent": {},
        "seen_at": NOW - timedelta(seconds=2),
        "wanted_revision": 42,
        "confirmed_revision": 42,
    }
    return base | more


def lead(hosts: list[dict[str, Any]], pace: Pace = STILL, **counts: int) -> str:
    return words.overview(hosts, counts, pace, NOW).lead


HOSTS = [host("h1"), host("h2"), host("h3")]


def test_all_is_well_and_how_quick_it_is() -> None:
    assert lead(HOSTS) == "3 hosts, all in step."
    assert lead(HOSTS, STILL._replace(milliseconds=18.2)) == "3 hosts, all in step; last change live after 18 ms."
    assert lead([host("h1")]) == "1 host, in step."
    assert lead([]) == "No hosts yet."


def test_a_silent_host_comes_first_and_says_since_when_and_what_is_lost() -> None:
    silent = host("h2", "silent", endpoints=41, seen_at=NOW - timedelta(minutes=4))
    said = words.overview([host("h1", "degraded", error="x"), silent, host("h3")], {"down": 3}, STILL, NOW)
    assert said.lead == "h2 silent for 4 min: 41 endpoints out of sight."
    assert "`warren agent` runs there" in said.under
    assert said.mark == "wrong"


def test_many_silent_hosts_are_named_up_to_a_few() -> None:
    hosts = [host(f"h{n}", "silent", endpoints=1, seen_at=NOW - timedelta(minutes=n)) for n in range(1, 6)]
    assert lead(hosts) == "h1, h2, h3 and 2 more silent, the longest for 5 min: 5 endpoints out of sight."


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"error": "table is full"}, "table is full"),
        ({"agent": {"problems": ["br0 is gone"]}}, "br0 is gone"),
        ({}, "no controller"),
    ],
)
def test_a_degraded_host_says_why(more: dict[str, Any], why: str) -> None:
    said = words.overview([host("h1"), host("h2", "degraded", **more)], {}, STILL, NOW)
    assert said.lead == "h2 needs a look."
    assert why in said.under


def test_a_change_on_its_way_says_where_it_is_missing() -> None:
    assert lead(HOSTS, STILL._replace(state="pending", waiting_for=("h2",))) == (
        "3 hosts; the last change is applying on 1."
    )
    assert lead(HOSTS, STILL._replace(state="pending")) == "3 hosts; the last change waits for a controller."


def test_endpoints_that_are_down_are_counted() -> None:
    assert lead(HOSTS, down=1) == "3 hosts, 1 endpoint down."


def test_hosts_that_never_spoke_are_not_in_step() -> None:
    new = host("h9", "new", seen_at=None)
    assert lead([new]) == "1 host, none heard yet."
    assert lead([*HOSTS, new]) == "4 hosts, h9 not heard yet."


def test_numbers_read_well() -> None:
    assert words.many(1, "host") == "1 host"
    assert words.many(12345, "endpoint") == "12\u202f345 endpoints"
    assert words.duration(0.2) == "1 ms"
    assert words.duration(1840) == "1.8 s"
    assert words.ago(NOW - timedelta(hours=30), NOW) == "1 d ago"
    assert words.room({"size": 253, "used": 3}) == "3 of 253 addresses used"
    assert words.room({"size": 2**64 - 2, "used": 1}) == "1 address used"


def test_a_sentence_cannot_smuggle_markup_in() -> None:
    assert words.prose("run `warren <b>` in <i>") == "run <code>warren &lt;b&gt;</code> in &lt;i&gt;"
