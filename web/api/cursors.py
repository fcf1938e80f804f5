"""Cursors and ids that are numbers."""

from __future__ import annotations

from db.errors import Invalid

LARGEST_ID = 2**31 - 1
LARGEST_NUMBER = 2**53


def number(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 16 or int(cursor) > LARGEST_NUMBER:
        raise Invalid(f"cursor {cursor!r} is not one of this list", "pass `next` of the page before", "cursor")
    return int(cursor)
