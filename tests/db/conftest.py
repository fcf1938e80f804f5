"""Every test here runs on both databases."""

from tests.databases import database_url, engine, postgres_database, postgres_server, sqlite_template, sqlite_url

__all__ = ["database_url", "engine", "postgres_database", "postgres_server", "sqlite_template", "sqlite_url"]
