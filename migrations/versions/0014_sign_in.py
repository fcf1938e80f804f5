"""Triggers that refuse to change or remove entries of the audit log; people whom an OpenID Connect provider knows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

GROWS = "the audit log only grows"
BACK = "NEW.number < OLD.number"

ON_SQLITE = {
    "audit_update": f"BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, '{GROWS}'); END",
    "audit_delete": f"BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, '{GROWS}'); END",
    "audit_head_update": f"BEFORE UPDATE ON audit_head WHEN {BACK} BEGIN SELECT RAISE(ABORT, '{GROWS}'); END",
    "audit_head_delete": f"BEFORE DELETE ON audit_head WHEN OLD.number > 0 BEGIN SELECT RAISE(ABORT, '{GROWS}'); END",
}
REFUSE = "EXECUTE FUNCTION audit_only_grows()"
ON_POSTGRESQL = {
    "audit_change": f"BEFORE UPDATE OR DELETE ON audit FOR EACH ROW {REFUSE}",
    "audit_truncate": f"BEFORE TRUNCATE ON audit FOR EACH STATEMENT {REFUSE}",
    "audit_head_update": f"BEFORE UPDATE ON audit_head FOR EACH ROW WHEN ({BACK}) {REFUSE}",
    "audit_head_delete": f"BEFORE DELETE ON audit_head FOR EACH ROW WHEN (OLD.number > 0) {REFUSE}",
    "audit_head_truncate": f"BEFORE TRUNCATE ON audit_head FOR EACH STATEMENT {REFUSE}",
}
FUNCTION = f"""
CREATE FUNCTION audit_only_grows() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '{GROWS}' USING ERRCODE = 'insufficient_privilege'; END $$
"""


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(FUNCTION)
    for name, does in _triggers().items():
        op.execute(f"CREATE TRIGGER {name} {does}")
    op.create_table(
        "oidc_identity",
        sa.Column("issuer", sa.String(255), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name="fk_oidc_identity_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("issuer", "subject", name="pk_oidc_identity"),
        sa.UniqueConstraint("user_id", name="uq_oidc_identity_user_id"),
    )
    op.create_table(
        "oidc_login",
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("nonce", sa.String(64), nullable=False),
        sa.Column("verifier", sa.String(64), nullable=False),
        sa.Column("onward", sa.String(1024), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_oidc_login"),
    )
    op.create_index("ix_oidc_login_expires_at", "oidc_login", ["expires_at"])


def downgrade() -> None:
    for table in ("oidc_login", "oidc_identity"):
        op.drop_table(table)
    postgresql = op.get_bind().dialect.name == "postgresql"
    for name, does in _triggers().items():
        table = does.split(" ON ")[1].split()[0]
        op.execute(f"DROP TRIGGER {name}" + (f" ON {table}" if postgresql else ""))
    if postgresql:
        op.execute("DROP FUNCTION audit_only_grows()")


def _triggers() -> dict[str, str]:
    return ON_POSTGRESQL if op.get_bind().dialect.name == "postgresql" else ON_SQLITE
