"""What DNS names stand for, as endpoints were told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "resolved_name",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_resolved_name"),
        sa.UniqueConstraint("name", name="uq_resolved_name_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "resolved_address",
        sa.Column("name_id", BIG_ID, nullable=False),
        sa.Column("ip", sa.String(39), nullable=False),
        sa.Column("until", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(
            ["name_id"], ["resolved_name.id"], name="fk_resolved_address_name_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("name_id", "ip", name="pk_resolved_address"),
    )
    op.create_index("ix_resolved_address_until", "resolved_address", ["until"])


def downgrade() -> None:
    op.drop_index("ix_resolved_address_until", "resolved_address")
    op.drop_table("resolved_address")
    op.drop_table("resolved_name")
