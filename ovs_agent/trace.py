"""What Open vSwitch says it would do with a packet, read from the words of `ofproto/trace`.

It decides which questions are put to the switch and what the answer means for one bridge: where the packet ends, by
which flow, and by which ports it leaves. It refuses to know what the tables are for. A packet is traced as the first
of its connection: whatever conntrack look-up the flows make finds it to be new.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

LOOK_UPS = 4
"""More than the flows of a host make; what is too much is not used."""

_BRIDGE = re.compile(r'\s*bridge\("(.*)"\)')
_STEP = re.compile(r" ?(\d+)\. ")
_MATCHED = re.compile(r"priority \d+(?:, cookie (0x[0-9a-f]+))?$")
_TUNNEL = re.compile(r"\s*set_field:(\S+)->tun_(?:ipv6_)?dst$")
_OUTPUT = re.compile(r"\s*(?:output:|-> output port is )(\d+)$")
_LOST = re.compile(r"\s*>> (.*)")


class Traced(NamedTuple):
    """Where a packet ends. `cookie` is that of the last flow it matches, None when none does; `outputs` the ports by
    which the flows send it and `tunnel` the address, whatever becomes of it then: `trouble` tells when it is lost.
    `table` is None when the switch did not say, and then `trouble` tells why."""

    table: int | None = None
    cookie: str | None = None
    outputs: tuple[int, ...] = ()
    tunnel: str | None = None
    trouble: str = ""

    def document(self) -> dict[str, Any]:
        return {**self._asdict(), "outputs": list(self.outputs)}


def command(bridge: str, packet: str) -> list[str]:
    """The arguments of `ofproto/trace`."""
    return [*(["--ct-next", "trk,new"] * LOOK_UPS), bridge, packet]


def parse(said: str, bridge: str) -> Traced:
    """Other bridges that the packet meets, as below a tunnel, are not looked at."""
    traced, here = Traced(), False
    for line in said.splitlines():
        if found := _BRIDGE.match(line):
            here = found[1] == bridge
        elif not here:
            continue
        elif found := _STEP.match(line):
            matched = _MATCHED.search(line)
            # Open vSwitch does not print a cookie of 0.
            cookie = None if matched is None else matched[1] or "0x0"
            traced = traced._replace(table=int(found[1]), cookie=cookie)
        elif found := _TUNNEL.match(line):
            traced = traced._replace(tunnel=found[1])
        elif found := _OUTPUT.match(line):
            traced = traced._replace(outputs=(*traced.outputs, int(found[1])))
        elif found := _LOST.match(line):
            traced = traced._replace(trouble=found[1])
    if traced.table is None:
        complaint = " ".join(said.split())[:200] or "no answer"
        return Traced(trouble=f"ovs-vswitchd cannot trace the packet: {complaint}")
    return traced
