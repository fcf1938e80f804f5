"""The one place of a web process that waits for the database.

One thread reads the feed. Requests that wait (long polls, event streams) leave a waiter here that says what would
interest it; the thread wakes exactly those. It knows revisions and change rows, not what anybody does with them,
and it keeps some threads free for short requests by bounding how many may wait at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import NamedTuple, Protocol

from sqlalchemy import Engine

from db import convergence, traces
from db.convergence import Lag
from db.engine import asking, reading
from db.feed import Feed, changes_since, current_revision

log = logging.getLogger(__name__)

KEPT_CHANGES = 10_000
FEED_WAIT_SECONDS = 1.0
RETRY_SECONDS = 0.5
CROWDED_SECONDS = 0.5
REST, REST_SECONDS = 3, 0.01
"""How many times as long as its looks take the reader is at rest, in turns of so long: of hundreds of commits a second
it reads several at a time, and leaves the interpreter to those who make them. One alone is read at once."""


class Change(Protocol):
    """A row of the change log, as far as waiters look at it."""

    @property
    def revision(self) -> int: ...
    @property
    def noun(self) -> str: ...
    @property
    def id(self) -> int: ...
    @property
    def op(self) -> str: ...
    @property
    def tenant_id(self) -> int | None: ...
    @property
    def host_id(self) -> int | None: ...


class News(NamedTuple):
    """`changes` is the log after a revision, oldest first; None when it does not reach back so far. `questions` are
    what agents are asked and have not answered yet: the host by the question's id. `lag` is None when nobody asked."""

    changes: Sequence[Change] | None
    questions: Mapping[int, int]
    lag: Lag | None = None


