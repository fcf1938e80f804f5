"""Groups, role bindings, tokens of a tenant, quotas, failed log-ins and the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
INSTANT = sa.DateTime(timezone=True)
NO_HASH = "0" * 64

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "user_group",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_user_group"),
        sa.UniqueConstraint("name", name="uq_user_group_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "group_member",
        sa.Column("group_id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["user_group.id"], name="fk_group_member_group_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name="fk_group_member_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("group_id", "user_id", name="pk_group_member"),
    )
    op.create_index("ix_group_member_user_id", "group_member", ["user_id"])
    op.create_table(
        "role_binding",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=True),
        sa.Column("group_id", sa.Integer(), nullable=True),
        sa.Column("tenant_id", sa.Integer(), nullable=True),
        sa.Column("role", sa.String(8), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint("(user_id IS NULL) <> (group_id IS NULL)", name="ck_role_binding_subject"),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name="fk_role_binding_user_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["group_id"], ["user_group.id"], name="fk_role_binding_group_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name="fk_role_binding_tenant_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_role_binding"),
        sa.UniqueConstraint("user_id", "tenant_id", name="uq_role_binding_user_id_tenant_id"),
        sa.UniqueConstraint("group_id", "tenant_id", name="uq_role_binding_group_id_tenant_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_role_binding_tenant_id", "role_binding", ["tenant_id"])
    op.execute('INSERT INTO role_binding (user_id, role, created_at) SELECT id, role, created_at FROM "user"')
    op.drop_column("user", "role")
    with op.batch_alter_table("token", table_kwargs={"sqlite_autoincrement": True}) as token:
        token.add_column(sa.Column("tenant_id", sa.Integer(), nullable=True))
        token.create_foreign_key("fk_token_tenant_id", "tenant", ["tenant_id"], ["id"], ondelete="CASCADE")
        token.create_index("ix_token_tenant_id", ["tenant_id"])
    op.add_column("tenant", sa.Column("quota", JSON, nullable=False, server_default="{}"))
    op.create_table(
        "login_failure",
        sa.Column("user", sa.String(63), nullable=False),
        sa.Column("address", sa.String(45), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("user", "address", name="pk_login_failure"),
    )
    op.create_index("ix_login_failure_last", "login_failure", ["last"])
    op.create_table(
        "audit",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("actor", sa.String(127), nullable=False),
        sa.Column("noun", sa.String(16), nullable=False),
        sa.Column("tenant", sa.String(63), nullable=True),
        sa.Column("entry", sa.Text(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_audit"),
    )
    for column in ("at", "actor", "tenant"):
        op.create_index(f"ix_audit_{column}", "audit", [column])
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    op.bulk_insert(head, [{"id": 1, "number": 0, "hash": NO_HASH}])


def downgrade() -> None:
    for table in ("audit_head", "audit", "login_failure"):
        op.drop_table(table)
    op.drop_column("tenant", "quota")
    # What was kept to one tenant would reach all without it.
    op.execute("DELETE FROM token WHERE tenant_id IS NOT NULL")
    with op.batch_alter_table("token", table_kwargs={"sqlite_autoincrement": True}) as token:
        token.drop_index("ix_token_tenant_id")
        token.drop_constraint("fk_token_tenant_id", type_="foreignkey")
        token.drop_column("tenant_id")
    op.add_column("user", sa.Column("role", sa.String(8), nullable=False, server_default="none"))
    op.execute(
        'UPDATE "user" SET role = coalesce((SELECT role FROM role_binding'
        " WHERE user_id = \"user\".id AND tenant_id IS NULL), 'none')"
    )
    for table in ("role_binding", "group_member", "user_group"):
        op.drop_table(table)
