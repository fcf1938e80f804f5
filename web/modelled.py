"""The world as the database has it: one for the whole process, that follows what changes instead of being made anew.

The first to ask waits until everything is read; from then on a new revision costs what it changed. It decides where
the world comes from, not what follows from it.
"""

from __future__ import annotations

import gc
import threading
from typing import NamedTuple

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from controller.calc.known import Names, Owned, owned
from controller.openflow.encode import encode
from controller.world import World
from db.changes import changes_since
from db.engine import reading
from db.snapshot import load, snapshot

MANY = 1000
MOST_PROGRAMS = 2
"""Of hosts, that are kept: that of a large host has tens of thousands of flows."""


class Program(NamedTuple):
    """Every flow of a host with its cookie in hex, and names for the numbers in them. `texts` are those that somebody
    put into words, by their place in `flows`."""

    names: Names
    flows: list[tuple[str, Owned]]
    texts: dict[int, str]


class Modelled:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._known: World | None = None
        self._making = threading.Lock()
        self._programs: tuple[World, dict[int, Program]] = World(), {}

    def now(self) -> World:
        """Everything there is at the newest revision. Takes seconds for ten thousand endpoints, once."""
        with self._lock:
            with reading(self._engine) as session:
                self._known = whole(session) if self._known is None else caught_up(self._known, session)
            return self._known

    def program(self, world: World, host: int) -> Program:
        """Of a host; kept for the few that were looked at last, until something changes."""
        with self._making:
            if self._programs[0] is not world or (
                host not in self._programs[1] and len(self._programs[1]) >= MOST_PROGRAMS
            ):
                self._programs = world, {}
            kept = self._programs[1]
            if host not in kept:
                flows = [(f"{encode(one.flow).cookie:016x}", one) for one in owned(world, host)]
                kept[host] = Program(Names(world, host), flows, {})
            return kept[host]


def whole(session: Session) -> World:
    revision, objects = snapshot(session)
    world = World().apply(revision, objects)
    if len(world.endpoints) >= MANY:
        # It stays, in hundreds of thousands of objects without a cycle: the search for cycles among them, which any
        # request may have to do, takes a second.
        gc.collect()
        gc.freeze()
    return world


def caught_up(world: World, session: Session) -> World:
    """The world as the session sees it, from an older one."""
    rows = changes_since(session, world.revision)
    if rows is None:
        return whole(session)
    if not rows:
        return world
    return world.apply(rows[-1].revision, load(session, {(row.noun, row.id) for row in rows}))
