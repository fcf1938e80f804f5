"""Policies, whose documents are kept as they were given, and tenants that deny by default."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "policy",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("owner", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.Integer(), nullable=True),
        sa.Column("name", sa.String(253), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.CheckConstraint("owner = coalesce(tenant_id, 0)", name="ck_policy_owner"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_policy_tenant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_policy"),
        sa.UniqueConstraint("owner", "name", name="uq_policy_owner_name"),
        sa.UniqueConstraint("owner", "ordinal", name="uq_policy_owner_ordinal"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_policy_tenant_id", "policy", ["tenant_id"])
    op.add_column("tenant", sa.Column("default_deny", JSON, nullable=False, server_default="[]"))


def downgrade() -> None:
    op.drop_column("tenant", "default_deny")
    op.drop_index("ix_policy_tenant_id", "policy")
    op.drop_table("policy")
