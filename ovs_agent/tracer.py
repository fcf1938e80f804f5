"""Answering what the API asks of packets: the question goes to ovs-vswitchd's control socket, its answer to the API.

It refuses to know what is asked, and asks nothing that changes anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from logging import getLogger
from typing import Any

from client.rest import Problem, Rest
from ovs_agent import trace
from ovs_agent.trace import Traced
from ovs_agent.unixctl import PATIENCE, ask, control_socket, folder

log = getLogger(__name__)


class Tracer:
    """`remote` is Open vSwitch's database; its switch keeps its control socket in the same folder."""

    def __init__(self, rest: Rest, host: str, bridge: str, remote: str) -> None:
        self._rest = rest
        self._path = f"/hosts/{host}/traces"
        self._bridge = bridge
        self._folder = folder(remote)

    def answer(self, questions: Iterable[Mapping[str, Any]]) -> None:
        """One after the other; what nobody waits for any more is forgotten."""
        for question in questions:
            said = self.trace(question["packet"])
            try:
                self._rest.put(f"{self._path}/{question['id']}", json=said.document(), timeout=PATIENCE)
            except Problem as problem:
                if problem.status != 404:
                    raise

    def trace(self, packet: str) -> Traced:
        try:
            said = ask(control_socket(self._folder), "ofproto/trace", trace.command(self._bridge, packet))
        except (OSError, ValueError) as fault:
            log.warning("a packet cannot be traced: %s", fault)
            return Traced(trouble=f"ovs-vswitchd does not answer: {fault}")
        return trace.parse(said, self._bridge)
