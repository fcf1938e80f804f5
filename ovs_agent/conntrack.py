"""How many connections are open, by the rules that admitted them: read from what the switch's conntrack remembers.

A connection bears in its label the marks of the rules that admitted it. What a mark stands for is not known here, and
nothing of the connections but their number is told.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable
from logging import getLogger
from pathlib import Path
from typing import Any, NamedTuple

from ovs_agent.unixctl import ask, control_socket

log = getLogger(__name__)
FRESH_SECONDS = 5.0
"""How long a count is good: reports may come more often, and a switch that lists connections does nothing else."""
MOST_CONNECTIONS = 100_000
"""More are not listed: it would hold up the switch for a second."""
MOST_RULES = 4000
"""Rules of a report."""

_ZONE = re.compile(r"\bzone=(\d+)")
_LABEL = re.compile(r"\blabels=0x([0-9a-f]+)")
_STATES = re.compile(r"\bstate_orig=(\w+),state_reply=(\w+)")
_ENDED = {"CLOSED", "CLOSING", "LAST_ACK", "FIN_WAIT_2", "TIME_WAIT"}


class Admitted(NamedTuple):
    """By a rule with that mark, of a policy about an endpoint here; `tenant` is the conntrack zone."""

    tenant: int
    direction: str
    mark: int


def parse(said: str) -> Counter[Admitted]:
    """The words of `dpctl/dump-conntrack -m`. A TCP connection is open until both sides have ended it or one has reset
    it; of other protocols, as long as conntrack remembers it."""
    found: Counter[Admitted] = Counter()
    for line in said.splitlines():
        zone, label = _ZONE.search(line), _LABEL.search(line)
        if zone is None or label is None:
            continue
        states = _STATES.search(line)
        if states is not None and _ENDED.issuperset(states.groups()):
            continue
        tenant, bits = int(zone[1]), int(label[1], 16)
        if egress := bits & 0xFFFFFFFF:
            found[Admitted(tenant, "egress", egress)] += 1
        # Between two tenants on this host the source's zone has the connection too, and the ingress rule is not its.
        if (ingress := bits >> 32 & 0xFFFFFFFF) and bits >> 64 & 0xFFFF == tenant:
            found[Admitted(tenant, "ingress", ingress)] += 1
    return found


class Connections:
    """Connections of the data path that all bridges of a type share, asked by the control socket in `folder`."""

    def __init__(self, folder: Path, datapath: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._datapath = f"{datapath}@ovs-{datapath}"
        self._clock = clock
        self._counted: list[dict[str, Any]] | None = None
        self._until = clock()
        self._trouble = ""

    def counted(self) -> list[dict[str, Any]] | None:
        """The counts in the form of a report; None when connections cannot be counted."""
        if self._clock() < self._until:
            return self._counted
        try:
            found, trouble = self._count(), ""
            self._counted = [{**admitted._asdict(), "open": open} for admitted, open in sorted(found.items())]
        except (OSError, ValueError) as fault:
            self._counted, trouble = None, str(fault)
        if trouble and trouble != self._trouble:
            log.warning("connections are not counted: %s", trouble)
        self._trouble = trouble
        self._until = self._clock() + FRESH_SECONDS
        return self._counted

    def _count(self) -> Counter[Admitted]:
        switch = control_socket(self._folder)
        number = ask(switch, "dpctl/ct-get-nconns", [self._datapath]).strip()
        # The kernel's data path does not tell; of the user-space one it is all that there are.
        if number.isdigit() and int(number) > MOST_CONNECTIONS:
            raise ValueError(f"there are {number}, and more than {MOST_CONNECTIONS} are not listed")
        said = ask(switch, "dpctl/dump-conntrack", ["-m", self._datapath])
        if said and "orig=" not in said:
            raise ValueError(f"ovs-vswitchd said: {' '.join(said.split())[:200]}")
        found = parse(said)
        if len(found) > MOST_RULES:
            raise ValueError(f"{len(found)} rules admitted some, and more than {MOST_RULES} are not told")
        return found
