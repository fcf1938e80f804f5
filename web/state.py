"""What the views of one application share: the database and who waits for it.

Views get at them only through the functions here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple, cast

from flask import current_app, g
from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session

from db import changes, engine
from db.sight import narrow
from web.auth.access import sight
from web.auth.oidc import Provider
from web.auth.principal import Principal
from web.auth.told import Refusals, actor
from web.history import History
from web.live import Live
from web.modelled import Modelled
from web.pace import Stopwatch
from web.viewers import Viewers

KEY = "warren"


class State(NamedTuple):
    engine: Engine
    live: Live
    stopwatch: Stopwatch
    refusals: Refusals
    history: History
    provider: Provider | None
    modelled: Modelled
    viewers: Viewers


def state() -> State:
    return cast(State, current_app.extensions[KEY])


@contextmanager
def reading() -> Iterator[Session]:
    """One consistent view of the database, of what the asker sees of it. Never held while waiting."""
    with engine.reading(state().engine) as session:
        narrow(session, sight())
        yield session


def reading_all() -> AbstractContextManager[Session]:
    """The same of everything: for answers that follow from all of it and tell nothing of what is not the asker's."""
    return engine.reading(state().engine)


def asking() -> AbstractContextManager[Connection]:
    """For one statement that reads everything."""
    return engine.asking(state().engine)


def changing() -> AbstractContextManager[changes.Transaction]:
    """One change by whoever asks; its `revision` is known after the block. Rules look at everything."""
    asker: Principal | None = g.get("principal")
    return changes.transaction(state().engine, actor=actor(asker.kind, asker.name) if asker else None)


def recording() -> AbstractContextManager[changes.Transaction]:
    """The same for what is nobody's change: sessions, questions."""
    return changes.transaction(state().engine)


def noting() -> AbstractContextManager[Session]:
    """A write without a unit of work: reports."""
    return engine.writing(state().engine)
