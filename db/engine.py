"""How a database is opened, and the ways to use it: reading (one consistent view), asking (one statement, which is one
by itself) and writing (one writer's turn).

SQLite: readers see the state of their first statement and never wait; writers take turns, in this process by a
lock (fair and immediate), between processes by SQLite's own (which polls). PostgreSQL: readers get a repeatable
read. Knows nothing of revisions.
"""

from __future__ import annotations

import select
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DisconnectionError, OperationalError
from sqlalchemy.orm import Session

from db.errors import Busy, Invalid

URL_FORMS = "sqlite:////path/warren.db or postgresql://user@host/name"

LOCK_SECONDS = 15.0
"""How long a writer waits for its turn before it gives up."""

MOST_WRITERS = 4
"""On PostgreSQL, of one process: more of them only queue for the revision's row, each with a session of the server, and
take turns at the interpreter meanwhile. Also, a writer may need a second connection to see what is not changed yet."""

_turns: weakref.WeakKeyDictionary[Engine, threading.Lock | threading.Semaphore] = weakref.WeakKeyDictionary()
"""The writers' turns of each engine: one at a time on SQLite."""


def create_engine(url: str | URL, *, foreign_keys: bool = True, echo: bool = False) -> Engine:
    """`sqlite:////var/lib/warren/warren.db` or `postgresql://user@host/warren`.

    `foreign_keys` off is for who copies tables on SQLite, where dropping the old one would take its children along.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "postgresql":
        plain = {"cursor_factory": _Cursor}
        made = sqlalchemy.create_engine(parsed, pool_size=16, max_overflow=32, connect_args=plain, echo=echo)
        event.listen(made, "checkout", _hung_up)
        _turns[made] = threading.Semaphore(MOST_WRITERS)
        return made
    engine = sqlalchemy.create_engine(
        parsed, pool_size=16, max_overflow=128, connect_args={"timeout": LOCK_SECONDS}, echo=echo
    )
    event.listen(engine, "connect", lambda connection, _record: _prepare_sqlite(connection, foreign_keys))
    event.listen(engine, "begin", _begin_sqlite)
    _turns[engine] = threading.Lock()
    return engine


def parse_url(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except sqlalchemy.exc.ArgumentError as error:
        raise Invalid(f"{url!r} is not a database URL", f"write {URL_FORMS}") from error
    if backend not in ("sqlite", "postgresql"):
        raise Invalid(f"database {backend!r} is not supported", f"use {URL_FORMS}")
    if backend == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise Invalid("an SQLite database in memory cannot be shared", "write sqlite:////path/warren.db")
    return parsed


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """One consistent view of the database. Never hold it while waiting for something."""
    view: dict[str, Any] = {}
    if engine.dialect.name == "postgresql":
        view = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with engine.connect().execution_options(**view) as connection:
        with Session(connection, autoflush=False, expire_on_commit=False) as session:
            yield session


@contextmanager
def asking(engine: Engine) -> Iterator[Connection]:
    """For one statement that reads. Without a transaction around it: on PostgreSQL one round trip instead of three."""
    alone = {"isolation_level": "AUTOCOMMIT"} if engine.dialect.name == "postgresql" else {"warren_alone": True}
    with engine.connect().execution_options(**alone) as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """A transaction that may write; committed at the end, rolled back by any exception. Does not bump the revision."""
    turn = _turns.get(engine)
    if turn is not None and not turn.acquire(timeout=LOCK_SECONDS):
        raise Busy(f"the database was busy for {LOCK_SECONDS:.0f} s", "try again")
    try:
        with engine.connect().execution_options(warren_writer=True) as connection:
            with Session(connection, expire_on_commit=False) as session, session.begin():
                yield session
    except OperationalError as error:
        if _lost_to_another(error):
            raise Busy("another change was in the way at the same moment", "try again") from error
        raise
    finally:
        if turn is not None:
            turn.release()


def _lost_to_another(error: OperationalError) -> bool:
    """A lock that was not had in time, or a deadlock that the database broke."""
    state = getattr(error.orig, "sqlstate", None)
    return state in ("40001", "40P01", "55P03") or str(error.orig) == "database is locked"


def _prepare_sqlite(connection: Any, foreign_keys: bool) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; see _begin_sqlite
    for pragma in (
        "journal_mode = WAL",
        "synchronous = NORMAL",
        f"foreign_keys = {int(foreign_keys)}",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(f"PRAGMA busy_timeout = {int(LOCK_SECONDS * 1000)}")


def _begin_sqlite(connection: Connection) -> None:
    # A deferred BEGIN that writes later fails with "database is locked" instead of waiting for its turn.
    options = connection.get_execution_options()
    if not options.get("warren_alone"):
        connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("warren_writer") else "BEGIN")


class _Cursor(psycopg.Cursor[Any]):
    """Tells of a column its name and type: whatever else psycopg looks up, for each column of each result, nobody asks.
    It is a tenth of what a statement costs here."""

    @property
    def description(self) -> Any:
        result = self.pgresult
        if result is None or result.status not in (psycopg.pq.ExecStatus.TUPLES_OK, psycopg.pq.ExecStatus.SINGLE_TUPLE):
            return None
        return [
            ((result.fname(n) or b"").decode(), result.ftype(n), None, None, None, None, None)
            for n in range(result.nfields)
        ]


def _hung_up(connection: psycopg.Connection[Any], _record: object, _proxy: object) -> None:
    """Whether the server ended a connection that lay idle: asked of the socket, not of the server.

    Who has not asked anything hears nothing but a farewell; else it is read and done with.
    """
    heard = select.poll()
    try:
        heard.register(connection.fileno(), select.POLLIN)
        while heard.poll(0):
            connection.pgconn.consume_input()
    except psycopg.OperationalError as error:
        raise DisconnectionError from error
