"""Whether a network's endpoints get out of Warren, which takes half of the numbers of conntrack's zones."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

MOST_TENANTS = 0x7FFF


def upgrade() -> None:
    beyond = sa.text(f"SELECT max(number) FROM claim WHERE pool_id = 1 AND number > {MOST_TENANTS}")
    if (number := op.get_bind().execute(beyond).scalar()) is not None:
        raise RuntimeError(
            f"tenant number {number} was given out, and there are only {MOST_TENANTS} now: remove tenants with higher "
            "numbers (`warren tenant list -o json` shows them) with the version before, and create them again"
        )
    op.execute(f"UPDATE pool SET last = {MOST_TENANTS} WHERE id = 1")
    op.add_column("network", sa.Column("outbound", sa.Boolean(), nullable=False, server_default=sa.true()))


def downgrade() -> None:
    op.drop_column("network", "outbound")
    op.execute("UPDATE pool SET last = 65535 WHERE id = 1")
