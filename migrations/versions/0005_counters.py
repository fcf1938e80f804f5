"""What rules of policies counted, and what they decided that was to be logged."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rule_counter",
        sa.Column("policy_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("direction", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("host_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("packets", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("seen_packets", sa.BigInteger(), nullable=False),
        sa.Column("seen_bytes", sa.BigInteger(), nullable=False),
        sa.Column("last_hit", INSTANT, nullable=True),
        sa.PrimaryKeyConstraint("policy_id", "direction", "number", "host_id", name="pk_rule_counter"),
    )
    op.create_table(
        "denial",
        sa.Column("key", sa.String(32), nullable=False),
        sa.Column("host", sa.String(63), nullable=False),
        sa.Column("action", sa.String(8), nullable=False),
        sa.Column("direction", sa.String(8), nullable=False),
        sa.Column("policies", JSON, nullable=False),
        sa.Column("rule", sa.Integer(), nullable=True),
        sa.Column("rule_name", sa.String(100), nullable=False),
        sa.Column("source", sa.String(127), nullable=False),
        sa.Column("source_address", sa.String(39), nullable=False),
        sa.Column("destination", sa.String(127), nullable=False),
        sa.Column("destination_address", sa.String(39), nullable=False),
        sa.Column("protocol", sa.String(8), nullable=False),
        sa.Column("port", sa.Integer(), nullable=True),
        sa.Column("icmp_type", sa.Integer(), nullable=True),
        sa.Column("icmp_code", sa.Integer(), nullable=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("first_at", INSTANT, nullable=False),
        sa.Column("last_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_denial"),
    )
    op.create_index("ix_denial_last_at", "denial", ["last_at"])


def downgrade() -> None:
    op.drop_table("denial")
    op.drop_table("rule_counter")
