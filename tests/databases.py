"""Migrated databases for tests, and the fixtures that hand them out.

A folder of tests that needs them imports the fixtures in its conftest.py. A test that takes `engine` or
`database_url` runs on SQLite (a copied file) and on PostgreSQL (one database, emptied each time: that costs a
fifth of creating one).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, Table, insert, select, text

from db import migrate
from db.engine import create_engine, reading, writing
from db.tables import AddressPool, AuditHead, Base, Pool, Revision, Setting
from tests import postgres

SEEDED: tuple[Table, ...] = tuple(
    Base.metadata.tables[row.__tablename__] for row in (Revision, Pool, AddressPool, Setting, AuditHead)
)


class SqliteTemplate:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "template.db"
        engine = create_engine(f"sqlite:///{self.path}")
        migrate.upgrade(engine)
        engine.dispose()  # the last connection of a WAL database moves everything into its one file

    def fresh(self, folder: Path) -> str:
        path = folder / "warren.db"
        shutil.copy(self.path, path)
        return f"sqlite:///{path}"


class PostgresDatabase:
    def __init__(self, server: postgres.Postgres) -> None:
        self.server = server
        self.url = server.create("warren")
        engine = create_engine(self.url)
        migrate.upgrade(engine)
        with reading(engine) as session:
            self.seeds: list[tuple[Table, list[dict[str, Any]]]] = [
                (table, [dict(row) for row in session.execute(select(table)).mappings()]) for table in SEEDED
            ]
        engine.dispose()

    def other(self) -> str:
        """A second database of its own, without tables."""
        self.server.drop("other")
        return self.server.create("other")

    def fresh(self) -> str:
        engine = create_engine(self.url)
        tables = ", ".join(f'"{table.name}"' for table in Base.metadata.sorted_tables)
        with writing(engine) as session:
            session.execute(text("SET LOCAL session_replication_role = replica"))  # the audit log refuses to shrink
            session.execute(text("SET LOCAL lock_timeout = '60s'"))  # a test that left a transaction open fails here
            session.execute(text(f"TRUNCATE {tables} RESTART IDENTITY"))
            for table, rows in self.seeds:
                session.execute(insert(table), rows)
        engine.dispose()
        return self.url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Postgres]:
    with postgres.running() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_database(postgres_server: postgres.Postgres) -> PostgresDatabase:
    return PostgresDatabase(postgres_server)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> SqliteTemplate:
    return SqliteTemplate(tmp_path_factory.mktemp("template"))


@pytest.fixture
def sqlite_url(sqlite_template: SqliteTemplate, tmp_path: Path) -> str:
    """A migrated, empty SQLite database of this test's own."""
    return sqlite_template.fresh(tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated, empty database; the test runs once on each kind."""
    if request.param == "sqlite":
        url: str = request.getfixturevalue("sqlite_url")
        return url
    database: PostgresDatabase = request.getfixturevalue("postgres_database")
    return database.fresh()


@pytest.fixture
def postgresql_engine(postgres_database: PostgresDatabase) -> Iterator[Engine]:
    """For what only a server can do."""
    made = create_engine(postgres_database.fresh())
    yield made
    made.dispose()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = create_engine(database_url)
    yield made
    made.dispose()
