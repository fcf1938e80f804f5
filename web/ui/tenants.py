"""Pages that change tenants: what they are, and whom they reach."""

from __future__ import annotations

from flask import Response

from db import bandwidth, isolation, quotas, tenants
from web import present
from web.api import tenants as api_tenants
from web.api.replies import Json
from web.api.schemas.isolation import Join, Peer
from web.api.schemas.tenant import TenantChange, TenantCreate
from web.auth.access import CHANGERS, allow
from web.state import reading
from web.ui import words
from web.ui.forms import (
    BOTH,
    LABELS,
    Change,
    Choice,
    Field,
    Values,
    Work,
    body,
    carried_out,
    in_lines,
    label_changes,
    number,
    pairs,
    seen_version,
    ticked,
)
from web.ui.frame import blueprint

MOST_CHOICES = 500
QUOTAS = {noun: f"At most {noun}" for noun in quotas.COUNTED} | {
    bandwidth.QUOTA: "At most bit/s of an endpoint, each way"
}
TENANT_FIELDS = (
    LABELS,
    Field("deny_ingress", "Deny ingress by default", "check", "Nobody may call an endpoint that no policy selects."),
    Field("deny_egress", "Deny egress by default", "check", "An endpoint that no policy selects may call nobody."),
    Field("track_all", "Track every connection", "check", "Costs throughput, and only policies need it."),
    *(Field(f"quota_{noun}", label, "number", "Empty: no limit.") for noun, label in QUOTAS.items()),
)
BARE = Field("without_network", "Without a network", "check", "Not even the network `default` is created.", rare=True)


@blueprint.route("/new/tenant", methods=BOTH)
@allow(CHANGERS)
def new_tenant() -> Response | str:
    work = Work(
        "Tenants",
        "New tenant",
        "A tenant owns networks and is kept apart from all other tenants. It comes with a network called `default`.",
        "Create",
        "/tenants",
        "Tenants",
        (Field("name", "Name", hint="Lower-case letters, digits and hyphens.", required=True), *TENANT_FIELDS, BARE),
    )

    def make(values: Values) -> Change:
        quota = {noun: number(values[f"quota_{noun}"]) for noun in QUOTAS if values[f"quota_{noun}"]}
        asked = body(
            TenantCreate,
            name=values["name"],
            labels=pairs(values["labels"], "labels"),
            track_all=bool(values["track_all"]),
            default_deny=_denied(values),
            quota=quota,
            default_network=not values["without_network"],
        )
        return lambda tx: present.tenant(tx.session, tenants.create(tx, **asked.model_dump()))

    return carried_out(work, make, onward=lambda values, made: f"/tenants/{values['name']}")


@blueprint.route("/tenants/<tenant>/edit", methods=BOTH)
@allow(CHANGERS)
def edit_tenant(tenant: str) -> Response | str:
    item, own = _tenant(tenant)
    quota = item["quota"]
    work = _of_tenant(item, f"Edit {tenant}", "Labels decide which policies mean it.", "Save")._replace(
        fields=TENANT_FIELDS,
        values={
            "labels": in_lines(own),
            "deny_ingress": ticked("ingress" in item["default_deny"]),
            "deny_egress": ticked("egress" in item["default_deny"]),
            "track_all": ticked(item["track_all"]),
            **{f"quota_{noun}": str(quota.get(noun, "")) for noun in QUOTAS},
        },
        undo=f"/tenants/{tenant}/edit",
    )

    def make(values: Values) -> Change:
        asked = body(
            TenantChange,
            labels=label_changes(values["labels"], own),
            track_all=bool(values["track_all"]),
            default_deny=_denied(values),
            quota={noun: number(values[f"quota_{noun}"]) for noun in QUOTAS},
        )
        return lambda tx: api_tenants.altered(tx, tenant, asked, seen_version())

    return carried_out(work, make)


def _denied(values: Values) -> list[str]:
    return [direction for direction in ("ingress", "egress") if values[f"deny_{direction}"]]


@blueprint.route("/tenants/<tenant>/delete", methods=BOTH)
@allow(CHANGERS)
def delete_tenant(tenant: str) -> Response | str:
    item, _ = _tenant(tenant)
    work = _of_tenant(item, f"Delete {tenant}", "It must have no endpoints. This cannot be undone.", "Delete")
    return carried_out(
        work._replace(breaks=lost_with(item), danger=True),
        lambda values: lambda tx: tenants.delete(tx, tenant, version=seen_version()),
        onward=lambda values, made: "/tenants",
    )


