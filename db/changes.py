"""The unit of work: a transaction that gathers what it changed and, last of all, takes the next revision for it.

A rehearsal is one that is undone at its end: what it would have changed can be read inside it.

The revision's row is locked from its bump to the commit, so revisions are committed in their order and a
reader that has seen revision n has seen everything up to n. Bumping it last keeps that lock short. Does not
know what the nouns mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Literal, NamedTuple

from sqlalchemy import Connection, Engine, bindparam, delete, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from db import audit
from db.audit import Actor, Told
from db.engine import writing
from db.errors import Conflict, DomainError, StaleVersion
from db.images import Touched, before_and_after
from db.numbered import CURRENT, end
from db.tables import ChangeRow, Revision, utcnow

Operation = Literal["create", "update", "delete"]

PROGRESS_CHANNEL = "warren_progress"
"""PostgreSQL's, where a new state of a host or an endpoint is told, which bumps no revision."""

KEPT_REVISIONS = 50_000
_PRUNE_EVERY = 256

_change = ChangeRow.__table__
_OLDEST = select(func.min(ChangeRow.revision)).scalar_subquery()
_REACH = select(CURRENT.scalar_subquery(), _OLDEST)
_SINCE = (
    select(Revision.number, _OLDEST, *_change.c)
    .outerjoin(_change, _change.c.revision > bindparam("after"))
    .where(Revision.id == 1)
    .order_by(_change.c.revision, _change.c.noun, _change.c.id)
)
"""The changes, each with how far the log reaches; without any one row that tells that."""


class Recorded(NamedTuple):
    op: Operation
    tenant_id: int | None
    host_id: int | None


class Change(NamedTuple):
    """A row of the log."""

    revision: int
    noun: str
    id: int
    op: Operation
    tenant_id: int | None
    host_id: int | None


class Transaction:
    """`revision` is the number this transaction took, or the newest one there was when it changed nothing.

    What it changes is in the audit log as `actor`'s; without one it is Warren's own doing, and is not.
    """

    def __init__(self, session: Session, now: datetime, actor: Actor | None = None) -> None:
        self.session = session
        self.now = now
        self.actor = actor
        self.revision = 0
        self._recorded: dict[tuple[str, int], Recorded] = {}
        self._noted: dict[tuple[str, int], Operation] = {}
        self._told: list[Told] = []
        self._before_commit: list[Callable[[int], None]] = []

    def record(
        self, noun: str, id: int, op: Operation, *, tenant_id: int | None = None, host_id: int | None = None
    ) -> None:
        before = self._recorded.get((noun, id))
        if before is not None and before.op == "create" and op == "update":
            op = "create"
        self._recorded[noun, id] = Recorded(op, tenant_id, host_id)

    def note(self, noun: str, id: int, op: Operation) -> None:
        """A change of what is no network: it is in the audit log and takes no revision."""
        before = self._noted.get((noun, id))
        self._noted[noun, id] = "create" if before == "create" and op == "update" else op

    def tell(self, told: Told) -> None:
        """What is in the audit log though it changes no object."""
        self._told.append(told)

    @property
    def recorded(self) -> set[tuple[str, int]]:
        """The noun and id of each object that was changed so far."""
        return set(self._recorded)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """A part that is undone when it is refused, as if it had not been tried; what was done before stays."""
        kept = dict(self._recorded), dict(self._noted), list(self._told), list(self._before_commit)
        try:
            with self.session.begin_nested():
                yield
                self.session.flush()
        except DomainError:
            self._recorded, self._noted, self._told, self._before_commit = kept
            raise

    def before_commit(self, call: Callable[[int], None]) -> None:
        """`call(revision)` inside the transaction once its revision is known."""
        self._before_commit.append(call)

    def finish(self) -> None:
        """Writes what is outstanding, then takes the revision."""
        self.session.flush()
        touched = {key: recorded.op for key, recorded in self._recorded.items()} | self._noted
        seen = before_and_after(self.session, (Touched(*key, op) for key, op in touched.items())) if self.actor else []
        entries = audit.changed(self.actor, self.now, seen) if self.actor else []
        entries += [audit.told(one, self.now) for one in self._told]
        connection = self.session.connection()
        rows = [{"noun": noun, "id": id, **recorded._asdict()} for (noun, id), recorded in self._recorded.items()]
        self.revision = end(connection, self.now, rows, entries)
        if rows and self.revision % _PRUNE_EVERY == 0:
            connection.execute(delete(ChangeRow).where(ChangeRow.revision <= self.revision - KEPT_REVISIONS))
        for call in self._before_commit:
            call(self.revision)


class _Undone(Exception):  # noqa: N818 - nothing went wrong
    pass


@contextmanager
def transaction(engine: Engine, now: datetime | None = None, actor: Actor | None = None) -> Iterator[Transaction]:
    """One change of the network: everything in it happens, or nothing."""
    with _refusing(), writing(engine) as session:
        tx = Transaction(session, now or utcnow(), actor)
        yield tx
        tx.finish()


@contextmanager
def rehearsal(engine: Engine) -> Iterator[Transaction]:
    """A change that does not happen, in one consistent view of the database.

    Refused as the change itself would be, or as busy when somebody changes the same meanwhile: then try again.
    """
    with suppress(_Undone), _refusing(), writing(engine) as session:
        if session.get_bind().dialect.name == "postgresql":
            session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        tx = Transaction(session, utcnow())
        yield tx
        session.flush()
        raise _Undone


@contextmanager
def _refusing() -> Iterator[None]:
    """Turns errors that only another writer's commit meanwhile can cause into refusals."""
    try:
        yield
    except IntegrityError as error:
        # The rules look before they write; only another writer's commit in between ends here.
        raise Conflict("another change took the same name or number at the same moment", "try again") from error
    except StaleDataError as error:
        raise StaleVersion("it was changed by someone else at the same moment", "read it again and retry") from error


def current_revision(session: Session) -> int:
    return session.execute(CURRENT).scalar_one()


def reach(session: Session) -> tuple[int, int | None]:
    """The newest revision, and the oldest that the log has."""
    current, oldest = session.execute(_REACH).one()
    return current, oldest


def says(current: int, oldest: int | None, revision: int) -> bool:
    """Whether a log that reaches so far has all that came after `revision`. Not, when it was pruned, and when the
    database is older than the caller (a backup was restored)."""
    return revision == current or (revision < current and oldest is not None and oldest <= revision + 1)


def changes_since(session: Session | Connection, revision: int) -> list[Change] | None:
    """What changed after `revision`, in order; None when the log does not say, so that only a snapshot helps."""
    rows = session.execute(_SINCE, {"after": revision}).all()
    current, oldest = rows[0][:2]
    if not says(current, oldest, revision):
        return None
    return [] if revision == current else [Change(*row[2:]) for row in rows]


def notify(session: Session, channel: str) -> None:
    """Wakes who waits on PostgreSQL, at commit. On SQLite the commit itself is seen."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": channel})
