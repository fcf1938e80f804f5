"""How long changes take to be live everywhere, measured by watching: from the commit to the last host's confirmation.

Watches only while somebody looks at the result, in a thread of its own. A change that was overtaken by a newer one
is not measured: the newer one is. Watching costs a query with each change, and nothing while there is none.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import NamedTuple

from sqlalchemy import Engine

from db import convergence
from db.engine import reading
from web.live import Live

log = logging.getLogger(__name__)

UNWATCHED_SECONDS = 3600.0
KEPT_SECONDS = 3600.0
MOST_KEPT = 2000
LEAST_PAUSE_SECONDS = 0.005


class Pace(NamedTuple):
    """How far the newest revision is. `milliseconds` is None until a change was seen from its commit to its end."""

    revision: int
    state: str
    waiting_for: tuple[str, ...]
    milliseconds: float | None


class Measured(NamedTuple):
    """A change that was live everywhere `milliseconds` after its commit; `at` in seconds since 1970."""

    at: float
    revision: int
    milliseconds: float


class Stopwatch:
    def __init__(self, engine: Engine, live: Live) -> None:
        self._engine = engine
        self._live = live
        self._lock = threading.Lock()
        self._looked_at = 0.0
        self._running = False
        self._measured: deque[Measured] = deque(maxlen=MOST_KEPT)

    def now(self) -> Pace:
        """The newest revision's progress as it is, and the last measurement."""
        self._looked_at = time.monotonic()
        with self._lock:
            if not self._running:
                self._running = True
                threading.Thread(target=self._watch, name="pace", daemon=True).start()
        revision = self._live.seen().revision
        with reading(self._engine) as session:
            progress = convergence.progress(session, revision)
        waiting = tuple(host.host for host in progress.hosts if host.state != "applied")
        last = self._measured[-1].milliseconds if self._measured else None
        return Pace(revision, progress.state, waiting, last)

    def measured(self) -> list[Measured]:
        """Those of the last hour, oldest first."""
        since = time.time() - KEPT_SECONDS
        return [one for one in tuple(self._measured) if one.at >= since]

    def _watch(self) -> None:
        try:
            timed = self._live.seen().revision  # its beginning was not seen
            while not self._live.closing and time.monotonic() - self._looked_at < UNWATCHED_SECONDS:
                seen = self._live.seen()
                if seen.revision > timed and self._applied(seen.revision):
                    timed = seen.revision
                    took = (time.monotonic() - seen.at) * 1000
                    self._measured.append(Measured(time.time(), seen.revision, took))
                time.sleep(LEAST_PAUSE_SECONDS)
                self._live.wait_for_pulse(seen.pulse, 1.0)
        except Exception:
            log.exception("measuring how long changes take ended")
        finally:
            with self._lock:
                self._running = False

    def _applied(self, revision: int) -> bool:
        with reading(self._engine) as session:
            return convergence.progress(session, revision).state == "applied"
