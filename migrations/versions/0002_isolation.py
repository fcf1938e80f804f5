"""Isolation: tenants that peer, and the cluster's mode, which is multitenant as it was without saying so."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "peering",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("low_id", sa.Integer(), nullable=False),
        sa.Column("high_id", sa.Integer(), nullable=False),
        sa.CheckConstraint("low_id < high_id", name="ck_peering_order"),
        sa.ForeignKeyConstraint(["high_id"], ["tenant.id"], name="fk_peering_high_id"),
        sa.ForeignKeyConstraint(["low_id"], ["tenant.id"], name="fk_peering_low_id"),
        sa.PrimaryKeyConstraint("id", name="pk_peering"),
        sa.UniqueConstraint("low_id", "high_id", name="uq_peering_low_id_high_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_peering_high_id", "peering", ["high_id"])
    op.create_index("ix_tenant_zone", "tenant", ["zone"])
    cluster = {"mode": "multitenant", "version": 1}
    op.bulk_insert(
        sa.table("setting", sa.column("name"), sa.column("value", JSON)), [{"name": "isolation", "value": cluster}]
    )


def downgrade() -> None:
    op.execute("DELETE FROM setting WHERE name = 'isolation'")
    op.drop_index("ix_tenant_zone", "tenant")
    op.drop_table("peering")
