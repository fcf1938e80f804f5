"""The whole database as lines of JSON, and back: the same file for SQLite and PostgreSQL, also from one to the other.

A backup is read in one view, a restore happens in one transaction or not at all. Rows are taken as the tables are,
not as this version would like them: an old backup is restored into the tables of its time, then upgraded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from sqlalchemy import Connection, DateTime, Engine, MetaData, Table, delete, func, insert, inspect, select, text

from db import migrate
from db.engine import reading
from db.errors import Conflict, Invalid

FORMAT = 1
_BATCH = 500


class Header(NamedTuple):
    """The first line: what the rest is."""

    warren_backup: int
    schema: str
    revision: int
    created_at: str


def backup(engine: Engine, file: TextIO) -> int:
    """Writes everything there is at one revision; how many rows that were."""
    with reading(engine) as session:
        connection = session.connection()
        schema = migrate.current(connection)
        if schema is None:
            raise Conflict("the database is empty", "run `warren db upgrade` to make one")
        revision = session.execute(text("SELECT number FROM revision")).scalar_one()
        header = Header(FORMAT, schema, revision, datetime.now(UTC).isoformat())
        _write(file, header._asdict())
        count = 0
        for table in _tables(connection):
            for row in connection.execute(select(table)).mappings():
                _write(file, {"table": table.name, "row": {name: _plain(value) for name, value in row.items()}})
                count += 1
            if last := _last_id(connection, table):
                _write(file, {"table": table.name, "last_id": last})
        _write(file, {"rows": count})
        return count


def restore(engine: Engine, path: Path, *, force: bool = False) -> int:
    """Fills an empty database from a backup; `force` empties it first. Returns how many rows there are now.

    Whoever follows a database that was replaced takes a snapshot: its revision is higher than both had, and the
    log is empty.
    """
    header = _verified(path)
    with migrate.changing(engine) as connection:
        before = _revision_of_used(connection)
        if before is not None and not force:
            raise Conflict(
                f"the database at {engine.url.render_as_string()} is not empty", "use --force to replace all of it"
            )
        migrate.rebuild(connection, header.schema)
        tables = {table.name: table for table in _tables(connection)}
        for table in reversed(tables.values()):
            connection.execute(delete(table))
        count = _load(connection, tables, path)
        if before is not None:
            connection.execute(text("DELETE FROM change"))
            number = max(before, header.revision) + 1
            connection.execute(text("UPDATE revision SET number = :number"), {"number": number})
        migrate.to_head(connection)
    return count


def _load(connection: Connection, tables: dict[str, Table], path: Path) -> int:
    count = 0
    waiting: list[dict[str, Any]] = []
    of: Table | None = None

    def flush() -> None:
        if of is not None and waiting:
            connection.execute(insert(of), waiting)
            waiting.clear()

    for line in _lines(path):
        table = tables.get(line.get("table", ""))
        if table is not of or len(waiting) >= _BATCH:
            flush()
        of = table
        if table is None:
            continue
        if "row" in line:
            waiting.append(_typed(table, line["row"]))
            count += 1
        else:
            flush()
            _set_last_id(connection, table, line["last_id"])
    flush()
    return count


def _verified(path: Path) -> Header:
    """The header of a backup that is whole."""
    lines = _lines(path)
    first = next(lines, {})
    if first.get("warren_backup") != FORMAT:
        raise Invalid(f"{path} is not a backup of Warren", "make one with `warren db backup`")
    rows, end = 0, None
    for line in lines:
        rows += "row" in line
        end = line.get("rows")
    if end != rows:
        raise Invalid(f"{path} is cut off: it has {rows} rows of {end or 'many more'}", "use another backup")
    return Header(**first)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)
    except ValueError:
        raise Invalid(f"{path} is not a backup of Warren, or is damaged", "use another") from None


def _write(file: TextIO, line: dict[str, Any]) -> None:
    file.write(json.dumps(line, separators=(",", ":")) + "\n")


def _tables(connection: Connection) -> list[Table]:
    """The tables of this database, in an order in which rows may be inserted."""
    found = MetaData()
    found.reflect(connection)
    return [table for table in found.sorted_tables if table.name != "alembic_version"]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    return value


def _typed(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    unknown = set(row) - set(table.columns.keys())
    if unknown:
        raise Invalid(f"the backup's table {table.name} has unknown columns {sorted(unknown)}", "use another backup")
    return {
        name: datetime.fromisoformat(value)
        if value is not None and isinstance(table.columns[name].type, DateTime)
        else value
        for name, value in row.items()
    }


def _counted(table: Table) -> bool:
    key = table.primary_key.columns
    return len(key) == 1 and "id" in key and table.columns["id"].autoincrement is not False


def _last_id(connection: Connection, table: Table) -> int | None:
    """The highest id the table ever gave out, which may be that of a row long gone: no id is given twice."""
    if not _counted(table):
        return None
    highest: int = connection.execute(select(func.coalesce(func.max(table.c.id), 0))).scalar_one()
    if connection.dialect.name == "sqlite":
        known = connection.execute(text("SELECT seq FROM sqlite_sequence WHERE name = :name"), {"name": table.name})
        return max(highest, known.scalar() or 0)
    sequence = _sequence(connection, table)
    if sequence is None:
        return highest
    last, called = connection.execute(text(f"SELECT last_value, is_called FROM {sequence}")).one()
    return max(highest, last if called else 0)


def _set_last_id(connection: Connection, table: Table, last: int) -> None:
    if connection.dialect.name == "sqlite":
        known = {"name": table.name, "last": last}
        connection.execute(text("UPDATE sqlite_sequence SET seq = max(seq, :last) WHERE name = :name"), known)
        return
    sequence = _sequence(connection, table)
    if sequence is not None:
        known_last = connection.execute(text(f"SELECT last_value FROM {sequence}")).scalar_one()
        connection.execute(text("SELECT setval(:name, :last)"), {"name": sequence, "last": max(last, known_last)})


def _sequence(connection: Connection, table: Table) -> str | None:
    name = connection.dialect.identifier_preparer.quote(table.name)
    found: str | None = connection.execute(text("SELECT pg_get_serial_sequence(:name, 'id')"), {"name": name}).scalar()
    return found


def _revision_of_used(connection: Connection) -> int | None:
    """The revision of a database that somebody uses; None when nothing would be lost."""
    if not inspect(connection).has_table("revision"):
        return None
    number: int = connection.execute(text("SELECT number FROM revision")).scalar() or 0
    people = connection.execute(text('SELECT count(*) FROM "user"')).scalar()
    return number if number or people else None
