"""What hosts counted during the last hour, as this process saw it: for charts, and to tell what grows from what grew.

One thread reads the hosts' counters every few seconds, from the first question or report on. What was before is not
known, and nothing is made up for it: a chart begins where the process began to look, and a gap stays a gap.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from sqlalchemy import Engine, select

from db.engine import reading
from db.tables import Host, HostStatus
from db.traffic import latest
from web.live import Live
from web.traffic import Look, Traffic, increase

log = logging.getLogger(__name__)

EVERY_SECONDS = 10.0
KEPT_SECONDS = 3600.0
REPAIRED = "repaired"


class Sample(NamedTuple):
    """`at` in seconds since 1970; of each host by its name what its counters were: drops by reason, and repairs."""

    at: float
    counts: Mapping[str, Mapping[str, int]]


class Rates(NamedTuple):
    """Packets per second by reason; `None` where nothing is known. `times` are the ends of what was looked at."""

    times: list[float]
    series: dict[str, list[float | None]]


class History:
    def __init__(self, engine: Engine, live: Live) -> None:
        self._engine = engine
        self._live = live
        self._lock = threading.Lock()
        self._running = False
        self._samples: deque[Sample] = deque(maxlen=int(KEPT_SECONDS / EVERY_SECONDS))
        self._traffic = Traffic()

    def begin(self) -> None:
        """To look, if that has not begun."""
        if not self._running:
            with self._lock:
                if not self._running:
                    self._running = True
                    self._look()
                    threading.Thread(target=self._run, name="history", daemon=True).start()

    def samples(self) -> Sequence[Sample]:
        """Oldest first."""
        self.begin()
        with self._lock:
            return tuple(self._samples)

    def traffic(self) -> Sequence[Look]:
        """Oldest first."""
        self.begin()
        with self._lock:
            return self._traffic.looks()

    def _run(self) -> None:
        while not self._live.closing:
            # The last second of a wait that was woken by nothing: closing is noticed soon.
            until = time.monotonic() + EVERY_SECONDS
            while not self._live.closing and time.monotonic() < until:
                time.sleep(1.0)
            try:
                with self._lock:
                    self._look()
            except Exception:
                log.exception("the hosts' counters cannot be read; trying again in %s s", EVERY_SECONDS)

    def _look(self) -> None:
        last = self._samples[-1].counts if self._samples else {}
        query = select(Host.name, HostStatus.drops, HostStatus.repaired).join(HostStatus)
        at = time.time()
        with reading(self._engine) as session:
            counted = latest(session) if self._traffic.is_due(at) else None
            found = {name: {**drops, REPAIRED: repaired} for name, drops, repaired in session.execute(query)}
        # Most hosts count nothing most of the time: equal counts are kept once.
        counts = {name: last[name] if last.get(name) == one else one for name, one in found.items()}
        self._samples.append(Sample(at, counts))
        if counted is not None:
            self._traffic.look(counted, at)


def growth(samples: Sequence[Sample]) -> dict[str, dict[str, int]]:
    """By host and counter, what was counted from the first to the last sample. A counter that fell began anew."""
    grown: dict[str, dict[str, int]] = {}
    for before, after in pairwise(samples):
        for host, counts in after.counts.items():
            known = before.counts.get(host)
            if known is None or known is counts:
                continue
            for name, count in counts.items():
                if more := increase(known.get(name, 0), count):
                    own = grown.setdefault(host, {})
                    own[name] = own.get(name, 0) + more
    return grown


def rates(samples: Sequence[Sample], host: str | None = None) -> Rates:
    """Of one host, or of all together; only reasons for which something was dropped."""
    hosts = [host] if host is not None else sorted({name for sample in samples for name in sample.counts})
    names = sorted(
        {name for counts in growth(samples).items() if counts[0] in hosts for name in counts[1]} - {REPAIRED}
    )
    times: list[float] = []
    series: dict[str, list[float | None]] = {name: [] for name in names}
    for before, after in pairwise(samples):
        seconds = after.at - before.at
        times.append(round(after.at, 1))
        for name in names:
            pairs = [(before.counts.get(one), after.counts.get(one)) for one in hosts]
            known = [(was, now) for was, now in pairs if was is not None and now is not None]
            if not known or seconds > 3 * EVERY_SECONDS:
                series[name].append(None)
                continue
            more = sum(increase(was.get(name, 0), now.get(name, 0)) for was, now in known if was is not now)
            series[name].append(round(more / seconds, 3))
    return Rates(times, series)
