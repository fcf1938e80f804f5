"""The long poll for the names that this host's resolver knows.

By asking what came after a revision the agent says that it answers from that one: an attach anywhere waits for it. The
names are kept on disk, so an agent that starts while the API is away answers what it last knew. It decides when to
ask and when to write; what a name stands for is not its business.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from logging import getLogger

from client.rest import Problem, Rest, Unreachable
from ovs_agent.dns.names import Incomplete, Names
from ovs_agent.state import State
from ovs_agent.wanted import PAUSES, POLL

log = getLogger(__name__)
BREATH = 1.0
"""Seconds without news before the names are written to disk; with news all the time, every LONGEST_BREATH seconds."""
LONGEST_BREATH = 5.0


class Follower:
    """`tell` is called with the names whenever they are others, before the API is told that they are known."""

    def __init__(self, rest: Rest, host: str, state: State, tell: Callable[[Names], None]) -> None:
        self._rest = rest
        self._path = f"/hosts/{host}/names"
        self._state = state
        self._tell = tell
        self._names: Names | None = None
        self._is_fresh = False
        self._unsaved_since: float | None = None
        self._stopping = threading.Event()

    def recall(self) -> None:
        """The names of the last run, if there are any."""
        saved = self._state.names()
        if saved is None:
            return
        try:
            self._take(Names.parse(saved))
        except (KeyError, TypeError, ValueError):
            log.warning("the names kept in %s cannot be read; waiting for the API's", self._state.folder)

    def start(self) -> None:
        threading.Thread(target=self._run, name="names", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                self._ask()
                failures = 0
                continue
            except (Unreachable, Problem) as fault:
                log.debug("names: %s", fault)  # whoever polls for what is wanted says so
            except Exception:
                log.exception("the API's names cannot be used")
            self._save_if_due(True)
            self._stopping.wait(PAUSES[min(failures, len(PAUSES) - 1)])
            failures += 1

    def _ask(self) -> None:
        known = self._names if self._is_fresh else None
        params: dict[str, float] = {}
        if known is not None:
            params = {"after": known.revision, "wait": POLL if self._unsaved_since is None else BREATH}
        reply = self._rest.get(self._path, params=params, timeout=POLL + 10)
        self._save_if_due(reply.status == 204)
        if reply.status == 204:
            return
        try:
            if reply.body["whole"]:
                names = Names.parse(reply.body)
            elif known is not None:
                names = known.changed(reply.body)
            else:
                raise Incomplete
        except Incomplete:
            self._is_fresh = False  # asks for the whole next
            return
        self._is_fresh = True
        self._take(names)
        if self._unsaved_since is None:
            self._unsaved_since = time.monotonic()

    def _take(self, names: Names) -> None:
        self._names = names
        self._tell(names)

    def _save_if_due(self, is_quiet: bool) -> None:
        since = self._unsaved_since
        if since is not None and self._names is not None and (is_quiet or time.monotonic() - since > LONGEST_BREATH):
            self._state.save_names(self._names.document())
            self._unsaved_since = None
