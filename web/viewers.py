"""Who looks at pages: told of what changes in turns, and shown what is made once for all who see the same.

An open page asks for itself anew whenever it is told that something changed, so each change costs as much as there are
pages open. Therefore all are told of the same state at about the same time, and of the next one when what they asked
for then has had its share of the processor: two people hear of a change at once, two hundred within seconds. What one
of them is shown is shown to every other with the same address and rights, who was told of nothing newer.

It decides when they are told and whose rendering they get; not what is on a page, and not who may see it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import NamedTuple

from flask import Response

from web.live import Live, Seen

GATHER_SECONDS = 0.25
"""The least time between two events of a stream. The first comes at once; what follows so soon comes together, so that
many listeners cost little however much changes."""
MOST_SECONDS = 8.0
"""A turn is no longer than that, whatever it costs."""
SHARE = 0.25
"""Of a processor: what open pages may take of it when they follow what changes."""
A_LOOK_SECONDS = 0.002
"""What asking for a page costs besides making it."""
KEPT_SECONDS = MOST_SECONDS + 2
"""How long what was made is shown to others: some of it, like who is silent, follows from the time."""
MOST_KEPT = 256


class Turn(NamedTuple):
    """All pages are told of `seen`, each at some moment of `spread` seconds; the next turn begins at `until`."""

    seen: Seen
    until: float
    spread: float


class _Page:
    """`pulse`: everything up to this is in it. `at`: when it was made, in monotonic seconds."""

    def __init__(self) -> None:
        self.making = threading.Lock()
        self.pulse, self.at = 0, 0.0
        self.shown: tuple[bytes, str] | None = None


class Viewers:
    def __init__(self, live: Live) -> None:
        self._live = live
        self._lock = threading.Lock()
        self._turn = Turn(Seen(0, 0, 0.0), 0.0, 0.0)
        self._spent = 0.0
        self._pages: OrderedDict[Hashable, _Page] = OrderedDict()

    def turn(self) -> Turn:
        """Of what pages are told now. It lasts the longer the more the one before has cost."""
        now = time.monotonic()
        with self._lock:
            if now >= self._turn.until:
                length = min(max(self._spent / SHARE, GATHER_SECONDS), MOST_SECONDS)
                self._spent = 0.0
                self._turn = Turn(self._live.seen(), now + length, length - GATHER_SECONDS)
            return self._turn

    def shown(self, what: Hashable, told: int, make: Callable[[], Response]) -> Response:
        """The answer of `make` or what another one of `what` was shown, if that is no older than the pulse `told`.

        `what` is all that the answer depends on, but for the database and the time."""
        with self._lock:
            page = self._pages.pop(what, None) or _Page()
            self._pages[what] = page
            if len(self._pages) > MOST_KEPT:
                self._pages.popitem(last=False)
        began = time.thread_time()
        with page.making:
            now = time.monotonic()
            if page.shown is None or page.pulse < told or now - page.at > KEPT_SECONDS:
                pulse = self._live.seen().pulse  # before it is made: it may say more than that, and not less
                made = make()
                if made.status_code != 200 or made.is_streamed:
                    return made
                page.shown, page.pulse, page.at = (made.get_data(), made.mimetype), pulse, now
            body, kind = page.shown
        with self._lock:
            self._spent += time.thread_time() - began + A_LOOK_SECONDS
        return Response(body, mimetype=kind)
