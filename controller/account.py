"""What rules did, on its way to the database: what they counted, and what they decided that is to be logged. With it
goes what went from host to host.

The loop notes; whoever writes the controller's progress down takes the notes along, once a second at most. Notes of the
same decision become one with a number. The same goes into the controller's log, where a new decision is a line; there
are limits to both, so that a flood of packets fills neither memory nor disk.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from controller.calc.decision import Decision, decision, packet
from controller.calc.tally import Count, Place, Reading, Tally
from controller.carried import Carried, Carriers, Counts
from controller.pipeline.flow import RuleRef
from controller.world import World
from db.denials import Seen

log = logging.getLogger("warren.controller")

WRITE_SECONDS = 1.0
MOST_DECISIONS = 5000
"""How many different decisions may wait to be written. Beyond that they are only counted by their rules."""
LINES = 10
"""At most so many lines in the log per second."""
QUIET_SECONDS = 60.0
"""A decision is logged again when it was not made for so long."""

Notes = tuple[Mapping[Place, Count], Mapping[Decision, Seen], Mapping[int, Mapping[int, Carried]]]


class Account:
    """`known` are the counts in the database."""

    def __init__(self, known: Mapping[Place, Count], clock: Callable[[], float] = time.monotonic) -> None:
        self._tally = Tally(known)
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[Place, Count] = {}
        self._decisions: dict[Decision, Seen] = {}
        self._carriers = Carriers()
        self._carried: dict[int, dict[int, Carried]] = {}  # by host, what was not written yet
        self._known: dict[int, dict[int, Carried]] = {}
        self._written = -WRITE_SECONDS
        self._said: dict[Decision, float] = {}
        self._second, self._lines = 0, 0

    # Called by the loop.

    def counted(self, world: World, host: int, readings: Iterable[Reading]) -> None:
        """All flows of rules that the host's bridge has."""

        def version(policy: int) -> int | None:
            known = world.policies.get(policy)
            return known.version if known else None

        changed = self._tally.read(host, readings, version, datetime.now(UTC))
        with self._lock:
            self._counts |= changed

    def carried(self, world: World, host: int, counts: Counts) -> None:
        """What the flows about other hosts have counted; nothing of it, where not all flows were looked at."""
        found = self._carriers.read(world, host, counts) if counts else {}
        if found and found != self._known.get(host):
            with self._lock:
                self._carried[host] = self._known[host] = found

    def copied(self, world: World, host: int, rule: RuleRef, fields: Mapping[str, int], data: bytes) -> None:
        """The beginning of a packet that the rule decided, and what it carried."""
        read = packet(fields, data)
        made = decision(world, host, rule, read) if read else None
        if made is None:
            return
        now = datetime.now(UTC)
        with self._lock:
            if made in self._decisions or len(self._decisions) < MOST_DECISIONS:
                self._decisions[made] = _both(self._decisions.get(made), Seen(1, now, now))
        self._say(made)

    def removed(self, host: int) -> None:
        self._tally.forget(host)
        self._known.pop(host, None)

    # Called by who writes.

    @contextmanager
    def noted(self) -> Iterator[Notes]:
        """What is to be written now. It is kept for the next time if it could not be."""
        counts: dict[Place, Count] = {}
        decisions: dict[Decision, Seen] = {}
        carried: dict[int, dict[int, Carried]] = {}
        with self._lock:
            if self._clock() - self._written >= WRITE_SECONDS:
                self._written = self._clock()
                counts, self._counts = self._counts, counts
                decisions, self._decisions = self._decisions, decisions
                carried, self._carried = self._carried, carried
        try:
            yield counts, decisions, carried
        except BaseException:
            with self._lock:
                self._counts = counts | self._counts
                self._carried = carried | self._carried
                for made, seen in decisions.items():
                    self._decisions[made] = _both(self._decisions.get(made), seen)
            raise

    # The log.

    def _say(self, made: Decision) -> None:
        now = self._clock()
        last = self._said.pop(made, None)  # those that were heard of lately are at the end
        self._said[made] = now
        if len(self._said) > MOST_DECISIONS:
            del self._said[next(iter(self._said))]
        if last is not None and now - last < QUIET_SECONDS:
            return
        if int(now) != self._second:
            if self._lines > LINES:
                log.info("%d more decisions of rules in that second", self._lines - LINES)
            self._second, self._lines = int(now), 0
        self._lines += 1
        if self._lines <= LINES:
            log.info("%s", sentence(made))


def sentence(made: Decision) -> str:
    """`h1: acme/web1 (10.20.0.9) -> acme/db1 (10.20.0.10) tcp/5432: deny by ingress rule 2 of policy acme/db`."""
    what = made.protocol
    if made.port is not None:
        what += f"/{made.port}"
    elif made.icmp_type is not None:
        what += f" type {made.icmp_type} code {made.icmp_code}"
    named = f" ({made.rule_name})" if made.rule_name else ""
    if made.rule is not None:
        by = f"by {made.direction} rule {made.rule}{named} of policy {made.policies[0]}"
    elif made.policies:
        by = f"for no {made.direction} rule accepts it, of {', '.join(made.policies)}"
    else:
        by = f"by default, for no {made.direction} rule accepts it"
    ends = ((made.source, made.source_address), (made.destination, made.destination_address))
    source, destination = (f"{name} ({address})" if name else address for name, address in ends)
    return f"{made.host}: {source} -> {destination} {what}: {made.action} {by}"


def _both(one: Seen | None, other: Seen) -> Seen:
    if one is None:
        return other
    return Seen(one.count + other.count, min(one.first_at, other.first_at), max(one.last_at, other.last_at))
