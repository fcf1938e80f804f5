"""Slows down guessing of passwords: after a few failures for one user from one address, each further one costs more.

Kept in memory of the process: a restart forgives. It knows no passwords; time is an argument.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

FREE_FAILURES = 5
FIRST_WAIT_SECONDS = 4.0
LONGEST_WAIT_SECONDS = 900.0
FORGET_AFTER_SECONDS = 3600.0
MOST_KEPT = 10_000


class Record(NamedTuple):
    failures: int
    last: float


class Lockout:
    def __init__(self) -> None:
        self._records: dict[tuple[str, str], Record] = {}
        self._lock = threading.Lock()

    def wait_seconds(self, user: str, address: str, now: float) -> float:
        """How long this user must wait before the next attempt from this address; 0 when it may be made now."""
        with self._lock:
            record = self._records.get((user, address))
        if record is None or record.failures < FREE_FAILURES:
            return 0.0
        doubled = FIRST_WAIT_SECONDS * 2.0 ** min(record.failures - FREE_FAILURES, 20)
        return max(0.0, record.last + min(doubled, LONGEST_WAIT_SECONDS) - now)

    def failed(self, user: str, address: str, now: float) -> None:
        with self._lock:
            record = self._records.get((user, address))
            stale = record is None or now - record.last > FORGET_AFTER_SECONDS
            self._records[user, address] = Record(1 if stale or record is None else record.failures + 1, now)
            if len(self._records) > MOST_KEPT:
                oldest = min(self._records, key=lambda key: self._records[key].last)
                del self._records[oldest]

    def succeeded(self, user: str, address: str) -> None:
        with self._lock:
            self._records.pop((user, address), None)
