"""The pages: what is asked of the database for each, and the sentence on top."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from flask import request

from db import endpoints as db_endpoints
from db import hosts as db_hosts
from db import networks as db_networks
from db import summary
from db import tenants as db_tenants
from web import present
from web.auth.access import READERS, SIGHT, TENANT_READERS, allow
from web.state import reading
from web.ui import words
from web.ui.frame import blueprint, render, text_asked
from web.ui.nouns import NOUNS, endpoints_seen, nouns

Json = dict[str, Any]
ON_SEARCH = 20
RELATED = 50
PER_PAGE = 100


def listing(name: str, lead: Callable[[list[Json]], str]) -> str:
    query = text_asked() or None
    with reading() as session:
        items, onward = NOUNS[name].page(session, PER_PAGE, text=query, cursor=request.args.get("cursor"))
        total = summary.count(session, name, query)
    return render("list.html", name.capitalize(), noun=name, items=items, next=onward, total=total, lead=lead(items))


@blueprint.get("/tenants")
@allow(TENANT_READERS, by=SIGHT)
def tenants() -> str:
    return listing("tenants", lambda items: "A tenant owns networks and is kept apart from all other tenants.")


@blueprint.get("/networks")
@allow(TENANT_READERS, by=SIGHT)
def networks() -> str:
    return listing("networks", lambda items: "A network is one segment; its endpoints reach each other on every host.")


@blueprint.get("/hosts")
@allow(READERS)
def hosts() -> str:
    return listing("hosts", words.hosts)


@blueprint.get("/endpoints")
@allow(TENANT_READERS, by=SIGHT)
def endpoints() -> str:
    return listing("endpoints", lambda items: "An endpoint is one interface of a container, pod or VM.")


@blueprint.get("/search")
@allow(TENANT_READERS, by=SIGHT)
def search() -> str:
    query = text_asked()
    found: dict[str, list[Json]] = {name: [] for name in NOUNS}
    counts: dict[str, int] = {}
    if query:
        with reading() as session:
            found = {name: noun.page(session, ON_SEARCH, text=query)[0] for name, noun in nouns().items()}
            counts = {name: summary.count(session, name, query) for name in nouns()}
    return render("search.html", "Search", found=found, lead=words.found(query, counts))


@blueprint.get("/tenants/<tenant>")
@allow(TENANT_READERS)
def tenant(tenant: str) -> str:
    with reading() as session:
        item = present.tenant(session, db_tenants.get(session, tenant))
        own_networks, _ = NOUNS["networks"].page(session, RELATED, tenant=tenant)
        own_endpoints, _ = NOUNS["endpoints"].page(session, RELATED, tenant=tenant)
    related = [("networks", own_networks, item["networks"]), ("endpoints", own_endpoints, item["endpoints"])]
    lead = f"{words.many(item['networks'], 'network')}, {words.many(item['endpoints'], 'endpoint')}."
    return render("tenant.html", "Tenants", item=item, related=related, lead=lead)


@blueprint.get("/networks/<tenant>/<name>")
@allow(TENANT_READERS)
def network(tenant: str, name: str) -> str:
    qualified = f"{tenant}/{name}"
    with reading() as session:
        (item,) = present.networks(session, [db_networks.get(session, qualified)])
        inside, _ = NOUNS["endpoints"].page(session, RELATED, network=qualified)
    related = [("endpoints", inside, item["endpoints"])]
    return render("network.html", "Networks", item=item, related=related, lead=words.network(item))


@blueprint.get("/hosts/<name>")
@allow(READERS)
def host(name: str) -> str:
    with reading() as session:
        (item,) = present.hosts(session, [db_hosts.get(session, name)])
        here, _ = NOUNS["endpoints"].page(session, RELATED, host=name)
    related = [("endpoints", here, item["endpoints"])]
    return render("host.html", "Hosts", item=item, related=related, lead=words.host(item, datetime.now(UTC)))


@blueprint.get("/endpoints/<tenant>/<name>")
@allow(TENANT_READERS)
def endpoint(tenant: str, name: str) -> str:
    with reading() as session:
        (item,) = endpoints_seen(session, [db_endpoints.get(session, f"{tenant}/{name}")])
    return render("endpoint.html", "Endpoints", item=item, lead=words.endpoint(item))