@blueprint.route("/tenants/<tenant>/join", methods=BOTH)
@allow(CHANGERS)
def join_tenant(tenant: str) -> Response | str:
    item, _ = _tenant(tenant)
    work = _of_tenant(
        item,
        f"Join {tenant} to another tenant",
        "All of their networks that are not isolated will reach each other, also those of tenants already joined.",
        "Join",
    )._replace(
        fields=(Field("to", "Tenant to join", "suggest", choices=others(tenant), required=True),),
        undo=f"/tenants/{tenant}/isolate",
    )
    if item["joined"]:
        mates = ", ".join(item["joined"])
        back = f"/tenants/{tenant}/join?to={item['joined'][0]}"
        work = work._replace(breaks=[f"It leaves {mates}, with whom it is joined now."], undo=back)

    def make(values: Values) -> Change:
        asked = body(Join, to=values["to"])
        return lambda tx: isolation.join(tx, tenant, asked.to, version=seen_version())

    return carried_out(work, make)


@blueprint.route("/tenants/<tenant>/isolate", methods=BOTH)
@allow(CHANGERS)
def isolate_tenant(tenant: str) -> Response | str:
    item, _ = _tenant(tenant)
    lost = lost_by_isolation(item)
    work = _of_tenant(item, f"Isolate {tenant}", "It gets a zone of its own. Its peerings stay.", "Isolate")
    mates = item["joined"]
    undo = f"/tenants/{tenant}/join?to={mates[0]}" if mates else f"/tenants/{tenant}/global"
    return carried_out(
        work._replace(breaks=lost, undo=undo if lost else ""),
        lambda values: lambda tx: isolation.isolate(tx, tenant, version=seen_version()),
    )


@blueprint.route("/tenants/<tenant>/global", methods=BOTH)
@allow(CHANGERS)
def globalise_tenant(tenant: str) -> Response | str:
    item, _ = _tenant(tenant)
    work = _of_tenant(
        item,
        f"Make {tenant} global",
        "Every tenant's networks that are not private will reach it, and it will reach them.",
        "Make global",
    )._replace(undo=f"/tenants/{tenant}/isolate", breaks=lost_by_opening(item))
    return carried_out(work, lambda values: lambda tx: isolation.make_global(tx, tenant, version=seen_version()))


@blueprint.route("/tenants/<tenant>/peer", methods=BOTH)
@allow(CHANGERS)
def peer_tenant(tenant: str) -> Response | str:
    item, _ = _tenant(tenant)
    lead = "The two will reach each other. It opens nothing to any other tenant."
    other = Field("with", "Tenant to peer with", "suggest", choices=others(tenant), required=True)
    work = _of_tenant(item, f"Peer {tenant} with another tenant", lead, "Peer")._replace(fields=(other,))

    def make(values: Values) -> Change:
        asked = body(Peer, **{"with": values["with"]})
        return lambda tx: isolation.peer(tx, tenant, asked.other, version=seen_version())

    return carried_out(work, make)


@blueprint.route("/tenants/<tenant>/peers/<peer>/end", methods=BOTH)
@allow(CHANGERS)
def unpeer_tenant(tenant: str, peer: str) -> Response | str:
    item, _ = _tenant(tenant)
    work = _of_tenant(
        item, f"End the peering of {tenant} and {peer}", "They no longer reach each other, unless joined.", "End it"
    )._replace(danger=True, undo=f"/tenants/{tenant}/peer?with={peer}")
    return carried_out(work, lambda values: lambda tx: isolation.unpeer(tx, tenant, peer, version=seen_version()))


# ---- what is lost by it ----


def lost_with(item: Json) -> list[str]:
    lost = [f"Its {words.many(item['networks'], 'network')}, its policies and the roles in it go, too."]
    if item["joined"] or item["peers"]:
        lost.append(f"{', '.join([*item['joined'], *item['peers']])} no longer reach it.")
    return lost


def lost_by_isolation(item: Json) -> list[str]:
    if item["isolation"] == "global":
        return ["It is no longer global: only its peers reach it."]
    return [f"It leaves {', '.join(item['joined'])}: their connections stop."] if item["joined"] else []


def lost_by_opening(item: Json) -> list[str]:
    return [f"It is no longer joined with {', '.join(item['joined'])}."] if item["joined"] else []


def _tenant(name: str) -> tuple[Json, dict[str, str]]:
    """A tenant, and those of its labels that may be changed."""
    with reading() as session:
        row = tenants.get(session, name)
        return present.tenant(session, row), dict(row.labels)


def _of_tenant(item: Json, title: str, lead: str, verb: str) -> Work:
    name = item["name"]
    return Work("Tenants", title, lead, verb, f"/tenants/{name}", name, version=item["version"])


def others(but: str = "") -> list[Choice]:
    with reading() as session:
        found = tenants.find(session, limit=MOST_CHOICES).items
    return [(row.name, row.name) for row in found if row.name != but]
