"""A software pipeline: what would this program do with this packet?

Runs `Flow` values on a packet given as a dict of field values, stage by stage, and says where it ends: delivered to a
port, sent to another host, answered, or dropped for a reason. It knows nothing of worlds. Conntrack is reduced to one
answer for every look-up, a new connection unless the test says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from controller.pipeline.flow import (
    Ct,
    DecTtl,
    Flow,
    InPort,
    Kind,
    Match,
    Move,
    Output,
    OutputReg,
    Reason,
    SetField,
)
from controller.pipeline.packet import TUNNEL_OFPORT
from controller.pipeline.stages import Stage

Packet = dict[str, int]


class Outcome(NamedTuple):
    """`port` is where it left (None when dropped), `packet` as it left."""

    port: int | None
    reason: Reason | None
    packet: Packet
    path: tuple[Stage, ...]

    @property
    def delivered(self) -> bool:
        return self.port is not None


NEW, INVALID, TRACKED = 0x01, 0x10, 0x20  # bits of ct_state


def send(flows: Iterable[Flow], packet: Packet, ct_state: int = TRACKED | NEW) -> Outcome:
    tables: dict[Stage, list[Flow]] = {}
    for flow in flows:
        tables.setdefault(flow.table, []).append(flow)
    packet = dict(packet)
    stage: Stage | None = Stage.CLASSIFY
    path: list[Stage] = []
    port: int | None = None
    while stage is not None:
        path.append(stage)
        hits = [flow for flow in tables.get(stage, ()) if all(_matches(packet, match) for match in flow.match)]
        if not hits:
            raise AssertionError(f"{packet} falls out of {stage.name}: every stage must end in an explicit flow")
        best = max(flow.priority for flow in hits)
        winners = [flow for flow in hits if flow.priority == best]
        assert len(winners) == 1, f"{packet} hits two flows of one priority: {winners}"
        flow = winners[0]
        if flow.owner >= Kind.DROP:
            return Outcome(None, Reason(flow.owner - Kind.DROP), packet, tuple(path))
        stage = flow.goto
        for action in flow.actions:
            match action:
                case SetField(field, value, mask):
                    mask = -1 if mask is None else mask
                    packet[field] = (packet.get(field, 0) & ~mask) | (value & mask)
                case Move(source, destination, bits, low, to):
                    value = (packet.get(source, 0) >> low) & ((1 << bits) - 1)
                    clear = ~(((1 << bits) - 1) << to)
                    packet[destination] = (packet.get(destination, 0) & clear) | value << to
                case Output(number):
                    port = number
                case OutputReg(register):
                    port = packet[register]
                case InPort():
                    port = packet["in_port"]
                case DecTtl():
                    packet["nw_ttl"] -= 1
                case Ct(_, _, table):
                    packet["ct_state"] = ct_state
                    stage = table if table is not None else stage
    return Outcome(port, None, packet, tuple(path))


def arrive(sent: Outcome, source: tuple[int, int]) -> Packet:
    """The packet that comes out of the tunnel at the other host; `source` is the sending host's (version, address)."""
    assert sent.port == TUNNEL_OFPORT, f"not sent through the tunnel: {sent}"
    inner = {
        field: value
        for field, value in sent.packet.items()
        if not field.startswith(("reg", "metadata", "tun_", "ct_", "in_port"))
    }
    source_field = "tun_src" if source[0] == 4 else "tun_ipv6_src"
    return {**inner, "in_port": TUNNEL_OFPORT, "tun_id": sent.packet["tun_id"], source_field: source[1]}


def _matches(packet: Packet, match: Match) -> bool:
    value = packet.get(match.field)
    if value is None:
        if not match.field.startswith(("reg", "metadata", "ct_")):
            return False
        value = 0
    return (value & match.mask if match.mask is not None else value) == match.value
