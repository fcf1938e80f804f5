"""Who talks to whom: joining, isolating and globalising tenants, peering, and the cluster's mode.

Decides zones and peerings, and refuses what would give somebody two networks with the same addresses. Joined tenants
share a zone; `join` moves the first into the second's, `isolate` out of it again, and peerings stay through both. What
is asked for and already so is done without a revision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.orm import Session, undefer_group

from db import collisions, zones
from db.addressing import parse_subnet
from db.changes import Transaction
from db.collisions import Place
from db.errors import Conflict, Invalid, NotFound
from db.rows import check_version
from db.settings import CLUSTER_ID, FLAT, MULTITENANT, Isolation, isolation, set_isolation
from db.tables import Network, Peering, Subnet, Tenant
from db.zones import GLOBAL

SYSTEM = "system"
"""The tenant of what every other needs. It is global from the start and stays so."""
_FEWER = "remove a tenant"


_every = Tenant.__table__.alias("every").c
"""Tenants, those also that a narrowed session does not see: whoever is joined is told so, not with whom."""


class Standing(NamedTuple):
    """How a tenant stands to others. `kind` is `own`, `joined` or `global`; a global tenant is joined with nobody.
    Names are of whom the session sees."""

    kind: str
    joined: list[str]
    peers: list[str]


def join(tx: Transaction, name: str, to: str, *, version: int | None = None) -> Tenant:
    """Moves tenant `name` into the zone of `to`, out of the one it shared before."""
    if name == to:
        raise Invalid(f"tenant {name} cannot join itself", "name another tenant", "to")
    tenant, other = _locked(tx, name, to, "to", version)
    if tenant.zone == other.zone:
        return tenant
    if other.zone == GLOBAL:
        raise Conflict(
            f"tenant {to} is global: {name} reaches it already, and it has no zone to share",
            f"make {name} global too (`warren tenant global {name}`)"
            + ("" if to == SYSTEM else f", or `warren tenant isolate {to}` first"),
            "to",
        )
    if tenant.zone == GLOBAL:
        _refuse_system(tenant)
        raise Conflict(
            f"tenant {name} is global, and would not be any more once it joined {to}",
            f"`warren tenant isolate {name}` first",
            "tenant",
        )
    _move(tx, tenant, other.zone)
    _refuse_collisions(tx, tenant, f"tenant {name} cannot join {to}")
    return tenant


def isolate(tx: Transaction, name: str, *, version: int | None = None) -> Tenant:
    """Gives a tenant a zone of its own, unless it is alone in one."""
    tenant = _locked(tx, name, version=version)[0]
    _refuse_system(tenant)
    others = select(Tenant.id).where(Tenant.zone == tenant.zone, Tenant.id != tenant.id).limit(1)
    if tenant.zone == GLOBAL or tx.session.execute(others).scalar() is not None:
        _move(tx, tenant, zones.take(tx, _FEWER))
    return tenant


def make_global(tx: Transaction, name: str, *, version: int | None = None) -> Tenant:
    """Every tenant's routable networks reach a global one's, and the other way round."""
    tenant = _locked(tx, name, version=version)[0]
    if tenant.zone != GLOBAL:
        _move(tx, tenant, GLOBAL)
        _refuse_collisions(tx, tenant, f"tenant {name} cannot be global")
    return tenant


def peer(tx: Transaction, name: str, other_name: str, *, version: int | None = None) -> Tenant:
    """The two reach each other, and nobody who is joined or peers with one of them gains anything."""
    if name == other_name:
        raise Invalid(f"tenant {name} cannot peer with itself", "name another tenant", "with")
    tenant, other = _locked(tx, name, other_name, "with", version)
    low, high = sorted((tenant.id, other.id))
    if _peering(tx.session, low, high) is None:
        made = insert(Peering).values(low_id=low, high_id=high).returning(Peering.id)
        tx.record("peering", tx.session.execute(made).scalar_one(), "create", tenant_id=tenant.id)
        for one in (tenant, other):
            _refuse_collisions(tx, one, f"tenants {name} and {other_name} cannot peer", with_peers=False)
    return tenant


def unpeer(tx: Transaction, name: str, other_name: str, *, version: int | None = None) -> Tenant:
    tenant, other = _locked(tx, name, other_name, "with", version)
    id = _peering(tx.session, *sorted((tenant.id, other.id)))
    if id is None:
        raise NotFound(
            f"tenants {name} and {other_name} do not peer", f"`warren tenant show {name}` tells who does", "with"
        )
    tx.session.execute(delete(Peering).where(Peering.id == id))
    tx.record("peering", id, "delete", tenant_id=tenant.id)
    return tenant


def end_peerings(tx: Transaction, tenant: Tenant) -> None:
    """All of a tenant's, before it goes."""
    either = or_(Peering.low_id == tenant.id, Peering.high_id == tenant.id)
    for id in tx.session.execute(delete(Peering).where(either).returning(Peering.id)).scalars().all():
        tx.record("peering", id, "delete", tenant_id=tenant.id)


