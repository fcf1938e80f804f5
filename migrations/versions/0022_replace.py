"""On SQLite, triggers that refuse to put an entry of the audit log in place of another, as REPLACE does."""

from __future__ import annotations

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

KEYS = {"audit": "number", "audit_head": "id"}


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":  # ON CONFLICT DO UPDATE fires the trigger of updates
        return
    for table, key in KEYS.items():
        there = f"EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key} OR rowid = NEW.rowid)"
        refuse = "SELECT RAISE(ABORT, 'the audit log only grows')"
        op.execute(f"CREATE TRIGGER {table}_replace BEFORE INSERT ON {table} WHEN {there} BEGIN {refuse}; END")


def downgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        for table in KEYS:
            op.execute(f"DROP TRIGGER {table}_replace")
