"""Wakes whoever follows the database. A wake-up is a hint; what changed is read from the log.

SQLite: `PRAGMA data_version` tells in microseconds that someone committed. PostgreSQL: LISTEN. Wait in one thread,
and read `changes_since` after every wake-up.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from types import TracebackType
from typing import Protocol

import psycopg
from sqlalchemy import Engine

from db.changes import PROGRESS_CHANNEL, changes_since, current_revision
from db.numbered import REVISION_CHANNEL

POLL_SECONDS = 0.002
QUICK_POLL_SECONDS = 0.0003
LIVELY_SECONDS = 0.05
"""How long after a commit the next one is expected: a change is followed by its progress."""
RECONNECT_SECONDS = 0.5

__all__ = ["Feed", "changes_since", "current_revision"]


class Feed:
    """`progress`: wake up for hosts' and endpoints' states, too, and not for new revisions only.

    SQLite cannot tell them apart: there every commit wakes.
    """

    def __init__(self, engine: Engine, *, progress: bool = False) -> None:
        if engine.dialect.name == "postgresql":
            self._source: _Source = _Listener(engine, progress)
        else:
            self._source = _DataVersion(engine)

    def wait(self, timeout: float) -> bool:
        """True as soon as something may have changed since the last call; False when `timeout` seconds are over."""
        return self._source.wait(timeout)

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> Feed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Source(Protocol):
    def wait(self, timeout: float) -> bool: ...
    def close(self) -> None: ...


class _DataVersion:
    def __init__(self, engine: Engine) -> None:
        assert engine.url.database is not None
        # Its own connection: commits of the same connection do not count.
        self._connection = sqlite3.connect(engine.url.database, isolation_level=None, check_same_thread=False)
        self._using = threading.Lock()
        self._closed = False
        self._seen = self._version()
        self._lively_until = 0.0

    def wait(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while (version := self._version()) is not None:
            now = time.monotonic()
            if version != self._seen:
                self._seen, self._lively_until = version, now + LIVELY_SECONDS
                return True
            if now >= deadline:
                return False
            time.sleep(min(QUICK_POLL_SECONDS if now < self._lively_until else POLL_SECONDS, deadline - now))
        return False

    def close(self) -> None:
        with self._using:
            self._closed = True
            self._connection.close()

    def _version(self) -> int | None:
        """None once it is closed, perhaps by another thread."""
        with self._using:
            return None if self._closed else int(self._connection.execute("PRAGMA data_version").fetchone()[0])


class _Listener:
    def __init__(self, engine: Engine, progress: bool) -> None:
        url = engine.url.set(drivername="postgresql")
        self._conninfo = url.render_as_string(hide_password=False)
        self._channels = (REVISION_CHANNEL, PROGRESS_CHANNEL) if progress else (REVISION_CHANNEL,)
        self._closed = False
        self._connection: psycopg.Connection[tuple[str, ...]] | None = self._connect()

    def wait(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while self._connection is None and not self._closed:
            # What was notified meanwhile is lost, so a new connection is itself a wake-up.
            try:
                self._connection = self._connect()
                return True
            except psycopg.OperationalError:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                time.sleep(min(RECONNECT_SECONDS, left))
        if self._connection is None or self._closed:
            return False
        try:
            woken = bool(list(self._connection.notifies(timeout=timeout, stop_after=1)))
            # One wake-up for all that arrived by now.
            return bool(list(self._connection.notifies(timeout=0))) or woken
        except psycopg.OperationalError:
            self._connection.close()
            self._connection = None
            return self.wait(max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        self._closed = True
        if self._connection is not None:
            self._connection.close()

    def _connect(self) -> psycopg.Connection[tuple[str, ...]]:
        connection = psycopg.connect(self._conninfo, autocommit=True)
        for channel in self._channels:
            connection.execute(f"LISTEN {channel}")
        return connection
