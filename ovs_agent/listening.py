"""At which ports programs of this host listen, as the kernel lists its sockets.

Podman lets a container's monitor, `conmon`, hold the ports of the host that it asks to publish, and nobody else answers
there: such a socket reserves a port, and hears nothing.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

MOST = 2048
_STATES = {"tcp": "0A", "udp": "07"}  # listening; not connected to anybody
_MONITOR = "conmon"

Port = tuple[str, int]
"""The protocol, and which."""


class Listener(NamedTuple):
    protocol: str
    address: str
    port: int


def listeners(proc: Path = Path("/proc/net")) -> list[Listener]:
    """Each once, sorted; of this thread's namespace."""
    found = {one for protocol in _STATES for suffix in ("", "6") for one in _of(proc / f"{protocol}{suffix}", protocol)}
    return sorted(found | set(_of_sctp(proc / "sctp" / "eps")))[:MOST]


def but_reserved(found: Sequence[Listener], ports: Set[Port], proc: Path = Path("/proc")) -> list[Listener]:
    """The listeners but for those that reserve one of `ports`. Whose sockets they are is looked up only if need be."""
    clashing = {one for one in found if (one.protocol, one.port) in ports}
    if clashing:
        held = _inodes(proc)
        clashing &= {
            one
            for protocol in _STATES
            for suffix in ("", "6")
            for one in _of(proc / "net" / f"{protocol}{suffix}", protocol, held)
        }
    return [one for one in found if one not in clashing]


def report(found: list[Listener]) -> list[dict[str, Any]]:
    return [one._asdict() for one in found]


def _lines(path: Path) -> list[list[str]]:
    try:
        return [line.split() for line in path.read_text().splitlines()[1:]]
    except OSError:
        return []  # a kernel without that protocol


def _inodes(proc: Path) -> set[str]:
    """The inodes of the sockets that monitors of containers hold."""
    found = set()
    for comm in proc.glob("[0-9]*/comm"):
        try:
            if comm.read_text().strip() == _MONITOR:
                names = [str(one.readlink()) for one in (comm.parent / "fd").iterdir()]
                found |= {name[8:-1] for name in names if name.startswith("socket:[")}
        except OSError:
            continue  # it ended
    return found


def _of(path: Path, protocol: str, inodes: Set[str] | None = None) -> Iterator[Listener]:
    """The listeners in a table of the kernel, or only those with these inodes."""
    for fields in _lines(path):
        if len(fields) > 3 and fields[3] == _STATES[protocol] and (inodes is None or fields[9] in inodes):
            address, _, port = fields[1].partition(":")
            yield Listener(protocol, _address(address), int(port, 16))


def _address(text: str) -> str:
    """The kernel writes words of 32 bits as they are in memory."""
    words = (bytes.fromhex(text[at : at + 8]) for at in range(0, len(text), 8))
    packed = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    return str(ipaddress.ip_address(packed))


def _of_sctp(path: Path) -> Iterator[Listener]:
    """ENDPT SOCK STY SST HBKT LPORT UID INODE LADDRS: socket state 10 is listening."""
    for fields in _lines(path):
        if len(fields) > 8 and fields[3] == "10":
            for address in fields[8:]:
                yield Listener("sctp", address, int(fields[5]))
