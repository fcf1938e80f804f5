"""Published ports of endpoints."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "publication",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sa.Column("endpoint_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("protocol", sa.String(4), nullable=False),
        sa.Column("host_ip", sa.String(39), nullable=False),
        sa.Column("host_port", sa.Integer(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("by_runtime", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_publication_tenant_id"),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["endpoint.id"], name="fk_publication_endpoint_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_publication"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_publication_tenant_id", "publication", ["tenant_id"])
    op.create_index("ix_publication_endpoint_id", "publication", ["endpoint_id"])
    op.create_index("ix_publication_protocol_host_port", "publication", ["protocol", "host_port"])


def downgrade() -> None:
    op.drop_table("publication")
