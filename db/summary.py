"""How many there are of everything, for an overview and for searches."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from db import endpoints, hosts, networks, tenants
from db.pages import MAX_LIMIT
from db.tables import Endpoint, EndpointStatus, Policy

MOST_HOSTS = MAX_LIMIT
"""More hosts than an overview looks at one by one."""


class Storage(NamedTuple):
    """The database: `kind` as people call it, `size` in bytes."""

    kind: str
    size: int


def storage(session: Session) -> Storage:
    if session.get_bind().dialect.name == "postgresql":
        return Storage("PostgreSQL", session.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
    pages, size = (session.execute(text(f"PRAGMA {name}")).scalar_one() for name in ("page_count", "page_size"))
    return Storage("SQLite", pages * size)


def counts(session: Session) -> dict[str, int]:
    """How many there are of each noun, and how many endpoints are `down`."""
    found = {noun: count(session, noun) for noun in ("tenants", "networks", "hosts", "endpoints", "policies")}
    down = select(func.count()).select_from(Endpoint).join(Endpoint.status).where(EndpointStatus.state == "down")
    return found | {"down": session.execute(down).scalar_one()}


def count(session: Session, noun: str, text: str | None = None) -> int:
    """How many items there are in the list of `noun` ("tenants", ...) in which `text` is found."""
    if noun == "policies":
        return session.execute(select(func.count()).select_from(Policy)).scalar_one()
    return COUNTED[noun].count(session, text=text)  # type: ignore[attr-defined,no-any-return]


COUNTED = {"tenants": tenants, "networks": networks, "hosts": hosts, "endpoints": endpoints}
