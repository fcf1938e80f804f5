"""Questions to hosts' agents about packets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "trace",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.Column("packet", sa.Text(), nullable=False),
        sa.Column("asked_at", INSTANT, nullable=False),
        sa.Column("answered_at", INSTANT, nullable=True),
        sa.Column("answer", JSON, nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name="fk_trace_host_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_trace"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_trace_host_id", "trace", ["host_id"])


def downgrade() -> None:
    op.drop_index("ix_trace_host_id", "trace")
    op.drop_table("trace")
