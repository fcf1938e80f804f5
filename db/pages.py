"""Lists in pages. A page's cursor is the name of its last item, so that rows that come and go move nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Select, or_, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.errors import Invalid

Row = TypeVar("Row")
_Text = ColumnElement[str] | InstrumentedAttribute[str] | InstrumentedAttribute[str | None]
MAX_LIMIT = 1000


class Page(NamedTuple, Generic[Row]):
    items: list[Row]
    next: str | None


def page(
    session: Session,
    query: Select[Row],
    order: tuple[ColumnElement[str] | InstrumentedAttribute[str], ...],
    name: Callable[[Row], str],
    cursor: str | None,
    limit: int,
) -> Page[Row]:
    """One page of `query` ordered by the columns that make up `name`, from after `cursor`."""
    if not 1 <= limit <= MAX_LIMIT:
        raise Invalid(f"limit {limit} is not possible", f"use 1 to {MAX_LIMIT}", "limit")
    if cursor is not None:
        parts = cursor.split("/")
        if len(parts) != len(order):
            raise Invalid(f"cursor {cursor!r} is not one of this list", "pass `next` of the page before", "cursor")
        query = query.where(tuple_(*order) > tuple_(*parts))
    rows = list(session.execute(query.order_by(*order).limit(limit + 1)).unique().scalars())
    more = len(rows) > limit
    return Page(rows[:limit], name(rows[limit - 1]) if more else None)


def containing(text: str | None, *columns: _Text) -> list[ColumnElement[bool]]:
    """The condition that `text` is somewhere in one of the columns; none for no text."""
    if not text:
        return []
    return [or_(*(column.icontains(text, autoescape=True) for column in columns))]


def having_labels(
    column: InstrumentedAttribute[dict[str, str]], labels: Mapping[str, str] | None
) -> list[ColumnElement[bool]]:
    """The conditions that all of `labels` are there."""
    return [column[key].as_string() == value for key, value in (labels or {}).items()]
