"""Tenants: who owns networks. Decides their numbers, what they deny by default, and when one may go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session, undefer_group

from db import allocate, bandwidth, isolation, networks, policies, quotas, zones
from db.changes import Transaction
from db.errors import Conflict, Invalid, NotFound
from db.labels import NAME_LABEL, changed_labels, valid_labels, with_name, without_name
from db.names import dns_label
from db.pages import Page, Sort, containing, having_labels, moment, number, page
from db.rows import assign, check_version, shortened
from db.tables import Endpoint, Network, Shared, Tenant

DEFAULT_NETWORK = "default"
DIRECTIONS = ("ingress", "egress")


def create(
    tx: Transaction,
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    track_all: bool = False,
    default_deny: Sequence[str] = (),
    quota: Mapping[str, int | None] | None = None,
    default_network: bool = True,
) -> Tenant:
    """A tenant with a number, a zone of its own and, if wanted, a network called `default`. The one called `system` is
    global."""
    dns_label(name, "tenant")
    session = tx.session
    if session.execute(select(Tenant.id).where(Tenant.name == name)).scalar() is not None:
        raise Conflict(f"tenant {name} exists already", "choose another name", "name")
    tenant = Tenant(name=name, labels=_stored({}, labels or {}, name), track_all=track_all)
    tenant.default_deny = _directions(default_deny)
    # Its first network comes with it, whatever may follow.
    tenant.quota = {}
    tenant.created_at = tx.now
    tenant.id = allocate.claim(session, Shared.TENANT, tx.now, what="the range of tenants", remedy="remove a tenant")
    tenant.zone = zones.GLOBAL if name == isolation.SYSTEM else zones.take(tx, "remove a tenant")
    session.add(tenant)
    session.flush()
    tx.record("tenant", tenant.id, "create", tenant_id=tenant.id)
    if default_network:
        networks.create(tx, f"{name}/{DEFAULT_NETWORK}")
    tenant.quota = quotas.changed({}, quota or {})
    session.flush()
    return tenant


def get(session: Session, name: str) -> Tenant:
    query = select(Tenant).where(Tenant.name == name).options(undefer_group("counts"))
    tenant = session.execute(query).scalar_one_or_none()
    if tenant is None:
        raise NotFound(f"there is no tenant {name}", f"create it with `warren tenant create {name}`", "tenant")
    return tenant


def find(
    session: Session,
    *,
    labels: Mapping[str, str] | None = None,
    text: str | None = None,
    sort: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> Page[Tenant]:
    """`text` is part of the name. `sort` is by "name", "networks", "endpoints" or "created"."""
    query = select(Tenant).where(*which(labels=labels, text=text)).options(undefer_group("counts"))
    return page(session, query, (Tenant.name,), lambda tenant: tenant.name, cursor, limit, sort, SORTS)


def count(session: Session, **wanted: Any) -> int:
    """How many `find` has in all its pages."""
    return session.execute(select(func.count()).select_from(Tenant).where(*which(**wanted))).scalar_one()


def which(*, labels: Mapping[str, str] | None = None, text: str | None = None) -> list[ColumnElement[bool]]:
    asked = dict(labels or {})
    named = [Tenant.name == asked.pop(NAME_LABEL)] if NAME_LABEL in asked else []
    return [*named, *having_labels(Tenant.labels, asked), *having_text(text)]


SORTS = {
    "networks": Sort(Tenant.network_count, lambda row: row.network_count, number),
    "endpoints": Sort(Tenant.endpoint_count, lambda row: row.endpoint_count, number),
    "created": Sort(Tenant.created_at, lambda row: row.created_at.isoformat(), moment),
}


def having_text(text: str | None) -> list[ColumnElement[bool]]:
    return containing(text, Tenant.name)


def update(
    tx: Transaction,
    name: str,
    *,
    labels: Mapping[str, str | None] | None = None,
    track_all: bool | None = None,
    default_deny: Sequence[str] | None = None,
    quota: Mapping[str, int | None] | None = None,
    version: int | None = None,
) -> Tenant:
    """Lays `labels` and `quota` over those that are there (None removes one). `version`: only of that one."""
    tenant = get(tx.session, name)
    check_version(tenant, version, f"tenant {name}")
    values = {
        "labels": _stored(tenant.labels, labels or {}, name),
        "track_all": tenant.track_all if track_all is None else track_all,
        "default_deny": tenant.default_deny if default_deny is None else _directions(default_deny),
        "quota": quotas.changed(tenant.quota, quota or {}),
    }
    before = tenant.quota.get(bandwidth.QUOTA)
    if assign(tenant, **values):
        tx.session.flush()
        if tenant.quota.get(bandwidth.QUOTA) != before:
            bandwidth.quota_changed(tx, tenant)
        tx.record("tenant", tenant.id, "update", tenant_id=tenant.id)
    return tenant


def delete(tx: Transaction, name: str, *, version: int | None = None) -> None:
    """Removes a tenant, its networks and its policies; refused while one of them holds endpoints."""
    session = tx.session
    zones.take_turn(session)
    tenant = get(session, name)
    check_version(tenant, version, f"tenant {name}")
    owned = select(Network.name).where(Network.tenant_id == tenant.id).order_by(Network.name)
    holding = owned.where(select(Endpoint.id).where(Endpoint.network_id == Network.id).exists())
    if names := [f"{name}/{network}" for network in session.execute(holding).scalars()]:
        raise Conflict(f"tenant {name} has endpoints in {shortened(names)}", "remove the endpoints first", "tenant")
    for network in session.execute(owned).scalars().all():
        networks.delete(tx, f"{name}/{network}")
    isolation.end_peerings(tx, tenant)
    policies.delete_of(tx, tenant)
    session.delete(tenant)
    session.flush()
    zones.leave(tx, tenant.zone)
    allocate.release(session, Shared.TENANT, tenant.id, tx.now)
    tx.record("tenant", tenant.id, "delete", tenant_id=tenant.id)


def _directions(given: Sequence[str]) -> list[str]:
    """Each once, ingress first."""
    for direction in given:
        if direction not in DIRECTIONS:
            raise Invalid(f"{direction!r} is not a direction", f"use {' or '.join(DIRECTIONS)}", "default_deny")
    return [direction for direction in DIRECTIONS if direction in given]


def _stored(labels: Mapping[str, str], changes: Mapping[str, str | None], name: str) -> dict[str, str]:
    """`labels` with `changes` laid over them, fit to be stored; the one that is not stored counts, too."""
    changed = changed_labels(labels, without_name(changes, name))
    valid_labels(with_name(changed, name))
    return changed
