"""Waiting until a revision is live: until bridges have its flows, and resolvers its names.

It decides how long, and how much of that for other hosts. What is undone when it comes too late is the caller's matter.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from logging import getLogger
from typing import Any

from client.rest import Problem, Rest, Unreachable

log = getLogger(__name__)
FLOWS_PATIENCE = 20.0
"""Seconds that an attach waits for its flows."""
PEERS_PATIENCE = 0.3
"""Seconds of it that other hosts may hold an attach up. They get the flows at the same moment; waiting for them makes
the first packet's answer sure, but a host that is slow or away must not keep this one from starting containers."""
NAMES_PATIENCE = 1.0
"""Seconds that an attach or a detach waits until the resolvers of all hosts concerned know of it."""
PEERS_AWAY = 10.0
"""Seconds for which nobody waits for other hosts after one of them was found to be cut off."""
SLICE = 2.0
"""Seconds between looks at whether the caller is still there."""
RETRY = 0.2


class Abandoned(Exception):  # noqa: N818
    """The caller went away before it was told the outcome."""


class FlowsFailed(Exception):  # noqa: N818
    """The bridge refused the endpoint's flows."""


class FlowsLate(Exception):  # noqa: N818
    """Nobody confirmed the endpoint's flows in time."""


class Confirmation:
    def __init__(self, rest: Rest, host: str, bridge: str) -> None:
        self._rest = rest
        self._host = host
        self._bridge = bridge
        self._peers_away_until = 0.0
        self._names_late_until = 0.0

    def flows(self, revision: int, abandoned: Callable[[], bool], named: bool = False) -> None:
        """Return when the bridge of this host has the flows of `revision`, and those of others had time to get them;
        `named`: and when other hosts' resolvers answer from it, or had time."""
        begun = time.monotonic()
        unaware = ["?"] if named and begun >= self._names_late_until else []
        said = "the API has not answered"
        while (rest := begun + FLOWS_PATIENCE - time.monotonic()) > 0 and not abandoned():
            params: dict[str, Any] = {"host": self._host, "wait": min(SLICE, rest)}
            patience = begun + PEERS_PATIENCE - time.monotonic()
            if patience > 0 and begun > self._peers_away_until:
                params = {"wait": patience, "names_but": self._host if unaware else None}
            try:
                progress = self._rest.get(f"/revisions/{revision}", params=params, timeout=SLICE + 5).body
            except (Unreachable, Problem) as fault:
                if isinstance(fault, Problem) and fault.status < 500 and fault.status != 429:
                    raise
                said = str(fault)
                time.sleep(RETRY)
                continue
            if unaware and "names_but" in params:
                unaware = progress["unaware"]
            states = {one["host"]: one for one in progress["hosts"]}
            mine = states.get(self._host, {"state": progress["state"], "error": ""})
            others = {one["state"] for one in progress["hosts"] if one["host"] != self._host}
            if mine["state"] == "applied" and "pending" not in others:
                if "disconnected" in others:
                    self._peers_away_until = time.monotonic() + PEERS_AWAY
                if unaware:
                    self.names(revision, True, begun)
                return
            if mine["state"] == "failed":
                raise FlowsFailed(f"The bridge refused the flows of revision {revision}: {mine['error']}.")
            said = f"this host is {mine['state']}" + (f": {mine['error']}" if mine["error"] else "")
            time.sleep(0.02)  # an API with too many waiters answers at once
        if abandoned():
            raise Abandoned("the caller went away")
        raise FlowsLate(
            f"Revision {revision} was not confirmed within {FLOWS_PATIENCE:g} s ({said}); is the controller running, "
            f"and connected to the bridge {self._bridge}?"
        )

    def names(self, revision: int, known_here: bool, begun: float | None = None) -> None:
        """Return when every resolver that may be asked answers from `revision`, or had time to hear of it since
        `begun`; where `known_here`, this host's does already."""
        begun = begun or time.monotonic()
        if begun < self._names_late_until:
            return
        waiting: list[str] = ["?"]
        try:
            rest = NAMES_PATIENCE
            while waiting and rest > 0:  # once at least, however long the flows took
                rest = max(0.0, begun + NAMES_PATIENCE - time.monotonic())
                params = {"wait": rest, "but": self._host if known_here else None}
                reply = self._rest.get(f"/revisions/{revision}/names", params=params, timeout=NAMES_PATIENCE + 5)
                waiting = reply.body["waiting"]
        except (Unreachable, Problem) as fault:
            log.warning("whether names of revision %d are known cannot be seen: %s", revision, fault)
            return
        if waiting:
            log.warning("names of revision %d are not known yet on %s", revision, ", ".join(waiting))
            self._names_late_until = time.monotonic() + PEERS_AWAY