class Source:
    """What the reader thread asks of the database; opened and used in that thread only."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._feed = Feed(engine, progress=True)

    def wait(self, timeout: float) -> bool:
        """Whether something may have been committed; False when `timeout` seconds passed."""
        return self._feed.wait(timeout)

    def revision(self) -> int:
        with reading(self._engine) as session:
            return current_revision(session)

    def since(self, revision: int, concerned: Collection[int] | None) -> News:
        """With the lag, if somebody waits for it; `concerned` are hosts whose names are waited for, by id."""
        if concerned is None:
            with asking(self._engine) as connection:  # each is one statement
                return News(changes_since(connection, revision), traces.waiting(connection))
        with reading(self._engine) as session:
            lag = convergence.lag(session, concerned)
            return News(changes_since(session, revision), traces.waiting(session), lag)

    def close(self) -> None:
        self._feed.close()


class Seen(NamedTuple):
    """What is known at one moment. `pulse` grows with every commit of any kind, also those without a revision. It
    begins with the time in microseconds, so that it is greater than all those of the process before.

    `at` (monotonic seconds) is when `revision` was seen first.
    """

    revision: int
    pulse: int
    at: float


Interest = Callable[[Sequence[Change]], bool]


class Held(NamedTuple):
    """What a request waits for that asked where a revision is live: `by` tells whether it is in vain to look again.
    `hosts` are those whose names count, by id."""

    by: Callable[[Lag], bool]
    hosts: frozenset[int] = frozenset()


class _Waiter(NamedTuple):
    """`host`: wake also for a question to the agent of this one."""

    interest: Interest
    wake: threading.Event
    host: int | None = None
    held: Held | None = None


class Live:
    """Waiting for the database, shared by all threads of a process. `slots` bounds how many may wait at once."""

    def __init__(self, open_source: Callable[[], Source], slots: int = 96) -> None:
        self._open = open_source
        self._lock = threading.Lock()
        self._waiters: set[_Waiter] = set()
        self._recent: deque[Change] = deque(maxlen=KEPT_CHANGES)
        self._oldest = 0  # changes after this revision are all in _recent
        self._seen = Seen(0, time.time_ns() // 1000, 0.0)
        self._questions: Mapping[int, int] = {}
        self._asked: dict[int, int] = {}  # by host: the pulse with which the last question to its agent came
        self._slots = threading.BoundedSemaphore(slots)
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self.closing = False

    # -- what requests call ---------------------------------------------------------------------------------------

    @contextmanager
    def slot(self) -> Iterator[bool]:
        """Ask to hold a thread for long; False means that too many do."""
        got = not self.closing and self._slots.acquire(blocking=False)
        try:
            yield got
        finally:
            if got:
                self._slots.release()

    @contextmanager
    def patience(self, seconds: float) -> Iterator[float]:
        """Until when (monotonic) a request may wait that asked for `seconds`.

        Where too many wait already it is told to come back soon, but not so soon that it comes in circles.
        """
        with self.slot() as free:
            yield time.monotonic() + (seconds if free else min(seconds, CROWDED_SECONDS))

    def seen(self) -> Seen:
        self._start()
        return self._seen

    def waiting(self) -> int:
        """How many requests wait."""
        with self._lock:
            return len(self._waiters)

    def since(self, revision: int) -> Sequence[Change] | None:
        """The changes after `revision`, from memory; None when memory does not reach back so far."""
        self._start()
        with self._lock:
            if revision < self._oldest or revision > self._seen.revision:
                return None
            return self._after(revision)

    def wait_for_change(
        self, after: int, interest: Interest, timeout: float, asked: tuple[int, int] | None = None
    ) -> bool:
        """Until changes after `after` satisfy `interest`; with `asked` (host, pulse) also until somebody asks the
        host's agent something after that pulse. True also when memory cannot tell; False: time is over."""
        self._start()
        host, pulse = asked or (None, 0)
        waiter = _Waiter(interest, threading.Event(), host)
        with self._lock:
            if not self._oldest <= after <= self._seen.revision:
                return True
            if interest(self._after(after)):
                return True
            if host is not None and self._asked.get(host, 0) > pulse:
                return True
            self._waiters.add(waiter)
        return self._sleep(waiter, timeout)

    def wait_for_pulse(self, after: int, timeout: float, held: Held | None = None) -> bool:
        """Until any commit after pulse `after` (progress of hosts has no revision), or one that leaves nothing `held`.
        False: time is over."""
        self._start()
        waiter = _Waiter(lambda changes: True, threading.Event(), held=held)
        with self._lock:
            if self._seen.pulse > after:
                return True
            self._waiters.add(waiter)
        return self._sleep(waiter, timeout)

    def rest(self, seconds: float) -> None:
        """Until the time is over, whatever happens meanwhile; shorter only when the process is about to end."""
        waiter = _Waiter(lambda changes: False, threading.Event())
        with self._lock:
            self._waiters.add(waiter)
        self._sleep(waiter, seconds)

    def close(self) -> None:
        """Wake everybody for good: the process is about to end."""
        self.closing = True
        with self._lock:
            for waiter in self._waiters:
                waiter.wake.set()

    # -- the reader thread ----------------------------------------------------------------------------------------

    def _start(self) -> None:
        # On first use, not at import: a forked worker must not inherit a thread or a database connection.
        if not self._ready.is_set():
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
                    self._thread.start()
            self._ready.wait(5)

    def _after(self, revision: int) -> list[Change]:
        """The changes in memory after `revision`: from the end, since whoever waits is nearly there."""
        found = list(takewhile(lambda change: change.revision > revision, reversed(self._recent)))
        found.reverse()
        return found

    def _sleep(self, waiter: _Waiter, timeout: float) -> bool:
        try:
            return not self.closing and waiter.wake.wait(max(timeout, 0)) and not self.closing
        finally:
            with self._lock:
                self._waiters.discard(waiter)

    def _run(self) -> None:
        while not self.closing:
            try:
                source = self._open()
                try:
                    self._read(source)
                finally:
                    source.close()
            except Exception:
                # The database went away: requests say so themselves; here only the next attempt matters.
                log.exception("the change feed broke; trying again in %s s", RETRY_SECONDS)
                time.sleep(RETRY_SECONDS)

    def _read(self, source: Source) -> None:
        self._forget_before(source.revision())
        self._ready.set()
        rested, ended = 0.0, time.monotonic()
        while not self.closing:
            if not source.wait(FEED_WAIT_SECONDS):
                continue
            began = time.monotonic()
            rested += began - ended
            changes, questions, lag = source.since(self._seen.revision, self._waited_for())
            if changes is None or len(changes) > KEPT_CHANGES:
                self._forget_before(source.revision())
            else:
                self._take(changes, questions, lag)
            ended = time.monotonic()
            rested = min(rested, REST_SECONDS) - REST * (ended - began)
            if rested < 0:
                time.sleep(REST_SECONDS)

    def _waited_for(self) -> frozenset[int] | None:
        with self._lock:
            held = [waiter.held.hosts for waiter in self._waiters if waiter.held is not None]
        return frozenset().union(*held) if held else None

    def _take(self, changes: Sequence[Change], questions: Mapping[int, int], lag: Lag | None) -> None:
        now = time.monotonic()
        with self._lock:
            overflow = len(self._recent) + len(changes) - KEPT_CHANGES
            for _ in range(min(max(overflow, 0), len(self._recent))):
                self._oldest = self._recent.popleft().revision
            self._recent.extend(changes)
            revision, pulse, at = self._seen
            self._seen = Seen(changes[-1].revision, pulse + 1, now) if changes else Seen(revision, pulse + 1, at)
            asked = {host for id, host in questions.items() if id not in self._questions}
            self._questions = questions
            self._asked.update(dict.fromkeys(asked, self._seen.pulse))
            for waiter in self._waiters:
                if waiter.wake.is_set() or (waiter.held is not None and lag is not None and waiter.held.by(lag)):
                    continue
                if waiter.host in asked or waiter.interest(changes):
                    waiter.wake.set()

    def _forget_before(self, revision: int) -> None:
        """Start anew at `revision`; whoever waits has to look for himself."""
        with self._lock:
            self._recent.clear()
            self._oldest = revision
            self._seen = Seen(revision, self._seen.pulse + 1, time.monotonic())
            for waiter in self._waiters:
                waiter.wake.set()
