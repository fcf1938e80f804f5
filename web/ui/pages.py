"""Lists and details: what is asked of the database for each, and the sentence on top."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from flask import request

from db import endpoints as db_endpoints
from db import hosts as db_hosts
from db import networks as db_networks
from db import policies as db_policies
from db import publications as db_publications
from db import records as db_records
from db import summary, traffic
from db import tenants as db_tenants
from db.pages import MAX_LIMIT
from web import present
from web.api import publications
from web.api.replies import labels_asked
from web.api.selecting import selecting
from web.api.traffic import Seen, seen
from web.auth.access import READERS, SIGHT, TENANT_READERS, allow
from web.history import rates
from web.state import reading, reading_all, state
from web.ui import words
from web.ui.bulk import BULKS
from web.ui.chips import chips, looked_at, order
from web.ui.columns import COLUMNS
from web.ui.frame import blueprint, may_open, render, text_asked
from web.ui.looks import look
from web.ui.nouns import NOUNS, endpoints_seen, nouns
from web.ui.overview import last_changes
from web.ui.traffic import chart
from web.ui.tunnels import tunnels_of

Json = dict[str, Any]
ON_SEARCH = 20
RELATED = 20
PER_PAGE = 100

FILTERS: Mapping[str, tuple[str, ...]] = {
    "hosts": (),
    "tenants": (),
    "networks": ("tenant",),
    "endpoints": ("tenant", "network", "host", "state"),
}
"""What a list can be asked for, besides a text and labels."""


def listing(name: str, lead: Callable[[list[Json]], str]) -> str:
    text, labels = text_asked() or None, request.args.getlist("label")[:8]
    given = {field: value for field in FILTERS[name] if (value := request.args.get(field, "").strip()[:130])}
    asked: Json = {**given, "labels": labels_asked(labels), "text": text}
    sort = request.args.get("sort") or None
    with reading() as session:
        cursor = request.args.get("cursor")
        items, onward = NOUNS[name].page(session, PER_PAGE, **asked, sort=sort, cursor=cursor)
        total = summary.COUNTED[name].count(session, **asked)  # type: ignore[attr-defined]
        beside = look(session, name, at) if (at := looked_at()) else None
    return render(
        "list.html",
        name.capitalize(),
        noun=name,
        items=items,
        next=onward,
        total=total,
        lead=lead(items),
        fields=FILTERS[name],
        given=given,
        labels=labels,
        chips=chips(name, given, labels, text),
        order=order(sort),
        bulks=[one for one in BULKS[name] if may_open(f"ui.{one.view}")],
        shown_columns=COLUMNS[name],
        look=beside,
    )


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
    records: list[Json] = []
    policies: list[Json] = []
    if query:
        with reading() as session:
            found = {name: noun.page(session, ON_SEARCH, text=query)[0] for name, noun in nouns().items()}
            counts = {name: summary.count(session, name, query) for name in nouns()}
            records = present.records(session, db_records.find(session, text=query, limit=MAX_LIMIT).items)
            policies = present.policies(session, db_policies.find(session, text=query, limit=MAX_LIMIT).items)
        counts |= {"DNS records": len(records), "policies": len(policies)}
    facts = {"found": found, "records": records, "policies": policies, "most": ON_SEARCH}
    return render("search.html", "Search", **facts, lead=words.found(query, counts))


@blueprint.get("/tenants/<tenant>")
@allow(TENANT_READERS)
def tenant(tenant: str) -> str:
    with reading() as session:
        item = present.tenant(session, db_tenants.get(session, tenant))
        own_networks, _ = NOUNS["networks"].page(session, RELATED, tenant=tenant)
        own_endpoints, _ = NOUNS["endpoints"].page(session, RELATED, tenant=tenant)
        down = summary.COUNTED["endpoints"].count(session, tenant=tenant, state="down")  # type: ignore[attr-defined]
        policies = present.policies(session, db_policies.find(session, tenant=tenant, limit=RELATED).items)
        records = present.records(session, db_records.find(session, tenant=tenant, limit=RELATED).items)
        changes = last_changes(session, tenant=tenant)
    related = [
        ("networks", own_networks, item["networks"], {"tenant": tenant}),
        ("endpoints", own_endpoints, item["endpoints"], {"tenant": tenant}),
    ]
    facts = {"policies": policies, "records": records, "changes": changes, "down": down}
    return render("tenant.html", "Tenants", item=item, related=related, lead=words.tenant(item, down), **facts)


@blueprint.get("/networks/<tenant>/<name>")
@allow(TENANT_READERS)
def network(tenant: str, name: str) -> str:
    qualified = f"{tenant}/{name}"
    with reading() as session:
        row = db_networks.get(session, qualified)
        (item,) = present.networks(session, [row])
        found = seen(session, traffic.placed(session, network=row.id))
        inside, _ = NOUNS["endpoints"].page(session, RELATED, network=qualified)
        everything = present.records(session, db_records.find(session, tenant=tenant, limit=1000).items)
        changes = last_changes(session, noun="network", name=qualified, tenant=tenant)
    records = [record for record in everything if record["scope"] == qualified][:RELATED]
    related = [("endpoints", inside, item["endpoints"], {"network": qualified})]
    facts = {"records": records, "changes": changes, **drawn(found)}
    return render("network.html", "Networks", item=item, related=related, lead=words.network(item), **facts)


@blueprint.get("/hosts/<name>")
@allow(READERS)
def host(name: str) -> str:
    samples = state().history.samples()
    with reading() as session:
        row = db_hosts.get(session, name)
        (item,) = present.hosts(session, [row])
        hosts, _ = NOUNS["hosts"].page(session, summary.MOST_HOSTS)
        found, carried = seen(session, traffic.placed(session, host=row.id)), tunnels_of(session, name, hosts)
        here, _ = NOUNS["endpoints"].page(session, RELATED, host=name)
        changes = last_changes(session, noun="host", name=name)
    related = [("endpoints", here, item["endpoints"], {"host": name})]
    lead = words.host(item, datetime.now(UTC))
    facts = {"changes": changes, "drops": rates(samples, name), "tunnels": carried, **drawn(found)}
    return render("host.html", "Hosts", item=item, related=related, lead=lead, **facts)


@blueprint.get("/endpoints/<tenant>/<name>")
@allow(TENANT_READERS)
def endpoint(tenant: str, name: str) -> str:
    qualified = f"{tenant}/{name}"
    with reading() as session:
        row = db_endpoints.get(session, qualified)
        (item,) = endpoints_seen(session, [row])
        found = seen(session, [(row.id, row.host_id)])
        everything = present.records(session, db_records.find(session, tenant=tenant, limit=1000).items)
        changes = last_changes(session, noun="endpoint", name=qualified, tenant=tenant)
        published = publications.documents(session, db_publications.of_endpoint(session, row.id))
    own = {address.partition("/")[0] for address in item["addresses"]}
    records = [record for record in everything if own & set(record["addresses"])][:RELATED]
    with reading_all() as session:
        policies = selecting(session, row.id)
    facts = {"records": records, "changes": changes, "policies": policies, "publications": published, **drawn(found)}
    return render("endpoint.html", "Endpoints", item=item, lead=words.endpoint(item), **facts)


def drawn(found: Seen) -> Json:
    return {"traffic": found, "chart": chart(found.rates, time.time())}
