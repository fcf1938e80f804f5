"""Which hosts have the tunnels that networks need, and to which an endpoint may be moved."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
SETTING = sa.table("setting", sa.column("name", sa.String), sa.column("value", JSON))

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("host_status", sa.Column("tunnels_revision", sa.BigInteger(), nullable=True))
    op.add_column("endpoint", sa.Column("move_to", sa.String(63), nullable=True))
    op.bulk_insert(SETTING, [{"name": "tunnels_revision", "value": 0}])


def downgrade() -> None:
    op.execute(SETTING.delete().where(SETTING.c.name == "tunnels_revision"))
    op.drop_column("endpoint", "move_to")
    op.drop_column("host_status", "tunnels_revision")
