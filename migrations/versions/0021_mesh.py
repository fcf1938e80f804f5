"""Ports that all hosts publish, and numbers of the endpoints that they lead to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

POOL = sa.table("pool", *map(sa.column, ("id", "kind", "first", "last", "next", "gaps", "rest_seconds")))
NUMBERS = 0  # hosts and subnets have all above 5 on SQLite

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("publication", sa.Column("mesh", sa.Integer(), nullable=False, server_default="0"))
    pool = {"id": NUMBERS, "kind": "mesh", "first": 1, "last": 4095, "next": 1, "gaps": False, "rest_seconds": 300}
    op.bulk_insert(POOL, [pool])


def downgrade() -> None:
    op.execute(POOL.delete().where(POOL.c.id == NUMBERS))
    op.drop_column("publication", "mesh")
