"""Physical segments that networks sit on, with a tag there and a gateway only if an outside router is one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "physical",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(12), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_physical"),
        sa.UniqueConstraint("name", name="uq_physical_name"),
    )
    with op.batch_alter_table("network", table_kwargs={"sqlite_autoincrement": True}) as network:
        network.add_column(sa.Column("physical_id", sa.Integer(), nullable=True))
        network.add_column(sa.Column("vlan", sa.Integer(), nullable=False, server_default="0"))
        network.create_foreign_key("fk_network_physical_id", "physical", ["physical_id"], ["id"])
        network.create_unique_constraint("uq_network_physical_id_vlan", ["physical_id", "vlan"])
    with op.batch_alter_table("subnet", table_kwargs={"sqlite_autoincrement": True}) as subnet:
        subnet.alter_column("gateway", existing_type=sa.String(39), nullable=True)


def downgrade() -> None:
    op.execute("DELETE FROM subnet WHERE gateway IS NULL")
    with op.batch_alter_table("subnet", table_kwargs={"sqlite_autoincrement": True}) as subnet:
        subnet.alter_column("gateway", existing_type=sa.String(39), nullable=False)
    with op.batch_alter_table("network", table_kwargs={"sqlite_autoincrement": True}) as network:
        network.drop_constraint("uq_network_physical_id_vlan", type_="unique")
        network.drop_constraint("fk_network_physical_id", type_="foreignkey")
        network.drop_column("vlan")
        network.drop_column("physical_id")
    op.drop_table("physical")
