"""The world as the database has it, made once for each revision that somebody asks about."""

from __future__ import annotations

import threading

from sqlalchemy import Engine

from controller.world import World
from db import snapshot
from db.changes import current_revision
from db.engine import reading


class Modelled:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._known: tuple[int, World] | None = None

    def now(self) -> tuple[int, World]:
        """The newest revision, and everything there is at it. Takes seconds for ten thousand endpoints, once."""
        with self._lock:
            with reading(self._engine) as session:
                if self._known is None or self._known[0] != current_revision(session):
                    revision, changes = snapshot.snapshot(session)
                    self._known = revision, World().apply(revision, changes)
            return self._known
