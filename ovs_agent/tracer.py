"""Answering what the API asks of packets: the question goes to ovs-vswitchd's control socket, its answer to the API.

It decides how long the switch may take. It refuses to know what is asked, and asks nothing that changes anything.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Mapping
from logging import getLogger
from pathlib import Path
from typing import Any

from client.rest import Problem, Rest
from ovs_agent import trace
from ovs_agent.trace import Traced

log = getLogger(__name__)
PATIENCE = 2.0
"""Seconds that ovs-vswitchd may take; whoever asks waits not much longer."""
RUN_DIR = Path("/var/run/openvswitch")
_PIECE = 1 << 16


class Tracer:
    """`remote` is Open vSwitch's database; its switch keeps its control socket in the same folder."""

    def __init__(self, rest: Rest, host: str, bridge: str, remote: str) -> None:
        self._rest = rest
        self._path = f"/hosts/{host}/traces"
        self._bridge = bridge
        self._folder = Path(remote.removeprefix("unix:")).parent if remote.startswith("unix:") else RUN_DIR

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


def control_socket(folder: Path) -> Path:
    """Its name bears the daemon's process id."""
    return folder / f"ovs-vswitchd.{int((folder / 'ovs-vswitchd.pid').read_text())}.ctl"


def ask(path: Path, method: str, arguments: list[str]) -> str:
    """One request (JSON-RPC 1.0) and the text of its answer, which may be a complaint. The library's client would wait
    for a switch that hangs for ever."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(PATIENCE)
        channel.connect(str(path))
        channel.sendall(json.dumps({"id": 0, "method": method, "params": arguments}).encode())
        received = b""
        while piece := channel.recv(_PIECE):
            received += piece
            if piece.endswith(b"}"):
                try:
                    reply = json.loads(received)
                except ValueError:
                    continue  # in the middle of it
                return str(reply["result"] if reply["error"] is None else reply["error"])
    raise OSError(f"{path} was closed in the middle of an answer")
