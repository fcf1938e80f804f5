"""What carries a network's packets between hosts, where tunnels listen, and what agents find of the underlay."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
HOST = sa.table("host", sa.column("mtu", sa.Integer), sa.column("mtu_fixed", sa.Boolean))
SETTING = sa.table("setting", sa.column("name", sa.String), sa.column("value", JSON))


def upgrade() -> None:
    # Not in a batch: on SQLite that copies the table, which then would give ids of rows that are gone to others.
    op.add_column("network", sa.Column("transport", sa.String(16), nullable=False, server_default="vxlan"))
    op.add_column("network", sa.Column("cross_subnet", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("host", sa.Column("mtu_fixed", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("host", sa.Column("prefix", sa.Integer(), nullable=True))
    # Who has said another MTU than the default meant it.
    op.execute(HOST.update().where(HOST.c.mtu != 1500).values(mtu_fixed=sa.true()))
    op.bulk_insert(SETTING, [{"name": "tunnel_ports", "value": {"vxlan": 4789, "geneve": 6081}}])


def downgrade() -> None:
    op.execute(SETTING.delete().where(SETTING.c.name == "tunnel_ports"))
    with op.batch_alter_table("network") as network:
        network.drop_column("cross_subnet")
        network.drop_column("transport")
    with op.batch_alter_table("host") as host:
        host.drop_column("prefix")
        host.drop_column("mtu_fixed")
