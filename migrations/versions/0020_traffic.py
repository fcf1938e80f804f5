"""What hosts have counted of their endpoints, and between each other."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "host_traffic",
        sa.Column("host_id", sa.Integer(), sa.ForeignKey("host.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("counted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("endpoints", JSON, nullable=False),
        sa.Column("tunnels", JSON, nullable=False),
    )
    op.execute("INSERT INTO host_traffic (host_id, endpoints, tunnels) SELECT id, '{}', '{}' FROM host")


def downgrade() -> None:
    op.drop_table("host_traffic")
