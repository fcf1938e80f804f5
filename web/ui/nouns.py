"""What is listed and shown: how each noun is found, and what its rows become."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from db import endpoints as db_endpoints
from db import hosts as db_hosts
from db import networks as db_networks
from db import tenants as db_tenants
from web import present
from web.auth.access import sight

Json = dict[str, Any]


class Noun:
    def __init__(self, find: Callable[..., Any], show: Callable[[Session, Any], list[Json]]) -> None:
        self.find = find
        self.show = show

    def page(self, session: Session, limit: int, **which: Any) -> tuple[list[Json], str | None]:
        page = self.find(session, limit=limit, **which)
        return self.show(session, page.items), page.next


def endpoints_seen(session: Session, rows: Sequence[Any]) -> list[Json]:
    """Endpoints, and of each whether what is said of it is old because its host is silent."""
    silent = db_hosts.silent(session, datetime.now(UTC))
    return [item | {"out_of_sight": item["host"] in silent} for item in present.endpoints(session, rows)]


NOUNS = {
    "hosts": Noun(db_hosts.find, present.hosts),
    "tenants": Noun(db_tenants.find, present.tenants),
    "networks": Noun(db_networks.find, present.networks),
    "endpoints": Noun(db_endpoints.find, endpoints_seen),
}


def nouns() -> dict[str, Noun]:
    """Those that the asker sees: hosts are the cluster's."""
    return {name: noun for name, noun in NOUNS.items() if name != "hosts" or sight() is None}
