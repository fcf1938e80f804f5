"""Other names of endpoints in DNS: what may be one, and giving an attached endpoint others than it came with."""

from __future__ import annotations

from collections.abc import Sequence

from db.changes import Transaction
from db.errors import Invalid
from db.names import dns_label
from db.rows import assign
from db.tables import Endpoint

MOST = 16


def valid(aliases: Sequence[str], name: str) -> list[str]:
    """The aliases as they are stored. Several endpoints may share an alias, unlike their own names."""
    if len(aliases) > MOST:
        raise Invalid(f"{len(aliases)} aliases are too many", f"use at most {MOST}", "aliases")
    return [alias for alias in dict.fromkeys(aliases) if dns_label(alias, "alias", "aliases") != name]


def change(tx: Transaction, endpoint: Endpoint, aliases: Sequence[str]) -> None:
    """Replaces all aliases of the endpoint. A repeated attach is still compared with the aliases of the first."""
    if assign(endpoint, aliases=valid(aliases, endpoint.name)):
        tx.session.flush()
        tx.record("endpoint", endpoint.id, "update", tenant_id=endpoint.tenant_id, host_id=endpoint.host_id)
