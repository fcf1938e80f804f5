"""Pages that change networks and endpoints, and the page that tells how far a change has come.

Each says what it will do and what is lost by it; who reaches whom before and after is shown before it is confirmed.
"""

from __future__ import annotations

from flask import Response, request

from controller.transport import TRANSPORTS
from db import endpoints, networks
from db.layout import PER_HOST, SHARED
from web import present
from web.api import endpoints as api_endpoints
from web.api import networks as api_networks
from web.api.replies import Json
from web.api.revisions import awaited
from web.api.schemas.endpoint import EndpointChange
from web.api.schemas.network import NetworkChange, NetworkCreate
from web.auth.access import ANYONE_KNOWN, SIGHT, TENANT_ADMINS, TENANT_OPERATORS, allow
from web.state import reading
from web.ui import words
from web.ui.forms import (
    BOTH,
    LABELS,
    Change,
    Field,
    Values,
    Work,
    body,
    carried_out,
    in_lines,
    invalid,
    label_changes,
    lines,
    number,
    pairs,
    seen_version,
    ticked,
    unless,
)
from web.ui.frame import blueprint, render
from web.ui.sign_in import local
from web.ui.tenants import others

REACH = (("", "All of its tenant's networks"), ("on", "Only itself: isolated"))
NETWORK_FIELDS = (
    LABELS,
    Field("isolated", "Reaches", "select", choices=REACH),
    Field("outbound", "Way out", "check", "Its endpoints reach the outside, with their host's address."),
    Field("broadcast", "Broadcast and multicast", "check", "What is sent to all reaches all of its endpoints."),
    Field("transport", "Transport", "select", choices=[(name, name) for name in TRANSPORTS]),
    Field("physical", "Physical segment", hint="Only for vlan: the name that hosts have for it.", rare=True),
    Field("vlan", "VLAN tag", "number", "Only for vlan; empty: frames without a tag.", rare=True),
    Field("cross_subnet", "Tunnel to other segments", "check", "Only for host-gw.", rare=True),
    Field("mtu", "MTU", "number", "Empty: what the transport leaves.", rare=True),
)
RANGES = Field("ip_ranges", "Addresses are chosen from", "lines", "Like 10.20.0.128/25; empty: all.", rare=True)
EXCLUDES = Field("excludes", "Nobody gets", "lines", "Addresses, and ranges like 10.20.0.8-10.20.0.15.", rare=True)
STRICT = Field(
    "strict", "Hosts keep to their blocks", "check", "Only with blocks: none takes addresses from another's.", rare=True
)
LAYOUT = (
    Field("gateways", "Gateways", "lines", "Empty: the first usable address of each subnet.", rare=True),
    RANGES,
    EXCLUDES,
    Field("aux_addresses", "Used by others", "lines", "By name, one a line, like router=10.20.0.254.", rare=True),
    Field("block_sizes", "Blocks of hosts", "lines", "Prefix lengths, one per IP version; empty: 26 122.", rare=True),
)
"""Of subnets that are new."""
PLANS = ((SHARED, "Hosts share the addresses of each subnet"), (PER_HOST, "Each host has blocks of its own"))


ALLOWED = (
    "Further addresses of its network, or ranges, one per line. After an address its MAC if that is another, and "
    "`active` to take over an address that others may use, too."
)


@blueprint.get("/changes/<int:revision>")
@allow(ANYONE_KNOWN)
def change(revision: int) -> str:
    """How far a change has come; leads back to what was changed."""
    found = awaited(min(revision, 2**53), 0, names_but="")
    back, undo = local(request.args.get("back")), request.args.get("undo")
    return render(
        "change.html",
        "Overview",
        found=found,
        lead=words.change(found),
        back=back,
        undo=local(undo) if undo else None,
    )


# ---- networks ----


