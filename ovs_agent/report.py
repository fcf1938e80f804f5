"""Telling the API how the host is: at once when something changed, and as a sign of life.

It decides when to speak. It takes the chance to tell the API of interfaces that ended while it was away.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Set
from logging import getLogger
from typing import Any

from client.rest import Problem, Rest, Unreachable
from ovs_agent import listening
from ovs_agent.gateway import Ports
from ovs_agent.keeper import Condition
from ovs_agent.traffic import Counts

log = getLogger(__name__)
HEARTBEAT = 10.0
BREATH = 0.5
"""Seconds from a change to its report: under churn there is one report for many changes."""
MOST_PROBLEMS = 100
MOST_LISTED = 4096


class Reporter:
    """`agent` says who reports, `physical` which physical segments the host has; `release` is called before each
    report, `connections` tells how many are open, `traffic` what ports have counted, if it is time for that, `ports`
    how published ports are."""

    def __init__(
        self,
        rest: Rest,
        host: str,
        agent: dict[str, Any],
        physical: list[str],
        release: Callable[[], None],
        connections: Callable[[], list[dict[str, Any]] | None],
        traffic: Callable[[], Counts | None],
        ports: Callable[[], Ports],
    ) -> None:
        self._rest = rest
        self._path = f"/hosts/{host}/report"
        self._agent = agent
        self._physical = physical
        self._release = release
        self._connections = connections
        self._traffic = traffic
        self._ports = ports
        self._news = threading.Event()
        self._urgent = threading.Event()
        self._ended = threading.Event()
        self._condition: Condition | None = None
        self._said: tuple[str, ...] = ()
        self._complained: str | None = None
        self._listening: list[dict[str, Any]] = []
        self._listened_at = -HEARTBEAT

    @property
    def condition(self) -> Condition | None:
        """The last that was told."""
        return self._condition

    def tell(self, condition: Condition) -> None:
        if condition == self._condition:
            return
        self._condition = condition
        for sentence in condition.problems:
            if sentence not in self._said:
                log.warning("%s", sentence)
        self._said = condition.problems
        self._news.set()

    def now(self, asked: Set[listening.Port]) -> None:
        """At once, and not by the thread that reports otherwise. Who reserves a port that a runtime asks for now is
        none who listens there. Raises Problem and Unreachable."""
        found = listening.but_reserved(listening.listeners(), asked)
        self._listening, self._listened_at = listening.report(found), time.monotonic()
        self._report()

    def hurry(self) -> None:
        """The API is back: do not wait for the next heartbeat."""
        self._news.set()

    def at_once(self) -> None:
        """Somebody waits for what is new."""
        self._urgent.set()
        self._news.set()

    def start(self) -> None:
        threading.Thread(target=self._run, name="report", daemon=True).start()

    def stop(self) -> None:
        self._ended.set()
        self._urgent.set()
        self._news.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._news.wait(HEARTBEAT)
            self._urgent.wait(BREATH)
            self._urgent.clear()
            self._news.clear()
            try:
                self._release()
                self._report()
                self._complained = None
            except (Unreachable, Problem) as fault:
                if self._complained != str(fault):
                    log.warning("report: %s", fault)
                self._complained = str(fault)
            except Exception:
                log.exception("a report failed")

    def _listeners(self) -> list[dict[str, Any]]:
        """As old as a heartbeat at most: the kernel goes through its table of all connections to list them, which takes
        10 ms, and there is a report after each attach."""
        now = time.monotonic()
        if now - self._listened_at >= HEARTBEAT:
            self._listening, self._listened_at = listening.report(listening.listeners()), now
        return self._listening

    def _report(self) -> None:
        condition, published = self._condition, self._ports()
        if condition is None or self._ended.is_set():
            return
        body = {
            "agent": self._agent,
            "bridge": {
                "name": condition.bridge,
                "exists": condition.exists,
                "connected": list(condition.connected),
            },
            "underlay": condition.underlay._asdict() if condition.underlay else None,
            "ports": {str(id): state for id, state in condition.ports.items()},
            "physical": self._physical,
            "listening": self._listeners(),
            "revision": condition.revision,
            "tunnels_revision": condition.tunnels_revision,
            "limits_revision": condition.limits_revision,
            "ports_revision": published.revision,
            "closed": dict(list(published.closed.items())[:MOST_LISTED]),
            "addresses": None if published.addresses is None else list(published.addresses[:MOST_LISTED]),
            "missing": list(condition.missing[:MOST_LISTED]),
            "gone": list(condition.gone[:MOST_LISTED]),
            "strays": [stray._asdict() for stray in condition.strays[:MOST_LISTED]],
            "problems": list(condition.problems[:MOST_PROBLEMS]),
            "connections": self._connections(),
            "traffic": self._traffic(),
        }
        self._rest.put(self._path, json=body, timeout=HEARTBEAT)
