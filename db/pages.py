"""Lists in pages. A page's cursor is its order and the name of its last item, or its number where it has none, so that
rows that come and go move nothing, and none of another order is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Select, and_, or_, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.errors import Invalid

Row = TypeVar("Row")
_Text = ColumnElement[str] | InstrumentedAttribute[str] | InstrumentedAttribute[str | None]
MAX_LIMIT = 1000
SEPARATOR = "~"
"""Separates the order, the value and the name in a cursor."""


class Page(NamedTuple, Generic[Row]):
    items: list[Row]
    next: str | None


class Sort(NamedTuple):
    """Another order than the list's own, which only says what is first among equals. `value` is what a row has in
    `column`, `read` makes it of its text."""

    column: Any
    value: Callable[[Any], Any]
    read: Callable[[str], Any] = str


def number(text: str) -> int:
    """The number in a cursor. Raises ValueError for one that no database can hold."""
    value = int(text)
    if value.bit_length() > 63:
        raise ValueError(f"{value} is too large")
    return value


def moment(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return value.astimezone(UTC)


def created(row: Any) -> str:
    """When a row was created, as text that `moment` reads."""
    return str(row.created_at.isoformat())


def orders(sorts: Mapping[str, Sort], own: str = "name") -> list[str]:
    """All that `sort` may be."""
    names = [own, *sorts]
    return [*names, *(f"-{name}" for name in names)]


def page(
    session: Session,
    query: Select[Row],
    order: tuple[ColumnElement[Any] | InstrumentedAttribute[Any], ...],
    name: Callable[[Row], str],
    cursor: str | None,
    limit: int,
    sort: str | None = None,
    sorts: Mapping[str, Sort] | None = None,
    *,
    own: str = "name",
    read: Callable[[str], Any] = str,
) -> Page[Row]:
    """One page of `query` ordered by the columns that make up `name`, from after `cursor`. `sort` is one of `sorts`, or
    `own`, which is the order of these columns; with "-" before it the other way round. `read` makes a column's value of
    a part of a name."""
    if not 1 <= limit <= MAX_LIMIT:
        raise Invalid(f"limit {limit} is not possible", f"use 1 to {MAX_LIMIT}", "limit")
    key, down = (sort or own).removeprefix("-"), (sort or "").startswith("-")
    by = None if key == own else (sorts or {}).get(key)
    if by is None and key != own:
        remedy = f"use {', '.join([own, *(sorts or {})])}, with - before it the other way round"
        raise Invalid(f"{sort!r} is not an order of this list", remedy, "sort")
    if cursor is not None:
        ordered, _, after = cursor.partition(SEPARATOR)
        value, _, last = after.rpartition(SEPARATOR) if by is not None else ("", "", after)
        try:
            parts = [read(part) for part in last.split("/")]
            known = None if by is None else by.read(value)
        except (ValueError, OverflowError):
            parts = []
        if len(parts) != len(order) or ordered != (sort or own):
            remedy = "pass `next` of the page before, with the same `sort`"
            raise Invalid(f"cursor {cursor!r} is not one of this list in this order", remedy, "cursor")
        names = tuple_(*order) > tuple_(*parts)
        if by is None:
            query = query.where(tuple_(*order) < tuple_(*parts) if down else names)
        else:
            beyond = by.column < known if down else by.column > known
            query = query.where(or_(beyond, and_(by.column == known, names)))
    if by is None:
        query = query.order_by(*(column.desc() if down else column for column in order))
    else:
        query = query.order_by(by.column.desc() if down else by.column, *order)
    rows = list(session.execute(query.limit(limit + 1)).unique().scalars())
    if len(rows) <= limit:
        return Page(rows, None)
    end = rows[limit - 1]
    after = name(end) if by is None else f"{by.value(end)}{SEPARATOR}{name(end)}"
    return Page(rows[:limit], f"{sort or own}{SEPARATOR}{after}")


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
