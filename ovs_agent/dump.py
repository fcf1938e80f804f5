"""What `ovs-ofctl dump-flows` says of a bridge, in few words: of Warren's own flows their counters, of others all.

It decides what is told of a flow and how many at most. It refuses to know what the flows are for: whoever asks knows
them by their cookies.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

MOST_FLOWS = 12_000
MOST_FOREIGN = 100
MOST_CHARACTERS = 400
"""Longer foreign flows are cut. All limits together keep an answer below what the API accepts."""
OURS = 0x77
"""The first byte of the cookies of Warren's flows."""

_FLOW = re.compile(
    r"\s*cookie=0x([0-9a-f]+), duration=[^,]*, table=(\d+), n_packets=(\d+), n_bytes=(\d+),(?: [a-z_]+=[^,]*,)* "
    r"(?:priority=(\d+))?(.*)"
)
PRIORITY = 0x8000
"""The priority of a flow that is printed without one."""


class Dumped(NamedTuple):
    """`flows` are "COOKIE TABLE PRIORITY PACKETS BYTES", the cookie in hex. `left_off`: how many more there are."""

    flows: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    left_off: int = 0
    trouble: str = ""

    def document(self) -> dict[str, Any]:
        return {**self._asdict(), "flows": list(self.flows), "foreign": list(self.foreign)}


def parse(said: str) -> Dumped:
    flows: list[str] = []
    foreign: list[str] = []
    left_off = 0
    for line in said.splitlines():
        found = _FLOW.match(line)
        if found is None:
            continue
        cookie, table, packets, octets, priority, rest = found.groups()
        whole = cookie.rjust(16, "0")
        own = int(whole[:2], 16) == OURS
        if len(flows) >= MOST_FLOWS or (not own and len(foreign) >= MOST_FOREIGN):
            left_off += 1
            continue
        if own:
            flows.append(f"{whole} {table} {priority or PRIORITY} {packets} {octets}")
        else:
            text = f"table={table}, priority={priority or PRIORITY}{rest}"
            foreign.append(text[:MOST_CHARACTERS])
    return Dumped(tuple(flows), tuple(foreign), left_off)
