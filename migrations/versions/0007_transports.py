"""What carries a network's packets between hosts, and where tunnels listen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
SETTING = sa.table("setting", sa.column("name", sa.String), sa.column("value", JSON))


def upgrade() -> None:
    with op.batch_alter_table("network") as network:
        network.add_column(sa.Column("transport", sa.String(16), nullable=False, server_default="vxlan"))
    op.bulk_insert(SETTING, [{"name": "tunnel_ports", "value": {"vxlan": 4789, "geneve": 6081}}])


def downgrade() -> None:
    op.execute(SETTING.delete().where(SETTING.c.name == "tunnel_ports"))
    with op.batch_alter_table("network") as network:
        network.drop_column("transport")
