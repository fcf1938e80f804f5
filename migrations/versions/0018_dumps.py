"""Questions to agents may also be for all flows that are installed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("trace", sa.Column("kind", sa.String(8), nullable=False, server_default="packet"))


def downgrade() -> None:
    op.drop_column("trace", "kind")
