"""What alembic runs: the migrations, on the connection that `db.migrate` opened, in its transaction."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, Engine

from db.tables import Base


def run() -> None:
    connection = context.config.attributes["connection"]
    if isinstance(connection, Engine):  # pytest-alembic hands over an engine
        with connection.connect() as opened:
            migrate(opened)
    else:
        migrate(connection)


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        # SQLite cannot alter a table: it is copied, in the same transaction.
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
