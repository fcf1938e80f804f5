"""Pages of published ports: the list, and how one is opened and closed.

Says who gets in by it; which ports are free, and what stands beside what, `db` decides.
"""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Response, request, url_for

from db import endpoints, publications
from db.changes import Transaction
from web.api import publications as api_publications
from web.api.ports import at, closes, document, opens, span
from web.api.replies import Json
from web.api.schemas.publication import PublicationCreate
from web.auth.access import SIGHT, TENANT_ADMINS, TENANT_READERS, allow
from web.state import reading
from web.ui.chips import order
from web.ui.forms import BOTH, Change, Field, Values, Work, body, carried_out, number, ticked
from web.ui.frame import blueprint, narrowed_to, render, text_asked

PER_PAGE = 100
MOST_CHOICES = 500
CHOSEN = "A free one is chosen; it is told when it is done, and may be another than the one shown here."


@blueprint.get("/publications", endpoint="publications")
@allow(TENANT_READERS, by=SIGHT)
def listed() -> str:
    sort, host = request.args.get("sort") or None, request.args.get("host", "").strip()[:63]
    with reading() as session:
        page = publications.find(
            session,
            tenant=narrowed_to(),
            host=host or None,
            text=text_asked() or None,
            sort=sort,
            cursor=request.args.get("cursor"),
            limit=PER_PAGE,
        )
        items = api_publications.documents(session, page.items)
    return render("publications.html", "Ports", items=items, next=page.next, host=host, order=order(sort or "created"))


@blueprint.route("/new/publication", methods=BOTH)
@allow(TENANT_ADMINS, by=SIGHT)
def new_publication() -> Response | str:
    asked = request.args.get("endpoint", "")[:127]
    with reading() as session:
        names = endpoints.names(session, MOST_CHOICES)
    fields = (
        Field("endpoint", "Endpoint", "suggest", choices=[(name, name) for name in names], required=True),
        Field("protocol", "Protocol", "select", choices=[(name, name.upper()) for name in publications.PROTOCOLS]),
        Field("port", "Port of the endpoint", "number", "Of several the first.", required=True),
        Field("host_port", "Port of the host", "number", "Of several the first; empty: a free one is chosen."),
        Field("count", "How many ports", "number", "That follow each other; empty: one."),
        Field("host_ip", "Address of the host", hint="Empty: any; 0.0.0.0 or :: any of one family."),
        Field("mesh", "By all hosts", "check", "Wherever the endpoint is, also when it moves."),
    )
    work = Work(
        "Ports",
        "Publish a port",
        "Whoever reaches the host by it reaches the endpoint: isolation is not asked, policies are.",
        "Publish",
        f"/endpoints/{asked}" if asked else "/publications",
        asked or "Ports",
        fields,
        {"endpoint": asked, "protocol": "tcp"},
    )

    def make(values: Values) -> Change:
        wanted = body(
            PublicationCreate,
            endpoint=values["endpoint"],
            protocol=values["protocol"],
            port=number(values["port"]),
            host_port=number(values["host_port"]),
            count=number(values["count"]),
            host_ip=values["host_ip"] or None,
            mesh=bool(values["mesh"]),
        )

        def publish(tx: Transaction) -> Json:
            made = api_publications.made(tx, wanted)
            return made | {"told": [CHOSEN]} if not wanted.host_port else made

        return publish

    return carried_out(
        work, make, tells=opens, onward=lambda values, made: f"/endpoints/{values['endpoint']}" if asked else work.back
    )


@blueprint.route("/publications/<tenant>/<endpoint>/<int:publication>/end", methods=BOTH)
@allow(TENANT_ADMINS)
def unpublish(tenant: str, endpoint: str, publication: int) -> Response | str:
    name = f"{tenant}/{endpoint}"
    with reading() as session:
        item = document(publications.get(session, name, publication))
    where = at(item)
    breaks = [f"Connections that came by {where} end at once, and nobody reaches {name} by it any more."]
    if item["by_runtime"]:
        breaks.append("The container's runtime asked for it, and asks again only when the container is started anew.")
    facts = {field: item[field] for field in ("endpoint", "protocol", "port", "host_port", "count", "host_ip")}
    facts |= {"mesh": ticked(item["mesh"])}
    again = f"{url_for('ui.new_publication')}?{urlencode({field: value for field, value in facts.items() if value})}"
    work = Work(
        "Ports",
        f"Unpublish {where}",
        f"It leads to {span(item['port'], item['count'])} of {name}.",
        "Unpublish",
        f"/endpoints/{name}",
        name,
        breaks=breaks,
        danger=True,
        undo=again,
    )
    return carried_out(
        work,
        lambda values: lambda tx: publications.withdraw(tx, name, publication),
        tells=lambda made: [closes(item)],
    )
