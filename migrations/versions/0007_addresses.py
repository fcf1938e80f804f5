"""Address pools in place of the one cluster pool; plans, blocks of hosts, what nobody gets, and reservations."""

from __future__ import annotations

import ipaddress
import json
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
INSTANT = sa.DateTime(timezone=True)

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

FIRST = {4: (4, "default"), 6: (5, "default6")}
"""Id and name of the pools that the cluster pool becomes. Their ids are those of its numbers."""


def upgrade() -> None:
    op.create_table(
        "address_pool",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("family", sa.Integer(), nullable=False),
        sa.Column("cidr", sa.String(43), nullable=False),
        sa.Column("low", sa.String(32), nullable=False),
        sa.Column("high", sa.String(32), nullable=False),
        sa.Column("prefix", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["id"], ["pool.id"], name="fk_address_pool_id"),
        sa.PrimaryKeyConstraint("id", name="pk_address_pool"),
        sa.UniqueConstraint("name", name="uq_address_pool_name"),
    )
    # On SQLite a batch copies the table, which must not forget that its ids are never used again.
    op.add_column("network", sa.Column("plan", sa.String(8), nullable=False, server_default="shared"))
    op.add_column("network", sa.Column("strict", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("subnet", table_kwargs={"sqlite_autoincrement": True}) as batch:
        batch.add_column(sa.Column("address_pool_id", sa.Integer(), nullable=True))
        batch.add_column(sa.Column("ip_range", sa.String(43), nullable=True))
        batch.add_column(sa.Column("excludes", JSON, nullable=False, server_default="[]"))
        batch.add_column(sa.Column("aux", JSON, nullable=False, server_default="{}"))
        batch.add_column(sa.Column("block_size", sa.Integer(), nullable=True))
        batch.add_column(sa.Column("block_pool_id", sa.Integer(), nullable=True))
        batch.create_foreign_key("fk_subnet_address_pool_id", "address_pool", ["address_pool_id"], ["id"])
        batch.create_foreign_key("fk_subnet_block_pool_id", "pool", ["block_pool_id"], ["id"])
        batch.create_index("ix_subnet_address_pool_id", ["address_pool_id"])
    op.create_table(
        "block",
        sa.Column("subnet_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["subnet_id"], ["subnet.id"], name="fk_block_subnet_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name="fk_block_host_id"),
        sa.PrimaryKeyConstraint("subnet_id", "number", name="pk_block"),
    )
    op.create_index("ix_block_host_id", "block", ["host_id"])
    op.create_table(
        "reservation",
        sa.Column("subnet_id", sa.Integer(), nullable=False),
        sa.Column("ip", sa.String(39), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("expires_at", INSTANT, nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["subnet_id"], ["subnet.id"], name="fk_reservation_subnet_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("subnet_id", "ip", name="pk_reservation"),
    )
    op.create_index("ix_reservation_name", "reservation", ["name"])
    _to_pools()


def _to_pools() -> None:
    connection = op.get_bind()
    setting = connection.execute(sa.text("SELECT value FROM setting WHERE name = 'cluster_pool'")).scalar_one()
    value = json.loads(setting) if isinstance(setting, str) else setting
    for family, (id, name) in FIRST.items():
        # A family that was not set has no pool; its numbers are nobody's.
        if value.get(f"v{family}") is None:
            op.execute(f"DELETE FROM pool WHERE id = {id}")
            continue
        op.bulk_insert(_ADDRESS_POOL, [_row(id, name, family, value[f"v{family}"], value[f"v{family}_prefix"])])
        op.execute(f"UPDATE pool SET kind = 'subnet' WHERE id = {id}")
        op.execute(f"UPDATE subnet SET address_pool_id = {id} WHERE family = {family} AND block IS NOT NULL")
    op.execute("DELETE FROM setting WHERE name = 'cluster_pool'")


_ADDRESS_POOL = sa.table(
    "address_pool",
    *map(sa.column, ("id", "name", "family", "cidr", "low", "high", "prefix", "state", "version")),
    sa.column("created_at", INSTANT),
    sa.column("updated_at", INSTANT),
)


def _row(id: int, name: str, family: int, cidr: str, prefix: int) -> dict[str, Any]:
    whole = ipaddress.ip_network(cidr)
    width = whole.max_prefixlen // 4
    now = datetime.now(UTC)
    return {
        "id": id,
        "name": name,
        "family": family,
        "cidr": cidr,
        "low": f"{int(whole[0]):0{width}x}",
        "high": f"{int(whole[-1]):0{width}x}",
        "prefix": prefix,
        "state": "enabled",
        "version": 1,
        "created_at": now,
        "updated_at": now,
    }


def downgrade() -> None:
    """The first pool of each family becomes the cluster pool again; what was carved of others stays as it is."""
    connection = op.get_bind()
    value: dict[str, Any] = {"v4": None, "v4_prefix": 24, "v6": None, "v6_prefix": 64}
    op.execute("UPDATE subnet SET block = NULL WHERE address_pool_id NOT IN (4, 5)")
    for id, family, cidr, prefix in connection.execute(sa.text("SELECT id, family, cidr, prefix FROM address_pool")):
        if id == FIRST[family][0]:
            value |= {f"v{family}": cidr, f"v{family}_prefix": prefix}
    there = set(connection.execute(sa.text("SELECT id FROM pool WHERE id IN (4, 5)")).scalars())
    for family, (id, _) in FIRST.items():
        if id in there:
            op.execute(f"UPDATE pool SET kind = 'cluster{family}' WHERE id = {id}")
        else:
            op.execute(
                "INSERT INTO pool (id, kind, first, last, next, gaps, rest_seconds) "
                f"VALUES ({id}, 'cluster{family}', 0, 0, 0, FALSE, 5)"
            )
    op.bulk_insert(
        sa.table("setting", sa.column("name"), sa.column("value", JSON)), [{"name": "cluster_pool", "value": value}]
    )
    op.drop_index("ix_reservation_name", "reservation")
    op.drop_table("reservation")
    op.drop_index("ix_block_host_id", "block")
    op.drop_table("block")
    with op.batch_alter_table("subnet", table_kwargs={"sqlite_autoincrement": True}) as batch:
        batch.drop_index("ix_subnet_address_pool_id")
        batch.drop_constraint("fk_subnet_address_pool_id", type_="foreignkey")
        batch.drop_constraint("fk_subnet_block_pool_id", type_="foreignkey")
        for name in ("block_pool_id", "block_size", "aux", "excludes", "ip_range", "address_pool_id"):
            batch.drop_column(name)
    with op.batch_alter_table("network") as batch:
        batch.drop_column("strict")
        batch.drop_column("plan")
    op.drop_table("address_pool")
