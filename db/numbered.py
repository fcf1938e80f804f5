"""The end of a transaction: its revision, its rows in the log of changes and its entries in the audit log.

All transactions take these in one order, revision first, and from then to their commit nobody else gets any: revisions
and entries are committed as they are numbered. So this part decides how many writes a second there can be. On
PostgreSQL, where each statement is a way there and back, a change of one object ends with one, and any other with two.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, insert, select, text, update

from db.tables import AuditHead, AuditRow, ChangeRow, Revision

REVISION_CHANNEL = "warren_revision"
"""PostgreSQL's, where new revisions are told."""

_revision, _head = Revision.__table__.c, AuditHead.__table__.c
CURRENT = select(_revision.number).where(_revision.id == 1)
_BUMP = update(Revision.__table__).where(_revision.id == 1).values(number=_revision.number + 1)  # type: ignore[arg-type]
_BUMPED = _BUMP.returning(_revision.number)
_BUMPED_AND_TOLD = _BUMP.returning(_revision.number, _revision.id, func.pg_notify(REVISION_CHANNEL, ""))
_GROW = update(AuditHead.__table__).where(_head.id == 1).values(number=_head.number + bindparam("more"))  # type: ignore[arg-type]
_GROWN = _GROW.returning(_head.number, _head.hash)
_taken = _BUMPED_AND_TOLD.cte("taken")
# The log's end waits for the revision that it is joined with, so both rows are locked in that order.
_BOTH = _GROW.where(_head.id == _taken.c.id).returning(_head.number, _head.hash, _taken.c.number.label("revision"))
_LOG = insert(ChangeRow.__table__)  # type: ignore[arg-type]
_ADD = insert(AuditRow.__table__)  # type: ignore[arg-type]
_END = update(AuditHead.__table__).where(_head.id == 1).values(hash=bindparam("newest"))  # type: ignore[arg-type]

_LOGGED = """
  INSERT INTO change (revision, noun, id, op, tenant_id, host_id)
  SELECT {revision}, one.* FROM unnest(CAST(:noun AS text[]), CAST(:id AS bigint[]), CAST(:op AS text[]),
    CAST(:tenant_id AS integer[]), CAST(:host_id AS integer[])) AS one"""
_ALL = text(f"""
WITH logged AS ({_LOGGED.format(revision="CAST(:revision AS bigint)")}
), noted AS (
  INSERT INTO audit (at, number, actor, noun, tenant, entry, hash)
  SELECT CAST(:at AS timestamptz), one.* FROM unnest(CAST(:entry_number AS bigint[]), CAST(:entry_actor AS text[]),
    CAST(:entry_noun AS text[]), CAST(:entry_tenant AS text[]), CAST(:entry_entry AS text[]),
    CAST(:entry_hash AS text[])) AS one
)
UPDATE audit_head SET hash = :newest WHERE id = 1 AND CAST(:newest AS text) IS NOT NULL
""")
# As `_BOTH` and `_ALL`; what is hashed is put together as `Entry.text` does it.
_ONE = text(f"""
WITH taken AS (
  UPDATE revision SET number = number + 1 WHERE id = 1 RETURNING id, number, pg_notify('{REVISION_CHANNEL}', '')
), last AS (
  SELECT audit_head.number, audit_head.hash, taken.number AS revision
  FROM audit_head JOIN taken ON taken.id = audit_head.id FOR UPDATE OF audit_head
), said AS (
  SELECT number + 1 AS number, revision, CAST(:before_number AS text) || (number + 1) || CAST(:before_hash AS text)
    || hash || CAST(:before_revision AS text) || revision || CAST(:rest AS text) AS entry
  FROM last
), hashed AS (
  SELECT *, encode(sha256(convert_to(entry, 'UTF8')), 'hex') AS hash FROM said
), logged AS ({_LOGGED.replace("{revision}, one.* FROM", "said.revision, one.* FROM said,")}
), noted AS (
  INSERT INTO audit (at, number, actor, noun, tenant, entry, hash)
  SELECT CAST(:at AS timestamptz), number, :entry_actor, :entry_noun, :entry_tenant, entry, hash FROM hashed
), ended AS (
  UPDATE audit_head SET number = hashed.number, hash = hashed.hash FROM hashed WHERE id = 1
)
SELECT revision FROM said
""")
_CHANGE = ("noun", "id", "op", "tenant_id", "host_id")
_ENTRY = ("number", "actor", "noun", "tenant", "entry", "hash")

Row = dict[str, Any]


class Entry(NamedTuple):
    """An entry of the audit log: its columns, and the text around its number, the previous hash and its revision."""

    actor: str
    noun: str
    tenant: str | None
    around: tuple[str, str, str, str]

    def text(self, number: int, previous: str, revision: int) -> str:
        before_number, before_hash, before_revision, rest = self.around
        return f"{before_number}{number}{before_hash}{previous}{before_revision}{revision}{rest}"


def end(connection: Connection, at: datetime, changes: Sequence[Row], entries: Sequence[Entry]) -> int:
    """The revision of a transaction that made these changes, or the newest there is if it made none. `changes` are rows
    of their table but for the revision."""
    on_postgresql = connection.dialect.name == "postgresql"
    if on_postgresql and changes and len(entries) == 1:
        return _end_at_once(connection, at, changes, entries[0])
    revision, last, previous = _take(connection, on_postgresql, bool(changes), len(entries))
    rows: list[Row] = []
    for number, one in enumerate(entries, last - len(entries) + 1):
        entry = one.text(number, previous, revision)
        previous = sha256(entry.encode()).hexdigest()
        filed = {"actor": one.actor, "noun": one.noun, "tenant": one.tenant}
        rows.append({"number": number, **filed, "entry": entry, "hash": previous})
    if on_postgresql and (changes or rows):
        values = {"revision": revision, "at": at, "newest": previous if rows else None}
        values |= {f"entry_{name}": [row[name] for row in rows] for name in _ENTRY}
        connection.execute(_ALL, values | _columns(changes))
        return revision
    if changes:
        connection.execute(_LOG, [{"revision": revision, **row} for row in changes])
    if rows:
        connection.execute(_ADD, [{"at": at, **row} for row in rows])
        connection.execute(_END, {"newest": previous})
    return revision


def _take(connection: Connection, on_postgresql: bool, bump: bool, entries: int) -> tuple[int, int, str]:
    """The revision; the number of the last entry of those that were taken, and the hash of the one before them."""
    if on_postgresql and bump and entries:
        last, hash, revision = connection.execute(_BOTH, {"more": entries}).one()
        return revision, last, hash
    query = CURRENT if not bump else _BUMPED_AND_TOLD if on_postgresql else _BUMPED
    revision = connection.execute(query).scalar_one()
    if not entries:
        return revision, 0, ""
    last, hash = connection.execute(_GROWN, {"more": entries}).one()
    return revision, last, hash


def _end_at_once(connection: Connection, at: datetime, changes: Sequence[Row], entry: Entry) -> int:
    names = ("before_number", "before_hash", "before_revision", "rest")
    values = {"at": at, "entry_actor": entry.actor, "entry_noun": entry.noun, "entry_tenant": entry.tenant}
    values |= dict(zip(names, entry.around, strict=True))
    revision: int = connection.execute(_ONE, values | _columns(changes)).scalar_one()
    return revision


def _columns(changes: Sequence[Row]) -> Row:
    return {name: [row[name] for row in changes] for name in _CHANGE}
