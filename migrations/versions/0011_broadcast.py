"""Whether a network's endpoints may broadcast."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not as a batch: that would copy the table and forget that its ids are never used again.
    op.add_column("network", sa.Column("broadcast", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("network", "broadcast")
