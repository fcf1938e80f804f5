"""Endpoints gathered by host, by tenant or by network: how many there are in each, without reading them one by one."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import ColumnElement, Select, and_, case, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.endpoints import having_text
from db.tables import Address, Endpoint, EndpointStatus, Host, Network, Tenant


class Gathered(NamedTuple):
    """`endpoints` of a `box` that are in the same `part`, and how many of them are down."""

    box: str
    box_id: int
    part: str
    tenant: str
    tenant_id: int
    endpoints: int
    down: int


class Inside(NamedTuple):
    id: int
    name: str
    tenant: str
    network: str
    host: str
    state: str | None
    addresses: tuple[str, ...]


_Column = ColumnElement[str] | InstrumentedAttribute[str]
_NAMES: dict[str, _Column] = {"host": Host.name, "tenant": Tenant.name, "network": Tenant.name + "/" + Network.name}
_IDS = {"host": Host.id, "tenant": Tenant.id, "network": Network.id}


def count(
    session: Session, box: str, part: str, *, tenant: str | None = None, text: str | None = None
) -> list[Gathered]:
    """`box` and `part` are "host", "tenant" or "network"."""
    down = func.count(case((EndpointStatus.state == "down", 1)))
    what = _NAMES[box], _IDS[box], _NAMES[part], Tenant.name, Tenant.id
    query = _joined(select(*what, func.count(), down), tenant).where(*having_text(text))
    return [Gathered(*row) for row in session.execute(query.group_by(*what).order_by(_IDS[box]))]


def inside(session: Session, box: str, name: str, *, tenant: str | None = None, limit: int) -> list[Inside]:
    """The endpoints of one box, in the order in which they came."""
    what = Endpoint.id, Endpoint.name, Tenant.name, Network.name, Host.name, EndpointStatus.state
    query = _joined(select(*what), tenant)
    if box == "network":
        owner, _, short = name.partition("/")
        query = query.where(and_(Tenant.name == owner, Network.name == short))
    else:
        query = query.where(_NAMES[box] == name)
    rows = session.execute(query.order_by(Endpoint.id).limit(limit)).all()
    addresses: dict[int, list[str]] = {}
    held = select(Address.endpoint_id, Address.ip).where(Address.endpoint_id.in_([row.id for row in rows]))
    for id, ip in session.execute(held):
        addresses.setdefault(id, []).append(ip)
    return [Inside(*row, tuple(addresses.get(row.id, ()))) for row in rows]


def _joined(query: Select, tenant: str | None) -> Select:  # type: ignore[type-arg]
    query = query.select_from(Endpoint).join(Endpoint.tenant).join(Endpoint.network).join(Endpoint.host)
    query = query.outerjoin(EndpointStatus, EndpointStatus.endpoint_id == Endpoint.id)
    return query if tenant is None else query.where(Tenant.name == tenant)
