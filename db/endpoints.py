"""Endpoints as people see them: find, label, remove. How they come into being is `attachments`' business."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, String, bindparam, cast, func, or_, select
from sqlalchemy.orm import Session, contains_eager, joinedload, lazyload, load_only, selectinload

from db import allowed as db_allowed
from db import attachments
from db.changes import Transaction
from db.errors import Invalid, NotFound
from db.labels import changed_labels, valid_ports
from db.names import qualified
from db.pages import Page, Sort, containing, having_labels, moment, page
from db.rows import assign, check_version
from db.tables import Address, Endpoint, EndpointStatus, Host, Network, Tenant

_ROW = (
    select(Endpoint)
    .join(Endpoint.tenant)
    # Each has both; an outer join leaves the order of the tenants' names to begin with, and so a page of few rows.
    .outerjoin(Endpoint.network)
    .outerjoin(Endpoint.host)
    .options(
        # Of what it belongs to only names are shown.
        contains_eager(Endpoint.tenant).load_only(Tenant.name, Tenant.quota),
        contains_eager(Endpoint.network).options(
            load_only(Network.name, Network.tenant_id), lazyload(Network.physical)
        ),
        contains_eager(Endpoint.host).load_only(Host.name),
        joinedload(Endpoint.status),
    )
)
_ONE = _ROW.where(Tenant.name == bindparam("tenant"), Endpoint.name == bindparam("endpoint")).options(
    joinedload(Endpoint.addresses), joinedload(Endpoint.allowed)
)
_MANY = _ROW.options(selectinload(Endpoint.addresses), selectinload(Endpoint.allowed))


def get(session: Session, name: str) -> Endpoint:
    tenant_name, short = qualified(name, "endpoint", "endpoint")
    endpoint = session.execute(_ONE, {"tenant": tenant_name, "endpoint": short}).unique().scalar_one_or_none()
    if endpoint is None:
        raise NotFound(f"there is no endpoint {name}", "list them with `warren endpoint list`", "endpoint")
    return endpoint


def find(
    session: Session,
    *,
    tenant: str | None = None,
    network: str | None = None,
    host: str | None = None,
    labels: Mapping[str, str] | None = None,
    state: str | None = None,
    text: str | None = None,
    sort: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> Page[Endpoint]:
    """`network` is qualified: `acme/web`. `text` is part of the qualified name, an alias, the MAC or an address.
    `sort` is by "name", "host", "network" or "created", with "-" the other way round."""
    query = _MANY.where(*which(tenant=tenant, network=network, host=host, labels=labels, state=state, text=text))
    order = Tenant.name, Endpoint.name
    return page(session, query, order, lambda row: row.qualified_name, cursor, limit, sort, SORTS)


def names(session: Session, limit: int) -> list[str]:
    """The first of their qualified names, and nothing else of them."""
    query = select(Tenant.name + "/" + Endpoint.name).select_from(Endpoint).join(Endpoint.tenant)
    return list(session.execute(query.order_by(Tenant.name, Endpoint.name).limit(limit)).scalars())


def count(session: Session, **wanted: Any) -> int:
    """How many `find` has in all its pages."""
    query = select(func.count()).select_from(Endpoint)
    asked = {name for name, value in wanted.items() if value is not None}
    # Joining them all for a plain number means to look at each row three times more.
    for needed, belongs in (
        ({"tenant", "network", "text"}, Endpoint.tenant),
        ({"network"}, Endpoint.network),
        ({"host"}, Endpoint.host),
    ):
        if asked & needed:
            query = query.join(belongs)
    return session.execute(query.where(*which(**wanted))).scalar_one()


def which(
    *,
    tenant: str | None = None,
    network: str | None = None,
    host: str | None = None,
    labels: Mapping[str, str] | None = None,
    state: str | None = None,
    text: str | None = None,
) -> list[ColumnElement[bool]]:
    """The conditions, where its tenant, network and host are joined."""
    wanted = [*having_labels(Endpoint.labels, labels), *having_text(text)]
    wanted += [] if tenant is None else [Tenant.name == tenant]
    if network is not None:
        owner, short = qualified(network, "network", "network")
        wanted += [Tenant.name == owner, Network.name == short]
    wanted += [] if host is None else [Host.name == host]
    if state is not None:
        if state not in STATES:
            raise Invalid(f"{state!r} is not a state of an endpoint", f"use {', '.join(STATES)}", "state")
        said = select(EndpointStatus.endpoint_id).where(EndpointStatus.endpoint_id == Endpoint.id)
        wanted.append(~said.exists() if state == "pending" else said.where(EndpointStatus.state == state).exists())
    return wanted


STATES = ("up", "down", "pending")
SORTS = {
    "host": Sort(Host.name, lambda row: row.host.name),
    "network": Sort(Network.name, lambda row: row.network.name),
    "created": Sort(Endpoint.created_at, lambda row: row.created_at.isoformat(), moment),
}


def having_text(text: str | None) -> list[ColumnElement[bool]]:
    if not text:
        return []
    addresses = select(Address.ip).where(Address.endpoint_id == Endpoint.id, *containing(text, Address.ip))
    aliases = cast(Endpoint.aliases, String)
    return [or_(*containing(text, Tenant.name + "/" + Endpoint.name, Endpoint.mac, aliases), addresses.exists())]


def update(
    tx: Transaction,
    name: str,
    *,
    labels: Mapping[str, str | None] | None = None,
    ports: Sequence[Mapping[str, Any]] | None = None,
    allowed: Sequence[Mapping[str, Any]] | None = None,
    move_to: str | None = None,
    version: int | None = None,
) -> Endpoint:
    """Lays `labels` over those that are there (None removes one); `ports` and `allowed` replace them all. `move_to` is
    the host whose agent may take it, or "" for none."""
    endpoint = get(tx.session, name)
    check_version(endpoint, version, f"endpoint {name}")
    values = {
        "labels": changed_labels(endpoint.labels, labels or {}),
        "ports": endpoint.ports if ports is None else valid_ports(ports),
        "move_to": endpoint.move_to if move_to is None else move_to or None,
    }
    if move_to and tx.session.execute(select(Host.id).where(Host.name == move_to)).scalar() is None:
        raise NotFound(f"there is no host {move_to}", "name one that is enrolled", "move_to")
    if assign(endpoint, **values):
        tx.session.flush()
        tx.record("endpoint", endpoint.id, "update", tenant_id=endpoint.tenant_id, host_id=endpoint.host_id)
    if allowed is not None:
        db_allowed.declare(tx, endpoint, allowed)
    return endpoint


def delete(tx: Transaction, name: str, *, version: int | None = None) -> None:
    tenant, short = qualified(name, "endpoint", "endpoint")
    # Nobody gives it another version between the look at it and its end.
    turn = select(Endpoint.id).join(Endpoint.tenant).where(Tenant.name == tenant, Endpoint.name == short)
    tx.session.execute(turn.with_for_update(of=Endpoint))
    endpoint = get(tx.session, name)
    check_version(endpoint, version, f"endpoint {name}")
    attachments.remove(tx, endpoint.id)
    tx.session.expunge(endpoint)