@blueprint.route("/new/network", methods=BOTH)
@allow(TENANT_ADMINS, by=SIGHT)
def new_network() -> Response | str:
    asked = request.args.get("tenant", "")
    choices = others()
    fields = (
        Field("tenant", "Tenant", "suggest", choices=choices, required=True),
        Field("name", "Name", hint="Within the tenant: lower-case letters, digits and hyphens.", required=True),
        Field("subnets", "Subnets", "lines", "Like 10.20.0.0/24; empty: an IPv4 and an IPv6 one from the pools."),
        Field("private", "Private", "check", "May overlap other tenants' subnets; only its own zone reaches it."),
        *NETWORK_FIELDS,
        Field("plan", "Address plan", "select", choices=PLANS, rare=True),
        *LAYOUT,
        STRICT,
        Field("of_pools", "Subnets from pools", "check", "Those above may be ones that pools give out.", rare=True),
    )
    work = Work(
        "Networks",
        "New network",
        "One segment with its own subnets; its endpoints reach each other on whichever host they are.",
        "Create",
        f"/tenants/{asked}" if asked else "/networks",
        asked or "Networks",
        fields,
        {"tenant": asked or (choices[0][0] if len(choices) == 1 else ""), "transport": "vxlan", "outbound": "on"},
    )

    def make(values: Values) -> Change:
        wanted = body(
            NetworkCreate,
            name=f"{values['tenant']}/{values['name']}",
            subnets=lines(values["subnets"]) or None,
            plan=values["plan"] or None,
            strict=bool(values["strict"]),
            private=bool(values["private"]),
            isolated=bool(values["isolated"]),
            outbound=bool(values["outbound"]),
            broadcast=bool(values["broadcast"]),
            mtu=number(values["mtu"]),
            transport=values["transport"],
            physical=values["physical"] or None,
            vlan=number(values["vlan"]),
            cross_subnet=bool(values["cross_subnet"]),
            labels=pairs(values["labels"], "labels"),
            of_pools=bool(values["of_pools"]),
            **laid(values),
        )
        return lambda tx: api_networks.made(tx, wanted)

    return carried_out(work, make, onward=lambda values, made: f"/networks/{values['tenant']}/{values['name']}")


def laid(values: Values) -> dict[str, object]:
    """What `LAYOUT` says of a new subnet."""
    return {
        "gateways": lines(values["gateways"]),
        "ip_ranges": lines(values["ip_ranges"]),
        "excludes": lines(values["excludes"]),
        "aux_addresses": pairs(values["aux_addresses"], "aux_addresses", "router=10.20.0.254"),
        "block_sizes": [number(one) for one in lines(values["block_sizes"])],
    }


@blueprint.route("/networks/<tenant>/<network>/edit", methods=BOTH)
@allow(TENANT_ADMINS)
def edit_network(tenant: str, network: str) -> Response | str:
    item = _network(tenant, network)
    name = item["name"]
    work = _of_network(item, f"Edit {name}", "What is running keeps running, also on another transport.", "Save")
    ranges = [subnet["ip_range"] for subnet in item["subnets"] if subnet["ip_range"]]
    excludes = [one for subnet in item["subnets"] for one in subnet["excludes"]]
    work = work._replace(
        fields=(*NETWORK_FIELDS, RANGES, EXCLUDES, STRICT),
        values={
            "labels": in_lines(item["labels"]),
            "outbound": ticked(item["outbound"]),
            "ip_ranges": "\n".join(ranges),
            "excludes": "\n".join(excludes),
            "strict": ticked(item["strict"]),
            "isolated": ticked(item["isolated"]),
            "broadcast": ticked(item["broadcast"]),
            "mtu": str(item["own_mtu"] or ""),
            "transport": item["transport"],
            "physical": item["physical"] or "",
            "vlan": str(item["vlan"] or ""),
            "cross_subnet": ticked(item["cross_subnet"]),
        },
        undo=f"/networks/{name}/edit",
    )

    def make(values: Values) -> Change:
        moved = (values["transport"], values["physical"] or None) != (item["transport"], item["physical"])
        moved = moved or number(values["vlan"]) != (item["vlan"] or None)
        said = {"labels": label_changes(values["labels"], item["labels"])}
        wanted = body(
            NetworkChange,
            **said,
            isolated=bool(values["isolated"]),
            broadcast=bool(values["broadcast"]),
            outbound=bool(values["outbound"]),
            ip_ranges=unless(ranges, lines(values["ip_ranges"])),
            excludes=unless(excludes, lines(values["excludes"])),
            strict=unless(item["strict"], bool(values["strict"])),
            transport=values["transport"] if moved else None,
            physical=(values["physical"] or None) if moved else None,
            vlan=(number(values["vlan"]) or 0) if moved and values["physical"] else None,
            cross_subnet=bool(values["cross_subnet"]),
            mtu=number(values["mtu"]),
        )
        if not values["mtu"]:
            wanted = wanted.model_copy(update={"mtu": None})
            wanted.model_fields_set.add("mtu")
        return lambda tx: api_networks.altered(tx, name, wanted, seen_version())

    return carried_out(work, make)


