"""Every test here that takes `engine` runs on both databases."""

from tests.databases import (
    database_url,
    engine,
    postgres_database,
    postgres_server,
    postgresql_engine,
    sqlite_template,
    sqlite_url,
)

__all__ = [
    "database_url",
    "engine",
    "postgres_database",
    "postgres_server",
    "postgresql_engine",
    "sqlite_template",
    "sqlite_url",
]
