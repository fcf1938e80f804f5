"""Answering what the API asks of packets and flows: the question goes to ovs-vswitchd, its answer to the API.

It refuses to know what is asked, and asks nothing that changes anything.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from logging import getLogger
from typing import Any

from client.rest import Problem, Rest
from ovs_agent import dump, trace
from ovs_agent.dump import Dumped
from ovs_agent.trace import Traced
from ovs_agent.unixctl import PATIENCE, ask, control_socket, folder

log = getLogger(__name__)


class Tracer:
    """`remote` is Open vSwitch's database; its switch keeps its control socket in the same folder."""

    def __init__(self, rest: Rest, host: str, bridge: str, remote: str) -> None:
        self._rest = rest
        self._path = f"/hosts/{host}"
        self._bridge = bridge
        self._folder = folder(remote)

    def answer(self, questions: Iterable[Mapping[str, Any]], dumps: Iterable[Mapping[str, Any]] = ()) -> None:
        """One after the other; what nobody waits for any more is forgotten."""
        for question in questions:
            self._tell("traces", question, self.trace(question["packet"]).document())
        for question in dumps:
            self._tell("dumps", question, self.dump().document())

    def _tell(self, box: str, question: Mapping[str, Any], said: Mapping[str, Any]) -> None:
        try:
            self._rest.put(f"{self._path}/{box}/{question['id']}", json=said, timeout=PATIENCE)
        except Problem as problem:
            if problem.status != 404:
                raise

    def dump(self) -> Dumped:
        """All flows of the bridge, by its management socket, as `ovs-ofctl` reads them."""
        socket = self._folder / f"{self._bridge}.mgmt"
        try:
            done = subprocess.run(
                ["ovs-ofctl", "-O", "OpenFlow14", "--no-names", "dump-flows", f"unix:{socket}"],
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as fault:
            log.warning("flows cannot be told: %s", fault)
            return Dumped(trouble=f"ovs-ofctl does not answer: {fault}")
        if done.returncode:
            return Dumped(trouble=f"ovs-ofctl cannot tell the flows: {' '.join(done.stderr.split())[:200]}")
        return dump.parse(done.stdout)

    def trace(self, packet: str) -> Traced:
        try:
            said = ask(control_socket(self._folder), "ofproto/trace", trace.command(self._bridge, packet))
        except (OSError, ValueError) as fault:
            log.warning("a packet cannot be traced: %s", fault)
            return Traced(trouble=f"ovs-vswitchd does not answer: {fault}")
        return trace.parse(said, self._bridge)