@blueprint.route("/networks/<tenant>/<network>/delete", methods=BOTH)
@allow(TENANT_ADMINS)
def delete_network(tenant: str, network: str) -> Response | str:
    item = _network(tenant, network)
    name = item["name"]
    cidrs = ", ".join(subnet["cidr"] for subnet in item["subnets"])
    work = _of_network(item, f"Delete {name}", "It must have no endpoints. This cannot be undone.", "Delete")
    return carried_out(
        work._replace(danger=True, breaks=[f"Its subnets {cidrs} and the reservations in them go, too."]),
        lambda values: lambda tx: networks.delete(tx, name, version=seen_version()),
        onward=lambda values, made: f"/tenants/{tenant}",
    )


def _network(tenant: str, network: str) -> Json:
    with reading() as session:
        return present.network(session, networks.get(session, f"{tenant}/{network}"))


def _of_network(item: Json, title: str, lead: str, verb: str) -> Work:
    name = item["name"]
    return Work("Networks", title, lead, verb, f"/networks/{name}", name, version=item["version"])


# ---- endpoints ----


@blueprint.route("/endpoints/<tenant>/<endpoint>/edit", methods=BOTH)
@allow(TENANT_OPERATORS)
def edit_endpoint(tenant: str, endpoint: str) -> Response | str:
    item = _endpoint(tenant, endpoint)
    name = item["name"]
    ports = "\n".join(f"{port['name']}={port['port']}/{port['protocol']}" for port in item["ports"])
    own = item["mac"]
    allowed = "\n".join(
        f"{one['address']} {one['mac'] if one['mac'] != own else ''}".strip() for one in item["allowed"]
    )
    work = Work(
        "Endpoints",
        f"Edit {name}",
        "Labels and the names of ports decide which policies mean it.",
        "Save",
        f"/endpoints/{name}",
        name,
        (
            LABELS,
            Field("ports", "Named ports", "lines", "One a line, like http=80/tcp."),
            Field("allowed", "Also sends from", "lines", ALLOWED, rare=True),
            Field("move_to", "May move to", hint="The host whose agent may take it once; empty: none.", rare=True),
        ),
        {"labels": in_lines(item["labels"]), "ports": ports, "allowed": allowed, "move_to": item["move_to"] or ""},
        version=item["version"],
        undo=f"/endpoints/{name}/edit",
    )

    def make(values: Values) -> Change:
        named = [
            {"name": key, "port": number(value.partition("/")[0]), "protocol": value.partition("/")[2] or "tcp"}
            for key, value in pairs(values["ports"], "ports", "http=80/tcp").items()
        ]
        changes = label_changes(values["labels"], item["labels"])
        wanted = body(
            EndpointChange,
            labels=changes,
            ports=named,
            allowed=None if values["allowed"] == allowed else further(values["allowed"]),
            move_to=unless(item["move_to"] or "", values["move_to"]),
        )
        return lambda tx: api_endpoints.altered(tx, name, wanted, seen_version())

    return carried_out(work, make)


def further(text: str) -> list[Json]:
    """`10.20.0.100 02:00:0a:14:00:64 active`, one a line."""
    found: list[Json] = []
    for line in text.splitlines():
        address, *more = line.split() or [""]
        macs = [one for one in more if one != "active"]
        if len(macs) > 1:
            raise invalid("allowed", f"'{line[:80]}' has too many words; write an address, its MAC and `active`.")
        if address:
            found.append({"address": address, "active": "active" in more, **({"mac": macs[0]} if macs else {})})
    return found


@blueprint.route("/endpoints/<tenant>/<endpoint>/delete", methods=BOTH)
@allow(TENANT_OPERATORS)
def delete_endpoint(tenant: str, endpoint: str) -> Response | str:
    item = _endpoint(tenant, endpoint)
    name = item["name"]
    addresses = ", ".join(item["addresses"])
    work = Work(
        "Endpoints",
        f"Delete {name}",
        "This cannot be undone: its container has to be attached again.",
        "Delete",
        f"/endpoints/{name}",
        name,
        breaks=[f"Its interface on {item['host']} goes at once, and {addresses} are free for others."],
        danger=True,
        version=item["version"],
    )
    return carried_out(
        work,
        lambda values: lambda tx: endpoints.delete(tx, name, version=seen_version()),
        onward=lambda values, made: f"/networks/{item['network']}",
    )


def _endpoint(tenant: str, endpoint: str) -> Json:
    with reading() as session:
        return present.endpoint(endpoints.get(session, f"{tenant}/{endpoint}"))
