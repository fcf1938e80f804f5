"""What every noun does with its rows: check the version a caller has seen, apply a change, name a few of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from db.errors import StaleVersion
from db.tables import Base

SHOWN_NAMES = 5


class Versioned(Protocol):
    # A property: SQLAlchemy's mapped attributes are read as plain integers.
    @property
    def version(self) -> int: ...


def check_version(row: Versioned, seen: int | None, what: str) -> None:
    """Refuses a change by someone who has seen another version; None is whoever does not mind."""
    if seen is not None and row.version != seen:
        raise StaleVersion(f"{what} is at version {row.version}, not {seen}", "read it again and retry", "version")


def assign(row: object, **values: Any) -> bool:
    """Gives the row those of `values` that differ; whether any did."""
    different = {name: value for name, value in values.items() if getattr(row, name) != value}
    for name, value in different.items():
        setattr(row, name, value)
    return bool(different)


def shortened(names: Sequence[str]) -> str:
    """`acme/web, acme/db and 7 more`."""
    more = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def insert_on(session: Session, table: type[Base]) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that may say `on_conflict_do_update`, which both databases spell alike and SQLAlchemy apart."""
    kind = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    return kind.insert(table.__table__)
