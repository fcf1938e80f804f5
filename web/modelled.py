"""The world as the database has it, and hosts' flows in it: one for the whole process, that follows what changes
instead of being made anew.

The first to ask waits until everything is read; from then on a new revision costs what it changed. It decides where
the world and the flows come from, not what follows from them.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Engine as Database
from sqlalchemy.orm import Session

from controller.calc.engine import Engine
from controller.calc.known import Names, answered, owner_of, reason
from controller.model import Change
from controller.openflow.encode import encode
from controller.pipeline.flow import Flow
from controller.pipeline.program import Key, fragment
from controller.world import World
from db.changes import changes_since
from db.engine import reading
from db.snapshot import load, snapshot

MANY = 1000
MOST_PROGRAMS = 2
"""Of hosts, that are kept: that of a large host has tens of thousands of flows."""


class Placed(NamedTuple):
    """A flow; `place` is its cookie in hex, its table and its priority, as agents say them; `reason` why it drops."""

    place: str
    flow: Flow
    reason: str | None


Fragment = tuple[Placed, ...]


class Spoken(NamedTuple):
    """What somebody put into words: the texts of a fragment's flows, with whose they are and what names answered."""

    fragment: Fragment
    owner: str
    answers: Mapping[tuple[Any, ...], str | None]
    texts: tuple[str, ...]


class Program(NamedTuple):
    """Every flow of a host, by the objects that they follow from, and names for the numbers in them. `places` finds a
    flow; `spoken` is what somebody put into words of it."""

    world: World
    names: Names
    fragments: dict[Key, Fragment]
    flows: list[tuple[Key, Placed]]
    places: dict[str, int]
    spoken: dict[Key, Spoken]


class Modelled:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._known: World | None = None
        self._news: dict[tuple[str, int], Change] | None = None
        """What changed since the flows were made; None: everything may have."""
        self._making = threading.Lock()
        self._flows: Engine[Placed] = Engine(World(), place)
        self._programs: dict[int, Program] = {}

    def now(self) -> World:
        """Everything there is at the newest revision. Takes seconds for ten thousand endpoints, once."""
        with self._lock:
            return self._now()

    def _now(self) -> World:
        with reading(self._database) as session:
            self._known, changes = (whole(session), None) if self._known is None else step(self._known, session)
        if changes is None:
            self._news = None
        elif self._news is not None:
            self._news.update(((change.noun, change.id), change) for change in changes)
        return self._known

    def program(self, host: int) -> Program | None:
        """Of a host, at the newest revision; None when there is no such host. It is kept for the few that were looked
        at last, and follows what changes."""
        with self._making:
            try:
                return self._program(host)
            except BaseException:
                self._news = None  # what was begun is not whole
                raise

    def _program(self, host: int) -> Program | None:
        with self._lock:
            world, news, self._news = self._now(), self._news, {}
        if news is None:
            self._flows, self._programs = Engine(world, place), {}
        elif world is not self._flows.world:
            self._flows.advance(world, news.values())
        kept = self._programs.pop(host, None)
        if host not in world.hosts:
            self._flows.detach(host)
            return None
        if kept is None:
            for other in list(self._programs)[: 1 - MOST_PROGRAMS]:
                self._flows.detach(other)
                del self._programs[other]
            self._flows.attach(host)
        if kept is None or kept.world is not world:
            kept = program(world, host, self._flows, kept)
        self._programs[host] = kept
        return kept


def place(world: World, key: Key) -> Fragment:
    """A fragment, compiled for looking its flows up."""
    return tuple(map(placed, (item for item in fragment(world, key) if isinstance(item, Flow))))


def placed(flow: Flow) -> Placed:
    return Placed(f"{encode(flow).cookie:016x} {int(flow.table)} {flow.priority}", flow, reason(flow))


def program(world: World, host: int, known: Engine[Placed], before: Program | None) -> Program:
    names, fragments = Names(world, host), dict(known.program(host))
    flows = [(key, one) for key, its in fragments.items() for one in its]
    places = {one.place: at for at, (_, one) in enumerate(flows)}
    spoken = {} if before is None else dict(_as_before(before, world, names, fragments))
    return Program(world, names, fragments, flows, places, spoken)


def _as_before(
    before: Program, world: World, names: Names, fragments: dict[Key, Fragment]
) -> Iterator[tuple[Key, Spoken]]:
    """What would be put into the same words again: flows that are the same, of which names say the same."""
    known: dict[tuple[Any, ...], str | None] = {}

    def answers_so(question: tuple[Any, ...], answer: str | None) -> bool:
        if question not in known:
            known[question] = answered(names, question)
        return known[question] == answer

    for key, spoken in list(before.spoken.items()):
        same = fragments.get(key) is spoken.fragment and owner_of(world, key)[1] == spoken.owner
        if same and all(answers_so(*one) for one in spoken.answers.items()):
            yield key, spoken


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
    return step(world, session)[0]


def step(world: World, session: Session) -> tuple[World, list[Change] | None]:
    """The same with what changed; None: the log does not say, so that everything may have."""
    rows = changes_since(session, world.revision)
    if rows is None:
        return whole(session), None
    if not rows:
        return world, []
    changes = load(session, {(row.noun, row.id) for row in rows})
    return world.apply(rows[-1].revision, changes), changes
