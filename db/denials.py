"""What rules decided that was to be logged, above all what they denied: the newest, each kind once with its number.

Written by controllers, in names; never bumps the revision, and asks nobody whether what is named is still there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, String, and_, cast, delete, false, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from controller.calc.decision import Decision
from db.rows import insert_on
from db.tables import Denial, Tenant

KEPT = 5000


class Seen(NamedTuple):
    """How many packets of it were seen, and when."""

    count: int
    first_at: datetime
    last_at: datetime


def record(session: Session, decisions: Mapping[Decision, Seen]) -> None:
    """Adds to those that are there already; the oldest beyond `KEPT` go."""
    if not decisions:
        return
    rows = [
        {"key": _key(made), **made._asdict(), "policies": list(made.policies), **seen._asdict()}
        for made, seen in decisions.items()
    ]
    statement = insert_on(session, Denial)
    news = {"count": Denial.count + statement.excluded.count, "last_at": statement.excluded.last_at}
    rows.sort(key=lambda row: str(row["key"]))
    session.execute(statement.on_conflict_do_update(index_elements=["key"], set_=news), rows)
    newest = select(Denial.last_at).order_by(Denial.last_at.desc()).offset(KEPT - 1).limit(1)
    session.execute(delete(Denial).where(Denial.last_at < newest.scalar_subquery()))


def find(
    session: Session,
    *,
    action: str = "deny",
    tenant: str | None = None,
    endpoint: str | None = None,
    policy: str | None = None,
    limit: int = 100,
    seen: Collection[str] | None = None,
) -> Sequence[Denial]:
    """Newest first. Of a tenant or endpoint at either end, and of a policy by its qualified name.

    `seen`: only those between endpoints of these tenants, or between one of theirs and what is no endpoint, since there
    are tenants of that name.
    """
    query = select(Denial).where(Denial.action == action)
    if seen is not None:
        since = session.execute(select(Tenant.name, Tenant.created_at).where(Tenant.name.in_(seen))).all()
        for end in (Denial.source, Denial.destination):
            query = query.where(or_(end == "", _in_one(end, since)))
        query = query.where(_at_an_end(lambda end: _in_one(end, since)))
    if tenant is not None:
        query = query.where(_at_an_end(lambda end: end.startswith(f"{tenant}/", autoescape=True)))
    if endpoint is not None:
        query = query.where(_at_an_end(lambda end: end == endpoint))
    if policy is not None:
        # A list of names in JSON, with their quotes, which no name has in it.
        query = query.where(cast(Denial.policies, String).contains(json.dumps(policy), autoescape=True))
    order = Denial.last_at.desc(), Denial.key
    return session.execute(query.order_by(*order).limit(limit)).scalars().all()


def _in_one(end: InstrumentedAttribute[str], since: Sequence[Any]) -> ColumnElement[bool]:
    theirs = (and_(end.startswith(f"{name}/", autoescape=True), Denial.last_at >= at) for name, at in since)
    return or_(false(), *theirs)


def _at_an_end(is_it: Callable[[InstrumentedAttribute[str]], ColumnElement[bool]]) -> ColumnElement[bool]:
    return or_(is_it(Denial.source), is_it(Denial.destination))


def _key(made: Decision) -> str:
    return blake2b(json.dumps(made).encode(), digest_size=16).hexdigest()
