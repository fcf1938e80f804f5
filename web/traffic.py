"""How fast endpoints received and sent during the last hour, as this process saw it: for charts.

Kept are rates, three 32-bit numbers for each endpoint and look: 180 looks at 10,000 endpoints are 22 MB. What was
before the process is not known; a host that told nothing new between two looks is a gap.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from db.traffic import Latest

EVERY_SECONDS = 20.0
"""More than agents take from one reading to the next, so that each look finds something new."""
KEPT_SECONDS = 3600.0

Chosen = Mapping[int, Collection[int] | None]
"""By a host's id the ids of endpoints there; None: all that are there."""


class HostRates(NamedTuple):
    """`ids` in their order; bytes, bytes and packets a second, in the same order."""

    ids: array[int]
    received: array[float]
    sent: array[float]
    dropped: array[float]


class Look(NamedTuple):
    """`at` in seconds since 1970. `tunnels`: bytes a second to and from another host, by host and other."""

    at: float
    hosts: Mapping[int, HostRates]
    tunnels: Mapping[int, Mapping[int, tuple[float, float]]]


class Rates(NamedTuple):
    """Bytes and packets a second at `times`; None where nothing is known."""

    times: list[float]
    received: list[float | None]
    sent: list[float | None]
    dropped: list[float | None]


class Traffic:
    """Not for several threads at once: its owner looks."""

    def __init__(self) -> None:
        self._before: dict[int, Latest] = {}
        self._before_at = 0.0
        self._looks: deque[Look] = deque(maxlen=int(KEPT_SECONDS / EVERY_SECONDS))

    def is_due(self, at: float) -> bool:
        return at - self._before_at >= EVERY_SECONDS

    def look(self, found: Sequence[Latest], at: float) -> None:
        """`found` is what hosts have counted at `at`, in seconds since 1970."""
        seconds = at - self._before_at
        now = {one.host_id: one for one in found}
        ids = {id: rates.ids for id, rates in self._looks[-1].hosts.items()} if self._looks else {}
        hosts, tunnels = {}, {}
        for id, one in now.items():
            before = self._before.get(id)
            if before is None:
                continue
            if before.counted_at and one.counted_at and one.counted_at > before.counted_at:
                hosts[id] = _host_rates(before, one, (one.counted_at - before.counted_at).total_seconds(), ids.get(id))
            tunnels[id] = {
                int(other): (increase(was[1], counts[1]) / seconds, increase(was[3], counts[3]) / seconds)
                for other, counts in one.tunnels.items()
                for was in (before.tunnels.get(other, (0, 0, 0, 0)),)
            }
        if self._before:
            self._looks.append(Look(at, hosts, tunnels))
        self._before, self._before_at = now, at

    def looks(self) -> Sequence[Look]:
        """Oldest first."""
        return tuple(self._looks)


def _host_rates(before: Latest, now: Latest, seconds: float, ids: array[int] | None) -> HostRates:
    known = sorted(int(id) for id in now.endpoints.keys() & before.endpoints.keys())
    if ids is None or list(ids) != known:
        ids = array("q", known)
    rates = HostRates(ids, array("f"), array("f"), array("f"))
    for id in known:
        was, counts = before.endpoints[str(id)], now.endpoints[str(id)]
        grown = [increase(old, new) / seconds for old, new in zip(was, counts, strict=True)]
        rates.received.append(grown[1])
        rates.sent.append(grown[4])
        rates.dropped.append(grown[2] + grown[5])
    return rates


def rates(looks: Sequence[Look], chosen: Chosen) -> Rates:
    """Of all that is chosen together."""
    found = Rates([], [], [], [])
    places: dict[tuple[int, int], list[int]] = {}
    for look in looks:
        if found.times and look.at - found.times[-1] > 3 * EVERY_SECONDS:
            _append(found, found.times[-1] + EVERY_SECONDS, None)
        sums, known = [0.0, 0.0, 0.0], False
        for host, wanted in chosen.items():
            its = look.hosts.get(host)
            if its is None:
                continue
            if wanted is None:
                known, parts = True, [sum(column) for column in its[1:]]
            else:
                key = host, id(its.ids)
                if key not in places:
                    places[key] = [place for place, one in enumerate(its.ids) if one in wanted]
                where = places[key]
                known = known or bool(where)
                parts = [sum(map(column.__getitem__, where)) for column in its[1:]]
            sums = [total + part for total, part in zip(sums, parts, strict=True)]
        _append(found, look.at, sums if known else None)
    return found


def _append(found: Rates, at: float, values: Sequence[float] | None) -> None:
    found.times.append(at)
    for series, value in zip(found[1:], values or (None, None, None), strict=True):
        series.append(value)


def increase(before: int, after: int) -> int:
    """Of a counter; one that fell has begun anew."""
    return after - before if after >= before else after
