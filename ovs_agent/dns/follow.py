"""The long poll for the names that this host's resolver knows, and what is known before it answers.

By asking what came after a revision the agent says that it answers from that one: an attach anywhere waits for it. What
this host attached or detached itself it knows from then on, ahead of the API's names, until these have reached that
revision. The names are kept on disk, so an agent that starts while the API is away answers what it last knew. It
decides when to ask and when to write; what a name stands for is not its business.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from logging import getLogger

from client.rest import Problem, Reply, Rest, Unreachable
from ovs_agent.dns.names import Entry, Incomplete, Names, Own
from ovs_agent.document import Endpoint
from ovs_agent.state import State
from ovs_agent.wanted import PAUSES, POLL

log = getLogger(__name__)
BREATH = 1.0
"""Seconds without news before the names are written to disk; with news all the time, every LONGEST_BREATH seconds."""
LONGEST_BREATH = 5.0
UNTOLD = sys.maxsize
"""The revision of an end of which the API has yet to be told: after all others."""
PATIENCE = 1.0
"""Seconds that an attach waits for what its network may see."""


class Follower:
    """`tell` is called with the names whenever they are others, before the API is told that they are known."""

    def __init__(self, rest: Rest, host: str, state: State, tell: Callable[[Names], None]) -> None:
        self._rest = rest
        self._path = f"/hosts/{host}/names"
        self._state = state
        self._tell = tell
        self._asking, self._learning, self._lock = threading.Lock(), threading.Lock(), threading.Lock()
        self._names: Names | None = None  # as the API sent them
        self._told: Names | None = None  # with what this host did since
        self._own: list[Own] = []
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

    def attached(self, endpoint: Endpoint, aliases: Sequence[str], revision: int) -> bool:
        """Whether the resolver answers for an endpoint that this host has got at `revision`. Asks the API where it is
        the first of its network here: what that may see is not known."""
        if self._included(endpoint, aliases, revision):
            return True
        with self._asking:  # one who asks does it for all who wait meanwhile
            return self._included(endpoint, aliases, revision) or self._asked_up_to(revision)

    def detached(self, endpoint: Endpoint, revision: int | None) -> bool:
        """Whether the resolver does not answer any more for an endpoint that ended at `revision`; None: of which the
        API has yet to be told."""
        with self._lock:
            if self._told is None or not (self._is_fresh or revision is None):
                return False
            self._include(Own(revision or UNTOLD, f"endpoint/{endpoint.id}", None, endpoint.ofport, 0))
            return True

    def _included(self, endpoint: Endpoint, aliases: Sequence[str], revision: int) -> bool:
        tenant, _, name = endpoint.name.partition("/")
        labels = tuple(dict.fromkeys((name, *aliases)))
        addresses = tuple(address.partition("/")[0] for address in endpoint.addresses)
        with self._lock:
            network = self._told.network(*endpoint.network.split("/", 1)) if self._told and self._is_fresh else None
            if network is None:
                return False
            entry = Entry(tenant, network, labels, addresses)
            self._include(Own(revision, f"endpoint/{endpoint.id}", entry, endpoint.ofport, network))
            return True

    def _include(self, own: Own) -> None:
        assert self._names is not None and self._told is not None
        newer = any(one.key == own.key and one.revision > own.revision for one in self._own)
        if own.revision > self._names.revision and not newer:
            self._own.append(own)
            self._told = self._told.including(own)
            self._tell(self._told)

    def _asked_up_to(self, revision: int) -> bool:
        """Whether the API's names are at least as new by now."""
        known = self._names
        if known is None or not self._is_fresh:
            return False
        if known.revision < revision:
            try:
                self._learn(self._rest.get(self._path, params={"after": known.revision}, timeout=PATIENCE), known)
            except (Unreachable, Problem) as fault:
                log.debug("names: %s", fault)
        return self._is_fresh and self._names is not None and self._names.revision >= revision

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
        if self._learn(reply, known) and self._unsaved_since is None:
            self._unsaved_since = time.monotonic()

    def _learn(self, reply: Reply, known: Names | None) -> bool:
        """Whether it is news after `known`, which the API was asked with; another answer may have been quicker."""
        if reply.status == 204:
            return False
        with self._learning:
            if self._is_fresh and self._names is not None:
                if reply.body["revision"] <= self._names.revision:
                    return True
                known = self._names if known is not None else None
            try:
                if reply.body["whole"]:
                    names = Names.parse(reply.body)
                elif known is not None:
                    names = known.changed(reply.body)
                else:
                    raise Incomplete
            except Incomplete:
                self._is_fresh = False  # asks for the whole next
                return False
            self._take(names)
            self._is_fresh = True
            return True

    def _take(self, names: Names) -> None:
        with self._lock:
            self._names = self._told = names
            # Who knows of no endpoint at that port any more has been told of its end.
            told = [own for own in self._own if own.revision == UNTOLD and own.port not in names.askers]
            self._own = [own for own in self._own if own.revision > names.revision and own not in told]
            for own in self._own:
                self._told = self._told.including(own)
            self._tell(self._told)

    def _save_if_due(self, is_quiet: bool) -> None:
        since = self._unsaved_since
        if since is not None and self._names is not None and (is_quiet or time.monotonic() - since > LONGEST_BREATH):
            self._state.save_names(self._names.document())
            self._unsaved_since = None
