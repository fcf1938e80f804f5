"""What this host's switch shows to controllers that are reached by TLS: a certificate that the API signs.

It decides when to ask for one. What becomes of the files in Open vSwitch's database is the plan's decision.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from logging import getLogger
from pathlib import Path

from client.rest import Problem, Rest, Unreachable
from ovs_agent.plan import TLS_TARGET, Ssl
from ovs_agent.state import State

log = getLogger(__name__)
PAUSE = 60.0
"""Seconds until the API is asked again after it refused."""


class Certificate:
    """Asked from one thread."""

    def __init__(self, rest: Rest, host: str, state: State) -> None:
        self._rest = rest
        self._path = f"/hosts/{host}/certificate"
        self._state = state
        self._not_before = 0.0

    @property
    def ssl(self) -> Ssl | None:
        """The files, if there are any."""
        files = self._state.certificate_files()
        return Ssl(*map(str, files)) if all(Path(file).exists() for file in files) else None

    def refresh(self, targets: Sequence[str]) -> Ssl | None:
        """A new certificate, where a controller needs one and there is none that lasts; else None."""
        if not any(target.startswith(TLS_TARGET) for target in targets) or time.monotonic() < self._not_before:
            return None
        renew_at = self._state.certificate_ends()
        if self.ssl is not None and renew_at is not None and datetime.now(UTC) < renew_at:
            return None
        self._not_before = time.monotonic() + PAUSE
        try:
            signed = self._rest.post(self._path).body
        except (Unreachable, Problem) as fault:
            log.warning("no certificate for this host's switch: %s", fault)
            return None
        self._state.save_certificate(**signed)
        log.info("this host's switch has a certificate until after %s", signed["renew_at"])
        return self.ssl
