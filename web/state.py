"""What the views of one application share: the database and who waits for it.

Views get at them only through the functions here.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import NamedTuple, cast

from flask import current_app
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from db import changes, engine
from web.auth.lockout import Lockout
from web.live import Live
from web.pace import Stopwatch

KEY = "warren"


class State(NamedTuple):
    engine: Engine
    live: Live
    stopwatch: Stopwatch
    lockout: Lockout


def state() -> State:
    return cast(State, current_app.extensions[KEY])


def reading() -> AbstractContextManager[Session]:
    """One consistent view of the database. Never held while waiting."""
    return engine.reading(state().engine)


def changing() -> AbstractContextManager[changes.Transaction]:
    """One change of the network; its `revision` is known after the block."""
    return changes.transaction(state().engine)


def recording() -> AbstractContextManager[changes.Transaction]:
    """The same for what is no change of the network and takes no revision: sessions, tokens."""
    return changes.transaction(state().engine)


def noting() -> AbstractContextManager[Session]:
    """A write without a unit of work: reports."""
    return engine.writing(state().engine)
