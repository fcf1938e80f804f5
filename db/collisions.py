"""Networks with the same addresses, and who would reach both: nobody may, or a packet would not know where to go.

Decides that for one network in one place at a time, by the rules of isolation, so it serves a network that is made and
one whose tenant moves. Does not know how a network comes to its place.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, false, or_, select
from sqlalchemy.orm import Session

from db.addressing import IPAddress, IPNetwork, bounds
from db.settings import is_flat
from db.tables import Network, Peering, Subnet, Tenant
from db.zones import GLOBAL


class Place(NamedTuple):
    """What decides who reaches a network."""

    tenant_id: int
    zone: int
    private: bool
    isolated: bool


class Collision(NamedTuple):
    """`who` would reach a network and also `cidr` of `network`, of another tenant."""

    cidr: str
    network: str
    private: bool
    who: str

    @property
    def sentence(self) -> str:
        """What follows the name of a subnet in a sentence."""
        return f"overlaps {self.cidr} of network {self.network}, and {self.who} would reach both"


class Pair(NamedTuple):
    """A network's `cidr` and what it collides with, in words."""

    cidr: str
    network: str
    private: bool
    other: Collision

    @property
    def sentence(self) -> str:
        return f"{self.cidr} of network {self.network} {self.other.sentence}"

    @property
    def remedy(self) -> str:
        apart = self.network if self.private else self.other.network
        return f"create one of them with other addresses, or isolate one (`warren network update {apart} --isolated`)"


class _Reacher(NamedTuple):
    id: int
    name: str
    zone: int


def inside(session: Session, address: IPAddress, tenant_id: int, seen: Collection[int] | None = None) -> bool:
    """Whether an address is in a network that the tenant's endpoints may be led to: its own, or not private. Of those
    only what a tenant in `seen` has, or this one reaches; None: all."""
    low, high = bounds(ipaddress.ip_network(address))
    query = select(Subnet.id).join(Network, Network.id == Subnet.network_id)
    query = query.where(Subnet.family == address.version, Subnet.low <= high, Subnet.high >= low)
    found = query.where(or_(Network.tenant_id == tenant_id, ~Network.private)).limit(1)
    if seen is not None:
        zone = session.execute(select(Tenant.zone).where(Tenant.id == tenant_id)).scalar_one()
        peers = _peers(session, [tenant_id])
        reached = _reached([_Reacher(tenant_id, "", zone)], peers, is_flat(session))
        found = found.where(or_(Network.tenant_id.in_(seen), reached))
    return session.execute(found).scalar() is not None


def find(session: Session, place: Place, subnet: IPNetwork) -> Collision | None:
    """A network of another tenant that overlaps `subnet`, and that somebody reaches who reaches a network here."""
    flat = is_flat(session)
    everybody = place.zone == GLOBAL or (flat and not place.private and not place.isolated)
    reachers = [] if everybody else _reachers(session, place)
    peers = _peers(session, [reacher.id for reacher in reachers])
    reached = ~and_(Network.private, Network.isolated) if everybody else _reached(reachers, peers, flat)
    low, high = bounds(subnet)
    query = (
        select(Subnet.cidr, Network, Tenant.name.label("owner"))
        .join(Network, Network.id == Subnet.network_id)
        .join(Tenant, Tenant.id == Network.tenant_id)
        .where(Subnet.family == subnet.version, Subnet.low <= high, Subnet.high >= low)
        .where(Network.tenant_id != place.tenant_id, reached)
        .order_by(Subnet.id)
        .limit(1)
    )
    for cidr, other, owner in session.execute(query):
        who = "every tenant"
        if not everybody:
            who = next(f"tenant {one.name}" for one in reachers if _reaches(one, peers, flat, other))
        return Collision(cidr, f"{owner}/{other.name}", other.private, who)
    return None


def between_private_and_routable(session: Session) -> Pair | None:
    """A private network that hides a routable one of somebody else from its own tenant, were the cluster flat."""
    name = Tenant.name + "/" + Network.name
    query = (
        select(Subnet.family, Subnet.low, Subnet.high, Subnet.cidr, name, Network.private, Tenant.name)
        .join(Network, Network.id == Subnet.network_id)
        .join(Tenant, Tenant.id == Network.tenant_id)
        .where(~Network.isolated, Subnet.block.is_(None))
        .order_by(Subnet.family, Subnet.low, Subnet.id)
    )
    # By first address; of those seen so far, one that reaches furthest of each kind. One tenant's never overlap.
    furthest: dict[bool, Any] = {}
    for row in session.execute(query):
        family, low, high, _, _, private, _ = row
        other = furthest.get(not private)
        if other is not None and other.family == family and other.high >= low:
            hiding, hidden = (row, other) if private else (other, row)
            collision = Collision(hidden[3], hidden[4], False, f"tenant {hiding[6]}")
            return Pair(hiding[3], hiding[4], True, collision)
        best = furthest.get(private)
        if best is None or best.family != family or best.high < high:
            furthest[private] = row
    return None


def peers_of(session: Session, tenant_id: int) -> set[int]:
    return _peers(session, [tenant_id]).get(tenant_id, set())


def _reachers(session: Session, place: Place) -> Sequence[_Reacher]:
    """The tenants whose networks reach one in this place, its own first."""
    conditions: list[ColumnElement[bool]] = [false()]
    if not place.isolated:
        conditions += [Tenant.zone == place.zone, Tenant.id.in_(peers_of(session, place.tenant_id))]
    if not place.private:
        conditions.append(Tenant.zone == GLOBAL)
    query = select(Tenant.id, Tenant.name, Tenant.zone).where(or_(*conditions))
    return [_Reacher(*row) for row in session.execute(query.order_by(Tenant.id != place.tenant_id, Tenant.name))]


def _reached(reachers: Sequence[_Reacher], peers: dict[int, set[int]], flat: bool) -> ColumnElement[bool]:
    """The condition that one of the reachers reaches a network: `_reaches` for all rows at once."""
    if not reachers:
        return false()
    conditions: list[ColumnElement[bool]] = [
        Network.zone.in_({GLOBAL} | {one.zone for one in reachers}),
        and_(~Network.isolated, Network.tenant_id.in_(set().union(*peers.values()))),
    ]
    if any(one.zone == GLOBAL for one in reachers):
        conditions.append(~Network.private)
    if flat:
        conditions.append(and_(~Network.isolated, ~Network.private))
    return or_(*conditions)


def _reaches(one: _Reacher, peers: dict[int, set[int]], flat: bool, network: Network) -> bool:
    return (
        network.zone in (GLOBAL, one.zone)
        or (not network.isolated and network.tenant_id in peers.get(one.id, ()))
        or (one.zone == GLOBAL and not network.private)
        or (flat and not network.isolated and not network.private)
    )


def _peers(session: Session, tenant_ids: Sequence[int]) -> dict[int, set[int]]:
    """For each of these tenants those it peers with."""
    found: dict[int, set[int]] = {}
    pairs: Sequence[Any] = session.execute(
        select(Peering.low_id, Peering.high_id).where(
            or_(Peering.low_id.in_(tenant_ids), Peering.high_id.in_(tenant_ids))
        )
    ).all()
    wanted = set(tenant_ids)
    for pair in pairs:
        for one, other in (pair, pair[::-1]):
            if one in wanted:
                found.setdefault(one, set()).add(other)
    return found
