"""What the controller knows of each host, on its way to the database.

The loop notes what happens and goes on; a thread of its own writes it down, as one row per host and transaction. Notes
that follow each other within a moment are written together: usually "revision 7 is computed and concerns h1" and "h1
confirmed 7" are one transaction. Nothing here bumps the revision.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

log = logging.getLogger("warren.controller")

GATHER_SECONDS = 0.015
"""How long a note may wait for confirmations that are still to come, so that all hosts' are one transaction."""
RETRY_SECONDS = 1.0
HEARTBEAT_SECONDS = 5.0


class HostProgress(NamedTuple):
    """A host as its controller sees it. `error` is empty when nothing is wrong; `drops` are packets by reason."""

    connected: bool = False
    wanted: int = 0
    confirmed: int = 0
    error: str = ""
    flows: int = 0
    drops: dict[str, int] = {}  # noqa: RUF012 - replaced, never changed
    repaired: int = 0  # flows that audits found missing, foreign or changed


Write = Callable[[int, dict[int, HostProgress]], None]
"""`write(revision, hosts)`: everything up to `revision` is computed; `hosts` are those whose progress changed."""


class Recorder:
    def __init__(self, write: Write) -> None:
        self._write = write
        self._lock = threading.Condition()
        self._hosts: dict[int, HostProgress] = {}
        self._changed: set[int] = set()
        self._revision = 0
        self._dirty = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    # Called by the loop.

    def computed(self, revision: int, wanted: dict[int, int]) -> None:
        """Everything up to `revision` is compiled; `wanted` names the connected hosts that it concerns."""
        with self._lock:
            for host, number in wanted.items():
                before = self._hosts.get(host, HostProgress())
                # A host that had everything so far had everything up to the revision before this one.
                caught_up = before.confirmed >= before.wanted and not before.error
                confirmed = max(before.confirmed, self._revision) if caught_up else before.confirmed
                self._note(host, wanted=number, confirmed=confirmed)
            self._revision = max(self._revision, revision)
            self._dirty = True
            self._lock.notify()

    def confirmed(self, host: int, revision: int, flows: int) -> None:
        with self._lock:
            self._note(host, confirmed=revision, error="", flows=flows)

    def failed(self, host: int, revision: int, sentence: str) -> None:
        with self._lock:
            self._note(host, wanted=revision, error=sentence)

    def connected(self, host: int, connected: bool) -> None:
        with self._lock:
            self._note(host, connected=connected)

    def removed(self, host: int) -> None:
        with self._lock:
            self._hosts.pop(host, None)
            self._changed.discard(host)

    def measured(self, host: int, drops: dict[str, int], flows: int) -> None:
        with self._lock:
            before = self._hosts.get(host, HostProgress())
            if (before.drops, before.flows) != (drops, flows):
                self._note(host, drops=drops, flows=flows)

    def drifted(self, host: int, flows: int) -> None:
        with self._lock:
            self._note(host, repaired=self._hosts.get(host, HostProgress()).repaired + flows)

    def close(self) -> None:
        """Writes what is left; every host is disconnected from this controller."""
        with self._lock:
            for host, progress in list(self._hosts.items()):
                if progress.connected:
                    self._note(host, connected=False)
            self._closing = True
            self._lock.notify()
        self._thread.join(5)

    def _note(self, host: int, **fields: object) -> None:
        self._hosts[host] = self._hosts.get(host, HostProgress())._replace(**fields)  # type: ignore[arg-type]
        self._changed.add(host)
        self._dirty = True
        self._lock.notify()

    # The recorder's own thread.

    def _run(self) -> None:
        closing = False
        while not closing:
            with self._lock:
                if not self._dirty:
                    self._lock.wait(HEARTBEAT_SECONDS)
                deadline = time.monotonic() + GATHER_SECONDS
                while self._outstanding() and not self._closing and (left := deadline - time.monotonic()) > 0:
                    self._lock.wait(left)
                closing = self._closing
                revision, changed = self._revision, self._changed
                hosts = {host: self._hosts[host] for host in changed}
                self._changed, self._dirty = set(), False
            try:
                self._write(revision, hosts)
            except Exception:
                log.exception("progress up to revision %d could not be written; trying again", revision)
                with self._lock:
                    self._changed |= changed & self._hosts.keys()  # one may have been removed meanwhile
                    self._dirty = True
                if not closing:
                    time.sleep(RETRY_SECONDS)

    def _outstanding(self) -> bool:
        return any(
            host.connected and host.confirmed < host.wanted and not host.error
            for host in map(self._hosts.__getitem__, self._changed)
        )
