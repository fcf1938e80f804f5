"""What a copied packet and a counter are about, told by their flow's cookie: that is all that they bring back."""

from __future__ import annotations

from collections.abc import Iterable

from controller.openflow import decode
from controller.openflow.bundle import COPIES_PER_SECOND
from controller.openflow.decode import InstalledFlow
from controller.openflow.encode import WireFlow
from controller.openflow.events import Announced, Copied, Heard, Reading
from controller.pipeline.flow import Kind, RuleRef

MOST_COPIES = 2 * COPIES_PER_SECOND
"""At most so many copies per second are looked at: the burst and the rate of the switch's meter together."""


class Ruled:
    """The flows of rules in what a switch should have."""

    def __init__(self) -> None:
        self._rules: dict[int, RuleRef] = {}
        self._second = self._copies = 0

    def replace(self, flows: Iterable[WireFlow]) -> None:
        self._rules = {flow.cookie: flow.rule for flow in flows if flow.rule is not None}

    def change(self, added: Iterable[WireFlow], removed: Iterable[WireFlow]) -> None:
        for flow in removed:
            self._rules.pop(flow.cookie, None)
        self._rules.update((flow.cookie, flow.rule) for flow in added if flow.rule is not None)

    def copied(self, message: bytes, now: float) -> list[Copied | Heard | Announced]:
        """What to tell of a packet that the switch copied: nothing, if its flow is no longer wanted. Of those for the
        log only so many, for a switch may have no meters to keep to the limit; answers and announcements are
        not in their way."""
        match decode.cookie(message) >> 48:
            case Kind.ANSWERS:
                return [Heard(decode.packet_in(message))]
            case Kind.ANNOUNCEMENT:
                return [Announced(decode.packet_in(message))]
        if int(now) != self._second:
            self._second, self._copies = int(now), 0
        self._copies += 1
        if self._copies > MOST_COPIES:
            return []
        packet = decode.packet_in(message)
        rule = self._rules.get(packet.cookie)
        return [] if rule is None else [Copied(rule, packet)]

    def readings(self, flows: Iterable[InstalledFlow]) -> list[Reading]:
        """The counters of the rules' flows, of all flows that a switch has."""
        rules = self._rules
        return [Reading(f.cookie, rules[f.cookie], f.packets, f.bytes) for f in flows if f.cookie in rules]
