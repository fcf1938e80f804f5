"""Addresses that endpoints may use besides their own, and endpoints whose port is an interface of the host's own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "allowed_address",
        sa.Column("endpoint_id", BIG_ID, nullable=False),
        sa.Column("cidr", sa.String(43), nullable=False),
        sa.Column("network_id", sa.Integer(), nullable=False),
        sa.Column("mac", sa.String(17), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["endpoint.id"], name="fk_allowed_address_endpoint_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["network_id"], ["network.id"], name="fk_allowed_address_network_id"),
        sa.PrimaryKeyConstraint("endpoint_id", "cidr", name="pk_allowed_address"),
    )
    op.create_index("ix_allowed_address_network_id", "allowed_address", ["network_id"])
    op.create_index(
        "uq_allowed_address_active",
        "allowed_address",
        ["network_id", "cidr"],
        unique=True,
        sqlite_where=sa.text("active"),
        postgresql_where=sa.text("active"),
    )
    with op.batch_alter_table("endpoint") as table:
        table.add_column(sa.Column("interface", sa.String(15), nullable=False, server_default=""))


def downgrade() -> None:
    with op.batch_alter_table("endpoint") as table:
        table.drop_column("interface")
    op.drop_table("allowed_address")
