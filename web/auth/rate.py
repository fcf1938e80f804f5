"""How many requests one asker may send: a bucket of tokens each, filled at a steady rate (RFC 6585 has the status).

Buckets are this process's own: they protect it, not the database of many. Time (monotonic seconds) is an argument.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from threading import Lock
from typing import NamedTuple

from web.problems import Problem

BURST_SECONDS = 5.0
"""A bucket holds what comes in this time."""
MOST_KEPT = 65_536


class Rates(NamedTuple):
    """Requests a second: of one user or token, and of one address that does not show who it is. 0: any number."""

    asker: float = 1000.0
    stranger: float = 20.0


USUAL = Rates()


class Buckets:
    """Safe to share between threads. Of very many askers the ones longest unseen are forgotten."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._most = max(rate * BURST_SECONDS, 1.0)
        self._lock = Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # and when

    def take(self, asker: str, now: float) -> float:
        """Seconds to wait until there is one; 0 when it was taken."""
        if not self.rate:
            return 0.0
        with self._lock:
            left, then = self._left.pop(asker, (self._most, now))
            left = min(self._most, left + (now - then) * self.rate)
            taken = left >= 1.0
            self._left[asker] = (left - 1.0 if taken else left), now
            if len(self._left) > MOST_KEPT:
                self._left.popitem(last=False)
        return 0.0 if taken else (1.0 - left) / self.rate


class Limits:
    def __init__(self, rates: Rates) -> None:
        self._askers = Buckets(rates.asker)
        self._strangers = Buckets(rates.stranger)

    def asker(self, key: str, called: str, now: float) -> None:
        """Refuses a request too many of somebody who is known."""
        self._refuse(self._askers, key, f"{called} sends", now)

    def stranger(self, address: str, now: float) -> None:
        self._refuse(self._strangers, address, f"{address} sends", now)

    def _refuse(self, buckets: Buckets, key: str, who: str, now: float) -> None:
        if wait := buckets.take(key, now):
            seconds = math.ceil(wait)
            detail = f"{who} more than {buckets.rate:g} requests a second; wait for {seconds} s and send fewer at once."
            raise Problem("too-many-requests", detail, headers={"Retry-After": str(seconds)})
