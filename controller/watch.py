"""From the database to the loop: waits for a wake-up, reads what changed, and posts the next world.

A wake-up is only a hint; what counts is the change log. Where the log no longer reaches back (it is pruned, or a backup
was restored) the difference with a snapshot is posted instead. Knows no flows and no switches.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from controller.model import Change, Value
from controller.world import World
from db import changes as log_of_changes
from db import snapshot
from db.engine import reading
from db.feed import Feed

log = logging.getLogger("warren.controller")

WAIT_SECONDS = 1.0


def first_world(engine: Engine) -> World:
    with reading(engine) as session:
        revision, objects = snapshot.snapshot(session)
    return World().apply(revision, objects)


class Watcher(threading.Thread):
    def __init__(self, engine: Engine, world: World, post: Callable[[World, list[Change]], None]) -> None:
        super().__init__(name="watcher", daemon=True)
        self._engine = engine
        self._feed = Feed(engine)
        self._world = world
        self._post = post
        self._stopping = threading.Event()

    def stop(self) -> None:
        self._stopping.set()
        self._feed.close()

    def run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._feed.wait(WAIT_SECONDS)
                self.look()
            except SQLAlchemyError as error:
                if not self._stopping.is_set():
                    log.error("the database cannot be read (%s); trying again", error)
                    self._stopping.wait(WAIT_SECONDS)

    def look(self) -> None:
        """Posts the world as it is now, if it is newer than the last one posted."""
        with reading(self._engine) as session:
            rows = log_of_changes.changes_since(session, self._world.revision)
            if rows == []:
                return
            if rows is None:
                revision, objects = snapshot.snapshot(session)
                changes = difference(self._world, objects)
            else:
                revision = rows[-1].revision  # the newest: none is without a row
                changes = snapshot.load(session, {(row.noun, row.id) for row in rows})
        self._world = self._world.apply(revision, changes)
        self._post(self._world, changes)


def difference(world: World, objects: Iterable[Change]) -> list[Change]:
    """What makes `world` equal to a snapshot: what is new or reads differently, and what is gone."""
    objects = list(objects)
    there = {(change.noun, change.id) for change in objects}
    tables: dict[str, Mapping[int, Value]] = {
        "cluster": world.clusters,
        "tenant": world.tenants,
        "peering": world.peerings,
        "network": world.networks,
        "host": world.hosts,
        "endpoint": world.endpoints,
        "policy": world.policies,
        "name": world.names,
    }
    gone = [Change(noun, id, None) for noun, table in tables.items() for id in table if (noun, id) not in there]
    return gone + [change for change in objects if tables[change.noun].get(change.id) != change.value]
