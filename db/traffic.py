"""What went through endpoints' ports and from host to host: the newest counters. Never bumps the revision.

A counter begins anew with its port or flow. What was counted earlier is `web`'s to remember, for an hour.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select, true, update
from sqlalchemy.orm import Session

from db.tables import Endpoint, Host, HostTraffic

Counted = Mapping[str, Sequence[int]]
"""By an endpoint's id: packets, bytes and dropped packets that it received, and those that it sent."""
Carried = Mapping[str, Sequence[int]]
"""By another host's id: packets and bytes sent there, and received from there."""


class Count(NamedTuple):
    packets: int
    bytes: int
    dropped: int


class Total(NamedTuple):
    """Of one endpoint or several, as they see it. `at` is when the oldest of it was read; None: nothing is known."""

    at: datetime | None
    received: Count
    sent: Count


class Tunnel(NamedTuple):
    """Between a host and another. What one end sent and the other did not receive was lost between them."""

    host: str
    peer: str
    sent_packets: int
    sent_bytes: int
    received_packets: int
    received_bytes: int


class Latest(NamedTuple):
    host_id: int
    counted_at: datetime | None
    endpoints: Counted
    tunnels: Carried


def count(session: Session, host_id: int, endpoints: Counted, now: datetime) -> None:
    """What a host's agent read, whole."""
    values = {"endpoints": dict(endpoints), "counted_at": now}
    session.execute(update(HostTraffic).where(HostTraffic.host_id == host_id).values(values))


def carry(session: Session, tunnels: Mapping[int, Mapping[int, Sequence[int]]]) -> None:
    """What controllers read off hosts' bridges: by host and other host."""
    for host_id, others in sorted(tunnels.items()):
        values = {"tunnels": {str(other): list(counts) for other, counts in others.items()}}
        session.execute(update(HostTraffic).where(HostTraffic.host_id == host_id).values(values))


def latest(session: Session) -> list[Latest]:
    """The newest counters of all hosts."""
    t = HostTraffic
    return [Latest(*row) for row in session.execute(select(t.host_id, t.counted_at, t.endpoints, t.tunnels))]


def of_endpoints(session: Session, endpoints: Iterable[tuple[int, int]]) -> Total:
    """The total of endpoints, given with their hosts' ids. What other hosts say of an endpoint is ignored."""
    by_host: dict[int, list[int]] = {}
    for id, host_id in endpoints:
        by_host.setdefault(host_id, []).append(id)
    t = HostTraffic
    query = select(t.host_id, t.counted_at, t.endpoints).where(t.host_id.in_(list(by_host)), t.counted_at.is_not(None))
    moments, sums = [], [0] * 6
    for host_id, at, counted in session.execute(query):
        moments.append(at)
        for id in by_host[host_id]:
            for place, counter in enumerate(counted.get(str(id), ())):
                sums[place] += counter
    return Total(min(moments, default=None), Count(*sums[:3]), Count(*sums[3:]))


def placed(session: Session, *, network: int | None = None, host: int | None = None) -> list[tuple[int, int]]:
    """The endpoints of a network or a host: their ids, and their hosts'."""
    which = Endpoint.network_id == network if host is None else Endpoint.host_id == host
    return [(id, host_id) for id, host_id in session.execute(select(Endpoint.id, Endpoint.host_id).where(which))]


def tunnels(session: Session, host: str | None = None) -> list[Tunnel]:
    """From one host, or from all, to others that are still there; in the order of their names."""
    wanted = true() if host is None else Host.name == host
    query = select(Host.id, Host.name, HostTraffic.tunnels)
    rows = session.execute(query.outerjoin(HostTraffic, (HostTraffic.host_id == Host.id) & wanted)).all()
    names = {str(id): name for id, name, _ in rows}
    return sorted(
        Tunnel(name, names[other], *counts)
        for _, name, others in rows
        for other, counts in (others or {}).items()
        if other in names
    )
