"""What rules have counted: readings of their flows, added up over replaced flows, restarted switches and controllers.

A flow's counter that fell began anew. A rule's count is that of one version of its policy; another version begins at
zero. Knows neither switches nor databases: readings come in, and the counts that changed go out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from controller.model import Direction
from controller.pipeline.flow import RuleRef

Reading = tuple[int, RuleRef, int, int]
"""A flow's cookie, the rule that it carries out, and how many packets and bytes it says it had."""


class Place(NamedTuple):
    """A rule of a policy on a host."""

    policy: int
    direction: Direction
    number: int
    host: int


class Count(NamedTuple):
    """`seen_packets` and `seen_bytes` are what all flows of the rule said together at the last reading: a controller
    that starts goes on from there."""

    version: int
    packets: int = 0
    bytes: int = 0
    seen_packets: int = 0
    seen_bytes: int = 0
    last_hit: datetime | None = None


class _Sum:
    __slots__ = ("bytes", "new_bytes", "new_packets", "packets")

    def __init__(self) -> None:
        self.packets = self.bytes = self.new_packets = self.new_bytes = 0


class Tally:
    """`known` are the counts that the last controller left."""

    def __init__(self, known: Mapping[Place, Count]) -> None:
        self._counts: dict[int, dict[RuleRef, Count]] = {}
        self._flows: dict[int, dict[int, tuple[int, int]]] = {}  # by host and cookie, as of the last reading
        for place, count in known.items():
            self._counts.setdefault(place.host, {})[RuleRef(*place[:3])] = count

    def read(
        self, host: int, readings: Iterable[Reading], version: Callable[[int], int | None], now: datetime
    ) -> dict[Place, Count]:
        """The counts that changed. `readings` are all that the host's switch has; `version` is that of a policy now,
        None when it is gone."""
        before, after = self._flows.get(host), dict[int, tuple[int, int]]()
        sums: dict[RuleRef, _Sum] = {}
        for cookie, rule, packets, octets in readings:
            after[cookie] = packets, octets
            was = (before or {}).get(cookie, (0, 0))
            if packets < was[0]:
                was = 0, 0
            total = sums.setdefault(rule, _Sum())
            total.packets += packets
            total.bytes += octets
            total.new_packets += packets - was[0]
            total.new_bytes += octets - was[1]
        self._flows[host] = after

        counts, changed = self._counts.setdefault(host, {}), dict[Place, Count]()
        for rule in sums.keys() | counts.keys():
            known, now_at = counts.get(rule), version(rule.policy)
            if now_at is None:
                counts.pop(rule, None)
                continue
            total = sums.get(rule) or _Sum()
            if known is None and not total.packets:
                continue
            if before is None and known is not None:
                total = _since(total, known, now_at)
            count = _grown(known if known is not None and known.version == now_at else Count(now_at), total, now)
            if count != known:
                counts[rule] = changed[Place(*rule, host)] = count
        return changed

    def forget(self, host: int) -> None:
        self._counts.pop(host, None)
        self._flows.pop(host, None)


def _since(total: _Sum, known: Count, version: int) -> _Sum:
    """What came since a controller before this one looked. A policy that has changed meanwhile begins now; where some
    flows went meanwhile, what the others counted is not told apart, and lost rather than counted twice."""
    if known.version != version or total.packets < known.seen_packets:
        total.new_packets = total.new_bytes = 0
    else:
        total.new_packets -= known.seen_packets
        total.new_bytes -= known.seen_bytes
    return total


def _grown(count: Count, total: _Sum, now: datetime) -> Count:
    return Count(
        count.version,
        count.packets + total.new_packets,
        count.bytes + max(0, total.new_bytes),
        total.packets,
        total.bytes,
        now if total.new_packets else count.last_hit,
    )
