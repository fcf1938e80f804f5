"""Replies of others, kept for as long as they say and no longer than Warren likes. Pure: the time is given."""

from __future__ import annotations

from ovs_agent.dns import wire
from ovs_agent.dns.wire import Query, Reply

Key = tuple[tuple[bytes, ...], int, int, int, bool]
MOST = 10_000
LARGEST = 4096
"""Bytes of a reply that is kept: whoever owns a domain can say 64 KiB about each of its names."""


def key(query: Query) -> Key:
    """Two queries with one key have the same answer: whatever their spelling, and how much room they have."""
    wants_signatures = query.edns is not None and query.edns.wants_signatures
    return query.labels, query.type, query.cls, query.more_flags & (wire.AD | wire.CD), wants_signatures


def render(reply: Reply, query: Query, room: int, passed: int = 0) -> bytes:
    """For this asker, `passed` seconds after it came. Passed on, it is no authority's answer any more."""
    records = wire.with_lifetime(reply, passed) if passed else reply.body
    flags = reply.flags & wire.TC
    return wire.reply(query, room, reply.rcode, records, reply.counts, flags, reply.more_flags)


class Cache:
    """The oldest goes when there are too many."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: dict[Key, tuple[float, Reply]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: Key, now: float) -> tuple[Reply, int] | None:
        """A kept reply, with the seconds that have passed since it came."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        came, reply = kept
        passed = int(now - came)
        if passed >= reply.lifetime:
            del self._kept[key]
            return None
        return reply, passed

    def keep(self, key: Key, reply: Reply, now: float) -> None:
        self._kept.pop(key, None)
        if reply.lifetime and len(reply.body) <= LARGEST:
            if len(self._kept) >= self._most:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = now, reply
