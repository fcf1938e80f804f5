"""Names of one's own: aliases of endpoints, static records, Warren's domain, and which names each host knows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("endpoint", sa.Column("aliases", JSON, nullable=False, server_default="[]"))
    op.add_column("host_status", sa.Column("names_revision", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("host_status", sa.Column("names_seen_at", INSTANT, nullable=True))
    op.create_table(
        "dns_record",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("tenant_id", sa.Integer(), nullable=False),
        sa.Column("network_id", sa.Integer(), nullable=True),
        sa.Column("scope", sa.String(127), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("addresses", JSON, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_dns_record_tenant_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["network_id"], ["network.id"], name="fk_dns_record_network_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_dns_record"),
        sa.UniqueConstraint("scope", "name", name="uq_dns_record_scope_name"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_dns_record_tenant_id", "dns_record", ["tenant_id"])
    op.create_index("ix_dns_record_network_id", "dns_record", ["network_id"])
    domain = {"domain": "warren.internal", "version": 1}
    op.bulk_insert(sa.table("setting", sa.column("name"), sa.column("value", JSON)), [{"name": "dns", "value": domain}])


def downgrade() -> None:
    op.execute("DELETE FROM setting WHERE name = 'dns'")
    op.drop_index("ix_dns_record_network_id", "dns_record")
    op.drop_index("ix_dns_record_tenant_id", "dns_record")
    op.drop_table("dns_record")
    op.drop_column("host_status", "names_seen_at")
    op.drop_column("host_status", "names_revision")
    op.drop_column("endpoint", "aliases")
