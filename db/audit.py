"""The audit log: who changed which object from what to what. Each entry holds the hash of the one before it.

An entry is written in the transaction of its change: either both are there or neither. Triggers of the database refuse
to change or remove an entry. Whoever may drop these can also write the whole chain anew; keep the head's hash elsewhere
to notice that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, and_, or_, select
from sqlalchemy.orm import Session

from db.images import NOUNS, Images, Json, Touched, canonical
from db.numbered import Entry
from db.pages import MAX_LIMIT, Page
from db.tables import AuditHead, AuditRow, Tenant

NO_HASH = "0" * 64
_BATCH = 1000


class Actor(NamedTuple):
    """Who asks: `kind` is user, token, local or, who did not show who it is, anonymous; `address` is where from,
    `request` what was sent."""

    kind: str
    name: str
    address: str = ""
    request: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Told(NamedTuple):
    """What happened to no object: somebody logged in or out, or was turned away."""

    actor: Actor
    noun: str
    op: str
    name: str
    after: Json


def changed(actor: Actor, now: datetime, found: Sequence[tuple[Touched, Images]]) -> list[Entry]:
    entries = []
    for one, (before, after) in found:
        whole = after or before or {}
        if before is not None and after is not None:
            different = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
            before, after = ({key: image.get(key) for key in different} for image in (before, after))
            if one.noun == "user" and not different:
                after = {"password": "changed"}
        said = {"name": whole.get("name") or str(one.id), "tenant": whole.get("tenant")}
        entries.append(_entry(actor, now, {"noun": one.noun, "op": one.op, **said, "before": before, "after": after}))
    return entries


def told(one: Told, now: datetime) -> Entry:
    what = {"noun": one.noun, "op": one.op, "name": one.name, "tenant": None, "before": None, "after": one.after}
    return _entry(one.actor, now, what)


def _entry(actor: Actor, now: datetime, what: Json) -> Entry:
    """An entry with its keys in the order in which `canonical` writes them."""
    who = {"actor": {"kind": actor.kind, "name": actor.name}, "address": actor.address, "request": actor.request}
    said = {"at": now.isoformat(), **who, **what}

    def between(first: str, last: str) -> str:
        return canonical({key: value for key, value in said.items() if first < key < last})[1:-1]

    around = (
        f'{{{between("", "number")},"number":',
        f',{between("number", "previous")},"previous":"',
        f'",{between("previous", "revision")},"revision":',
        f",{between('revision', '~')}}}",
    )
    return Entry(str(actor), what["noun"], what["tenant"], around)


def find(
    session: Session,
    *,
    tenants: Iterable[int] | None = None,
    tenant: str | None = None,
    actor: str | None = None,
    noun: str | None = None,
    name: str | None = None,
    changes_only: bool = False,
    since: datetime | None = None,
    until: datetime | None = None,
    oldest_first: bool = False,
    cursor: int | None = None,
    limit: int = 100,
) -> Page[AuditRow]:
    """`tenants`: only what happened in these, since there are tenants of that name. `actor` is `user ada`. `name`, with
    a `noun`, is one object's; say its tenant, too, which is looked for in an index. `changes_only`: no log-ins."""
    wanted: list[ColumnElement[bool]] = []
    if tenants is not None:
        rows = session.execute(select(Tenant.name, Tenant.created_at).where(Tenant.id.in_(tuple(tenants))))
        own = [and_(AuditRow.tenant == name, AuditRow.at >= created) for name, created in rows]
        wanted.append(or_(*own) if own else AuditRow.number < 0)
    for asked, column in ((tenant, AuditRow.tenant), (actor, AuditRow.actor), (noun, AuditRow.noun)):
        if asked is not None:
            wanted.append(column == asked)
    if changes_only:
        wanted.append(AuditRow.noun.in_(NOUNS))
    if name is not None:
        wanted.append(AuditRow.entry.contains(f'"name":{json.dumps(name)},"noun":{json.dumps(noun)}', autoescape=True))
    wanted += [AuditRow.at >= since] if since is not None else []
    wanted += [AuditRow.at < until] if until is not None else []
    if cursor is not None:
        wanted.append(AuditRow.number > cursor if oldest_first else AuditRow.number < cursor)
    order = AuditRow.number if oldest_first else AuditRow.number.desc()
    limit = min(limit, MAX_LIMIT)
    rows = list(session.execute(select(AuditRow).where(*wanted).order_by(order).limit(limit + 1)).scalars())
    return Page(rows[:limit], str(rows[limit - 1].number) if len(rows) > limit else None)


class Verified(NamedTuple):
    """`problem` says which entry is not what was written, and is None when all are that were looked at; `hash` is that
    of the last good one. `more`: entries come after it that were not looked at."""

    entries: int
    hash: str
    problem: str | None
    more: bool = False


BEGINNING = Verified(0, NO_HASH, None, True)


def verify(session: Session, known: Verified = BEGINNING, most: int | None = None) -> Verified:
    """Looks at every entry: nothing is changed, removed, put in or put elsewhere. Begins after what is `known`, and
    ends after `most` entries: whoever takes what comes of it for known again has looked at all of them in the end."""
    head = session.execute(select(AuditHead.number, AuditHead.hash).where(AuditHead.id == 1)).one_or_none()
    number, previous = known.entries, known.hash
    for row in _all(session, number, most):
        problem = _wrong(row, number + 1, previous)
        if problem is not None:
            return Verified(number, previous, problem)
        number, previous = row.number, row.hash
    if head is None:
        return Verified(number, previous, "what was written last is noted nowhere any more")
    if most is not None and number - known.entries == most and number < head.number:
        return Verified(number, previous, None, True)
    if (number, previous) != (head.number, head.hash):
        return Verified(number, previous, f"the log ends with entry {number}, and {head.number} were written")
    return Verified(number, previous, None)


def _wrong(row: Row[Any], number: int, previous: str) -> str | None:
    if row.number != number:
        return f"entry {number} is missing"
    if sha256(row.entry.encode()).hexdigest() != row.hash:
        return f"entry {number} was changed"
    try:
        entry = json.loads(row.entry)
        actor = f"{entry['actor']['kind']} {entry['actor']['name']}"
        said = (entry["at"], actor, entry["noun"], entry["tenant"])
        before = entry["number"], entry["previous"]
    except (ValueError, LookupError, TypeError):
        return f"entry {number} was changed to what is none"
    if before[0] != number:
        return f"entry {number} was changed"
    if before[1] != previous:
        return f"entry {number} does not follow entry {number - 1}: one of them was put there"
    if said != (row.at.isoformat(), row.actor, row.noun, row.tenant):
        return f"entry {number} is filed under what it does not say"
    return None


def _all(session: Session, last: int, most: int | None) -> Iterator[Row[Any]]:
    """The rows after `last`, in batches. Plain columns: making objects of thousands would be most of the work."""
    left = most
    while left is None or left > 0:
        batch = _BATCH if left is None else min(left, _BATCH)
        query = select(*AuditRow.__table__.c).where(AuditRow.number > last).order_by(AuditRow.number).limit(batch)
        rows = session.execute(query).all()
        yield from rows
        if len(rows) < batch:
            return
        last = rows[-1].number
        left = None if left is None else left - len(rows)
