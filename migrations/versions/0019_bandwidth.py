"""What bandwidth endpoints asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("endpoint", sa.Column("bandwidth", JSON, nullable=False, server_default="{}"))


def downgrade() -> None:
    op.drop_column("endpoint", "bandwidth")
