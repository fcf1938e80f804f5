"""What agents say of published ports and limits: up to which revision they hold, and which ports are not open."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

REVISIONS = ("ports_revision", "limits_revision")


def upgrade() -> None:
    for name in REVISIONS:
        op.add_column("host_status", sa.Column(name, sa.BigInteger(), nullable=True))
    op.add_column("host_status", sa.Column("closed", JSON, nullable=False, server_default="{}"))


def downgrade() -> None:
    for name in ("closed", *REVISIONS):
        op.drop_column("host_status", name)