def set_mode(tx: Transaction, mode: str, *, version: int | None = None) -> Isolation:
    """`flat`: every tenant's routable networks reach every other's; `multitenant`: zones and peerings decide."""
    if mode not in (FLAT, MULTITENANT):
        raise Invalid(f"{mode!r} is not an isolation mode", f"use {FLAT} or {MULTITENANT}", "isolation")
    zones.take_turn(tx.session)
    now = isolation(tx.session)
    check_version(now, version, "the cluster")
    if mode == now.mode:
        return now
    if mode == FLAT and (pair := collisions.between_private_and_routable(tx.session)):
        raise Conflict(f"the cluster cannot be flat: {pair.sentence}", pair.remedy, "isolation")
    tx.record("cluster", CLUSTER_ID, "update")
    return set_isolation(tx.session, mode)


def standing(session: Session, tenant: Tenant) -> Standing:
    low, high = select(Peering.low_id), select(Peering.high_id)
    ids = low.where(Peering.high_id == tenant.id).union(high.where(Peering.low_id == tenant.id))
    peers = list(session.execute(select(Tenant.name).where(Tenant.id.in_(ids)).order_by(Tenant.name)).scalars())
    if tenant.zone == GLOBAL:
        return Standing("global", [], peers)
    others = select(Tenant.name).select_from(_every.id.table).outerjoin(Tenant, Tenant.id == _every.id)
    others = others.where(_every.zone == tenant.zone, _every.id != tenant.id).order_by(Tenant.name)
    mates = list(session.execute(others).scalars())
    return Standing("joined" if mates else "own", [name for name in mates if name is not None], peers)


def kinds(session: Session, tenants: Sequence[Tenant]) -> dict[int, str]:
    """`Standing.kind` of each tenant, by its id."""
    query = select(_every.zone, func.count()).where(_every.zone.in_({tenant.zone for tenant in tenants}))
    inside = dict(session.execute(query.group_by(_every.zone)).all())
    names = {zone: "joined" if count > 1 else "own" for zone, count in inside.items()} | {GLOBAL: "global"}
    return {tenant.id: names[tenant.zone] for tenant in tenants}


def _locked(
    tx: Transaction, name: str, other: str | None = None, field: str = "", version: int | None = None
) -> list[Tenant]:
    """The tenants, which nobody else changes until the transaction ends. `version` is the first one's."""
    zones.take_turn(tx.session)
    wanted = {name: "tenant"} if other is None else {other: field, name: "tenant"}
    query = select(Tenant).where(Tenant.name.in_(wanted)).order_by(Tenant.id)
    # Whoever attaches an endpoint meanwhile refers to the tenant, and is not held up by this.
    query = query.with_for_update(of=Tenant, key_share=True)
    query = query.options(undefer_group("counts")).execution_options(populate_existing=True)
    found = {tenant.name: tenant for tenant in tx.session.execute(query).scalars()}
    for missing, its_field in reversed(wanted.items()):
        if missing not in found:
            remedy = f"create it with `warren tenant create {missing}`"
            raise NotFound(f"there is no tenant {missing}", remedy, its_field)
    check_version(found[name], version, f"tenant {name}")
    return [found[name]] if other is None else [found[name], found[other]]


def _peering(session: Session, low: int, high: int) -> int | None:
    query = select(Peering.id).where(Peering.low_id == low, Peering.high_id == high)
    return session.execute(query).scalar_one_or_none()


def _move(tx: Transaction, tenant: Tenant, zone: int) -> None:
    """The tenant and its networks that are not isolated, one record each."""
    left, tenant.zone = tenant.zone, zone
    tx.session.flush()
    tx.record("tenant", tenant.id, "update", tenant_id=tenant.id)
    # One statement, so that somebody who labels a network meanwhile is overtaken and not refused.
    moved = update(Network).where(Network.tenant_id == tenant.id, ~Network.isolated)
    moved = moved.values(zone=zone, version=Network.version + 1)
    ids = tx.session.execute(moved.returning(Network.id), execution_options={"synchronize_session": False})
    for id in sorted(ids.scalars()):
        tx.record("network", id, "update", tenant_id=tenant.id)
    zones.leave(tx, left)


def _refuse_system(tenant: Tenant) -> None:
    if tenant.name == SYSTEM and tenant.zone == GLOBAL:
        raise Conflict(
            f"tenant {SYSTEM} cannot be isolated: what all tenants need runs in it",
            "isolate one of its networks (`warren network update --isolated`), or write a policy about its endpoints",
            "tenant",
        )


def _refuse_collisions(tx: Transaction, tenant: Tenant, what: str, with_peers: bool = True) -> None:
    """After a tenant moved: what may collide now is its own networks, and its peers' with those it came to."""
    owners = {tenant.id} | (collisions.peers_of(tx.session, tenant.id) if with_peers else set())
    query = select(Network, Tenant.name, Subnet.cidr).join(Tenant).join(Subnet)
    # What is carved of the cluster's pool overlaps nothing.
    query = query.where(Network.tenant_id.in_(owners), ~Network.isolated, Subnet.block.is_(None)).order_by(Subnet.id)
    for network, owner, cidr in tx.session.execute(query).all():
        place = Place(network.tenant_id, network.zone, network.private, network.isolated)
        if found := collisions.find(tx.session, place, parse_subnet(cidr)):
            pair = collisions.Pair(cidr, f"{owner}/{network.name}", network.private, found)
            raise Conflict(f"{what}: {pair.sentence}", pair.remedy)
