"""ovs-vswitchd's control socket: one question, and the text of its answer."""

from __future__ import annotations

import json
import socket
from pathlib import Path

PATIENCE = 2.0
"""Seconds that ovs-vswitchd may be silent."""
MOST_BYTES = 64 << 20
"""The longest answer that is read."""
RUN_DIR = Path("/var/run/openvswitch")
_PIECE = 1 << 16


def folder(remote: str) -> Path:
    """Where the switch of Open vSwitch's database `remote` keeps its control socket: beside the database's."""
    return Path(remote.removeprefix("unix:")).parent if remote.startswith("unix:") else RUN_DIR


def control_socket(folder: Path) -> Path:
    """Its name bears the daemon's process id."""
    return folder / f"ovs-vswitchd.{int((folder / 'ovs-vswitchd.pid').read_text())}.ctl"


def ask(path: Path, method: str, arguments: list[str]) -> str:
    """One request (JSON-RPC 1.0) and the text of its answer, which may be a complaint. The library's client would wait
    for a switch that hangs for ever. Raises OSError when the switch does not answer, or at too great length."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(PATIENCE)
        channel.connect(str(path))
        channel.sendall(json.dumps({"id": 0, "method": method, "params": arguments}).encode())
        received = bytearray()
        while piece := channel.recv(_PIECE):
            received += piece
            if len(received) > MOST_BYTES:
                raise OSError(f"the answer to {method} has more than {MOST_BYTES >> 20} MiB")
            if piece.endswith(b"}"):
                try:
                    reply = json.loads(received)
                except ValueError:
                    continue  # in the middle of it
                return str(reply["result"] if reply["error"] is None else reply["error"])
    raise OSError(f"{path} was closed in the middle of an answer")
