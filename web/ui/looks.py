"""A quick look at one item of a list: its facts, how it is in a sentence, and what changed of it last."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy.orm import Session

from db import endpoints, hosts, networks, summary, tenants
from db.errors import DomainError
from web import present
from web.api.replies import Json
from web.problems import from_domain
from web.ui import words
from web.ui.nouns import endpoints_seen
from web.ui.overview import last_changes

CHANGES = 5


def look(session: Session, noun: str, name: str) -> Json:
    """Without an `item` where there is none that the asker may see; `lead` says so then."""
    try:
        item, lead = _found(session, noun, name)
    except DomainError as nothing:
        return {"name": name, "item": None, "lead": from_domain(nothing).detail}
    tenant = name.partition("/")[0] if noun != "hosts" else None
    which = {"tenant": tenant} if tenant else {}
    changes = last_changes(session, noun=noun.removesuffix("s"), name=name, **which) or []
    return {"name": name, "item": item, "lead": lead, "page": f"/{noun}/{name}", "changes": changes[:CHANGES]}


def _found(session: Session, noun: str, name: str) -> tuple[Json, str]:
    match noun:
        case "tenants":
            item = present.tenant(session, tenants.get(session, name))
            down = summary.COUNTED["endpoints"].count(session, tenant=name, state="down")
            return item, words.tenant(item, down)
        case "networks":
            (item,) = present.networks(session, [networks.get(session, name)])
            return item, words.network(item)
        case "endpoints":
            (item,) = endpoints_seen(session, [endpoints.get(session, name)])
            return item, words.endpoint(item)
    (item,) = present.hosts(session, [hosts.get(session, name)])
    return item, words.host(item, datetime.now(UTC))
