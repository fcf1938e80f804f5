"""What DNS names stand for, and until when: how answers are merged into what is known, and when it ends.

An answer counts for as long as it says, though no shorter than FLOOR and no longer than CEILING, and for GRACE more, so
that connections that were just opened and clients that still remember it are not cut. Times are in seconds of any
clock, which is an argument. Where this is kept, and which names anybody asks for, is not decided here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

_HOST_NAME = re.compile(r"[a-z0-9_.-]{1,253}")

IpAddress = tuple[int, int]
"""(version, value)"""

Known = Mapping[str, Mapping[IpAddress, float]]
"""For each name its addresses, each with the time until which the newest answer holds."""


class Told(NamedTuple):
    """An answer, or a part of it: that `name` has `address` for `ttl` seconds."""

    name: str
    address: IpAddress
    ttl: float


class Lifetime(NamedTuple):
    """In seconds."""

    floor: float = 30
    ceiling: float = 3600
    grace: float = 60

    def until(self, told: Told, now: float) -> float:
        return now + min(max(told.ttl, self.floor), self.ceiling)

    def is_news(self, until: float | None, told: Told, now: float) -> bool:
        """Whether it must be written down where `until` is (None: nothing).

        Not while it would move the end by less than half the grace: an address that is asked for all the time is
        written down now and then, and never ends before the newest answer does.
        """
        return until is None or self.until(told, now) - until > self.grace / 2

    def merge(self, known: Known, told: Iterable[Told], now: float) -> dict[str, dict[IpAddress, float]]:
        """The names of which something must be written down, with all that is known of them then."""
        changed: dict[str, dict[IpAddress, float]] = {}
        for one in told:
            addresses = changed.get(one.name, known.get(one.name, {}))
            if self.is_news(addresses.get(one.address), one, now):
                changed[one.name] = {**addresses, one.address: self.until(one, now)}
        return changed

    def lapsed_before(self, now: float) -> float:
        """What holds until then or less has lapsed."""
        return now - self.grace

    def lapse(self, known: Known, now: float) -> dict[str, dict[IpAddress, float]]:
        """The names of which something lapsed, with what is left of them."""
        end = self.lapsed_before(now)
        return {
            name: {address: until for address, until in addresses.items() if until > end}
            for name, addresses in known.items()
            if any(until <= end for until in addresses.values())
        }


class Chain(NamedTuple):
    """A DNS answer as it is written: the name that was asked for, then each alias' target with the alias' TTL before
    it, and at the end the addresses with theirs."""

    name: str
    aliases: tuple[tuple[float, str], ...]
    addresses: tuple[tuple[float, IpAddress], ...]

    def told(self) -> list[Told]:
        """Every address counts for every name of the chain, for as long as nothing between them ends.

        Names with other characters than host names have are nobody's to connect to.
        """
        found: list[Told] = []
        names = (self.name, *(name for _, name in self.aliases))
        for position, name in enumerate(names):
            if not _HOST_NAME.fullmatch(name):
                continue
            aliases = [ttl for ttl, _ in self.aliases[position:]]
            found += [Told(name, address, min([ttl, *aliases])) for ttl, address in self.addresses]
        return found
