"""First tables: tenants, networks, hosts, endpoints, numbers, accounts and the change log.

Seeds what exists once: the revision, the pools that everyone shares, and the cluster pool's ranges.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
INSTANT = sa.DateTime(timezone=True)
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # AUTOINCREMENT wants the very word INTEGER

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "change",
        sa.Column("revision", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("noun", sa.String(length=16), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("op", sa.String(length=8), nullable=False),
        sa.Column("tenant_id", sa.Integer(), nullable=True),
        sa.Column("host_id", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("revision", "noun", "id", name="pk_change"),
    )
    op.create_table(
        "controller",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("target", sa.String(length=80), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_controller"),
    )
    op.create_table(
        "idempotency",
        sa.Column("principal", sa.String(length=80), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", JSON, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("principal", "key", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_created_at", "idempotency", ["created_at"])
    op.create_table(
        "pool",
        sa.Column("id", sa.Integer(), sa.Identity(always=False, start=16), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.Column("gaps", sa.Boolean(), nullable=False),
        sa.Column("rest_seconds", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pool"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "revision",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_revision"),
    )
    op.create_table(
        "setting",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("value", JSON, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_setting"),
    )
    op.create_table(
        "tenant",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("zone", sa.Integer(), nullable=False),
        sa.Column("labels", JSON, nullable=False),
        sa.Column("track_all", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tenant"),
        sa.UniqueConstraint("name", name="uq_tenant_name"),
    )
    op.create_table(
        "user",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("role", sa.String(length=8), nullable=False),
        sa.Column("password", sa.String(length=255), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_user"),
        sa.UniqueConstraint("name", name="uq_user_name"),
    )
    op.create_table(
        "claim",
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("released_at", sa.Float(precision=53), nullable=True),
        sa.ForeignKeyConstraint(["pool_id"], ["pool.id"], name="fk_claim_pool_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("pool_id", "number", name="pk_claim"),
    )
    op.create_index("ix_claim_pool_id_released_at", "claim", ["pool_id", "released_at"])
    op.create_table(
        "host",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("address", sa.String(length=39), nullable=True),
        sa.Column("datapath_type", sa.String(length=8), nullable=False),
        sa.Column("mtu", sa.Integer(), nullable=False),
        sa.Column("labels", JSON, nullable=False),
        sa.Column("facts", JSON, nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("enrolled_at", INSTANT, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["pool_id"], ["pool.id"], name="fk_host_pool_id"),
        sa.PrimaryKeyConstraint("id", name="pk_host"),
        sa.UniqueConstraint("address", name="uq_host_address"),
        sa.UniqueConstraint("name", name="uq_host_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "network",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("vni", sa.Integer(), nullable=False),
        sa.Column("zone", sa.Integer(), nullable=False),
        sa.Column("private", sa.Boolean(), nullable=False),
        sa.Column("isolated", sa.Boolean(), nullable=False),
        sa.Column("mtu", sa.Integer(), nullable=True),
        sa.Column("labels", JSON, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_network_tenant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_network"),
        sa.UniqueConstraint("tenant_id", "name", name="uq_network_tenant_id_name"),
        sa.UniqueConstraint("vni", name="uq_network_vni"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_network_zone", "network", ["zone"])
    op.create_table(
        "session",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name="fk_session_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("hash", name="pk_session"),
    )
    op.create_index("ix_session_user_id", "session", ["user_id"])
    op.create_table(
        "endpoint",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sa.Column("network_id", sa.Integer(), nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("ofport", sa.Integer(), nullable=False),
        sa.Column("mac", sa.String(length=17), nullable=False),
        sa.Column("container_id", sa.String(length=128), nullable=False),
        sa.Column("ifname", sa.String(length=15), nullable=False),
        sa.Column("netns", sa.String(length=255), nullable=False),
        sa.Column("labels", JSON, nullable=False),
        sa.Column("ports", JSON, nullable=False),
        sa.Column("request", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name="fk_endpoint_host_id"),
        sa.ForeignKeyConstraint(["network_id"], ["network.id"], name="fk_endpoint_network_id"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_endpoint_tenant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_endpoint"),
        sa.UniqueConstraint("host_id", "container_id", "ifname", name="uq_endpoint_host_id_container_id_ifname"),
        sa.UniqueConstraint("host_id", "ofport", name="uq_endpoint_host_id_ofport"),
        sa.UniqueConstraint("network_id", "mac", name="uq_endpoint_network_id_mac"),
        sa.UniqueConstraint("tenant_id", "name", name="uq_endpoint_tenant_id_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "host_status",
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.Column("controller", sa.String(length=63), nullable=True),
        sa.Column("connected", sa.Boolean(), nullable=False),
        sa.Column("wanted_revision", sa.BigInteger(), nullable=False),
        sa.Column("confirmed_revision", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("flows", sa.Integer(), nullable=False),
        sa.Column("drops", JSON, nullable=False),
        sa.Column("repaired", sa.Integer(), nullable=False),
        sa.Column("agent_seen_at", INSTANT, nullable=True),
        sa.Column("agent_report", JSON, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name="fk_host_status_host_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("host_id", name="pk_host_status"),
    )
    op.create_table(
        "subnet",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("network_id", sa.Integer(), nullable=False),
        sa.Column("family", sa.Integer(), nullable=False),
        sa.Column("cidr", sa.String(length=43), nullable=False),
        sa.Column("low", sa.String(length=32), nullable=False),
        sa.Column("high", sa.String(length=32), nullable=False),
        sa.Column("gateway", sa.String(length=39), nullable=False),
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("block", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["network_id"], ["network.id"], name="fk_subnet_network_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["pool_id"], ["pool.id"], name="fk_subnet_pool_id"),
        sa.PrimaryKeyConstraint("id", name="pk_subnet"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_subnet_family_low", "subnet", ["family", "low"])
    op.create_index("ix_subnet_network_id", "subnet", ["network_id"])
    op.create_table(
        "token",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("role", sa.String(length=8), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=True),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=True),
        sa.Column("used_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name="fk_token_host_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name="fk_token_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_token"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_token_host_id", "token", ["host_id"])
    op.create_index("ix_token_user_id", "token", ["user_id"])
    op.create_table(
        "address",
        sa.Column("subnet_id", sa.Integer(), nullable=False),
        sa.Column("ip", sa.String(length=39), nullable=False),
        sa.Column("prefix", sa.Integer(), nullable=False),
        sa.Column("endpoint_id", BIG_ID, nullable=False),
        sa.ForeignKeyConstraint(["endpoint_id"], ["endpoint.id"], name="fk_address_endpoint_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["subnet_id"], ["subnet.id"], name="fk_address_subnet_id"),
        sa.PrimaryKeyConstraint("subnet_id", "ip", name="pk_address"),
    )
    op.create_index("ix_address_endpoint_id", "address", ["endpoint_id"])
    op.create_table(
        "endpoint_status",
        sa.Column("endpoint_id", BIG_ID, nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["endpoint.id"], name="fk_endpoint_status_endpoint_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("endpoint_id", name="pk_endpoint_status"),
    )
    seed()


def seed() -> None:
    pools = [
        # id, kind, first, last, rest_seconds
        (1, "tenant", 1, 65535, 60),
        (2, "zone", 1, 1 << 24, 60),
        (3, "vni", 1, (1 << 24) - 1, 60),
        (4, "cluster4", 0, 1023, 5),
        (5, "cluster6", 0, 65535, 5),
    ]
    columns = ("id", "kind", "first", "last", "next", "gaps", "rest_seconds")
    op.bulk_insert(
        sa.table("pool", *map(sa.column, columns)),
        [dict(zip(columns, (*pool[:4], pool[2], False, pool[4]), strict=True)) for pool in pools],
    )
    op.bulk_insert(sa.table("revision", sa.column("id"), sa.column("number")), [{"id": 1, "number": 0}])
    cluster = {"v4": "10.128.0.0/14", "v4_prefix": 24, "v6": "fd00:77::/48", "v6_prefix": 64}
    op.bulk_insert(
        sa.table("setting", sa.column("name"), sa.column("value", JSON)), [{"name": "cluster_pool", "value": cluster}]
    )


def downgrade() -> None:
    for name in (
        "endpoint_status",
        "address",
        "token",
        "subnet",
        "host_status",
        "endpoint",
        "session",
        "network",
        "host",
        "claim",
        "user",
        "tenant",
        "setting",
        "revision",
        "pool",
        "idempotency",
        "controller",
        "change",
    ):
        op.drop_table(name)
