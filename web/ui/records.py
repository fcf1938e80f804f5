"""Pages of names: static records, and what Warren's names end in.

Names of endpoints are the endpoints' own. Which name is seen by whom is decided where names are given to hosts.
"""

from __future__ import annotations

from flask import Response, request, url_for

from db import networks, records, tenants
from db.changes import Transaction
from db.errors import Conflict
from web import present
from web.api.dns import ends, stands
from web.api.replies import Json
from web.api.schemas.dns import DnsChange, RecordPut
from web.auth.access import CHANGERS, SIGHT, TENANT_ADMINS, TENANT_READERS, allow, enter
from web.state import reading
from web.ui.chips import order
from web.ui.forms import BOTH, Change, Choice, Field, Values, Work, body, carried_out, lines, seen_version
from web.ui.frame import blueprint, narrowed_to, render, text_asked

PER_PAGE = 100
MOST_CHOICES = 500
OF_TENANT = "/records/<tenant>/<name>"
OF_NETWORK = "/records/<tenant>/<network>/<name>"
ADDRESSES = Field("addresses", "Addresses", "lines", "One or more, like 10.20.0.200 or fd00:20::200.")


@blueprint.get("/records", endpoint="records")
@allow(TENANT_READERS, by=SIGHT)
def listed() -> str:
    sort = request.args.get("sort") or None
    with reading() as session:
        page = records.find(
            session,
            tenant=narrowed_to(),
            text=text_asked() or None,
            sort=sort,
            cursor=request.args.get("cursor"),
            limit=PER_PAGE,
        )
        items, domain = present.records(session, page.items), records.settings(session).domain
    return render("records.html", "Names", items=items, next=page.next, domain=domain, order=order(sort or "created"))


@blueprint.route("/new/record", methods=BOTH)
@allow(TENANT_ADMINS, by=SIGHT)
def new_record() -> Response | str:
    scope = request.args.get("scope", "")[:127]
    fields = (
        Field("scope", "Where", "suggest", "A tenant, or one of its networks: acme/web.", _scopes(), required=True),
        Field("name", "Name", hint="Lower-case letters, digits and hyphens.", required=True),
        ADDRESSES,
    )
    lead = "A name that no endpoint has: of something outside, or of several addresses."
    work = Work("Names", "New record", lead, "Create", *_back(scope), fields, {"scope": scope})

    def make(values: Values) -> Change:
        where, name = values["scope"], values["name"]
        enter([where.partition("/")[0]])
        wanted = body(RecordPut, addresses=lines(values["addresses"]))

        def create(tx: Transaction) -> Json:
            record, made = records.put(tx, where, name, wanted.addresses)
            if not made:
                raise Conflict(f"record {name} of {where} exists already", "edit that one, or choose another", "name")
            return present.record(tx.session, record)

        return create

    return carried_out(work, make, tells=stands, onward=lambda values, made: _back(values["scope"])[0])


@blueprint.route(f"{OF_TENANT}/edit", methods=BOTH)
@blueprint.route(f"{OF_NETWORK}/edit", methods=BOTH)
@allow(TENANT_ADMINS)
def edit_record(tenant: str, name: str, network: str = "") -> Response | str:
    item = _record(tenant, network, name)
    scope, before = item["scope"], item["addresses"]
    work = _of_record(item, f"Edit {item['full_name']}", f"It stands for {', '.join(before)} now.", "Save")
    work = work._replace(
        fields=(ADDRESSES,), values={"addresses": "\n".join(before)}, undo=f"/records/{scope}/{name}/edit"
    )

    def make(values: Values) -> Change:
        wanted = body(RecordPut, addresses=lines(values["addresses"]))

        def change(tx: Transaction) -> Json:
            records.get(tx.session, scope, name)  # one that went meanwhile is not made anew
            record, _ = records.put(tx, scope, name, wanted.addresses, version=seen_version())
            return present.record(tx.session, record)

        return change

    return carried_out(work, make, tells=stands)


@blueprint.route(f"{OF_TENANT}/delete", methods=BOTH)
@blueprint.route(f"{OF_NETWORK}/delete", methods=BOTH)
@allow(TENANT_ADMINS)
def delete_record(tenant: str, name: str, network: str = "") -> Response | str:
    item = _record(tenant, network, name)
    full, addresses = item["full_name"], item["addresses"]
    work = _of_record(item, f"Delete {full}", "What is connected stays connected.", "Delete")
    again = url_for("ui.new_record", scope=item["scope"], name=name, addresses=" ".join(addresses))
    work = work._replace(
        danger=True,
        undo=again,
        breaks=[f"Who asks for {full} is told that there is no such name, not {', '.join(addresses)}."],
    )

    def gone(tx: Transaction) -> None:
        records.delete(tx, item["scope"], name, version=seen_version())

    return carried_out(work, lambda values: gone, tells=lambda made: [ends(item)])


@blueprint.route("/cluster/domain", methods=BOTH)
@allow(CHANGERS)
def edit_domain() -> Response | str:
    with reading() as session:
        now = records.settings(session)
    work = Work(
        "Settings",
        "What full names end in",
        f"web1 of network acme/web is `web1.web.acme.{now.domain}` in full.",
        "Change",
        "/settings",
        "Settings",
        (Field("domain", "Domain", hint="At least two labels, like warren.internal.", required=True),),
        {"domain": now.domain},
        [f"Names that end in {now.domain} are not found any more. Containers that run keep it as their search domain."],
        version=now.version,
        undo=url_for("ui.edit_domain", domain=now.domain),
    )

    def make(values: Values) -> Change:
        wanted = body(DnsChange, domain=values["domain"])
        return lambda tx: records.set_domain(tx, wanted.domain, version=seen_version())._asdict()

    return carried_out(work, make, tells=lambda made: [f"Full names end in {made['domain']}."])


def _record(tenant: str, network: str, name: str) -> Json:
    with reading() as session:
        return present.record(session, records.get(session, f"{tenant}/{network}" if network else tenant, name))


def _of_record(item: Json, title: str, lead: str, verb: str) -> Work:
    return Work("Names", title, lead, verb, *_back(item["scope"]), version=item["version"])


def _back(scope: str) -> tuple[str, str]:
    """The list that a record is in."""
    tenant = scope.partition("/")[0]
    return url_for("ui.records", tenant=tenant or None), f"Names of {tenant}" if tenant else "Names"


def _scopes() -> list[Choice]:
    with reading() as session:
        found = [row.name for row in tenants.find(session, limit=MOST_CHOICES).items]
        found += [row.qualified_name for row in networks.find(session, limit=MOST_CHOICES).items]
    return [(name, name) for name in sorted(found)]
