"""Pages of addresses: how full pools and subnets are, blocks, reservations, and what does not agree."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from flask import Response, request

from db import ipam, networks, pools, reservations
from db.changes import Transaction
from web import present
from web.api import networks as api_networks
from web.api.replies import Json
from web.api.schemas.address import PoolChange, PoolCreate, ReservationCreate
from web.api.schemas.network import SubnetCreate
from web.auth.access import CHANGERS, READERS, TENANT_ADMINS, TENANT_READERS, allow
from web.state import reading
from web.ui.changes import LAYOUT, laid
from web.ui.forms import BOTH, Change, Field, Values, Work, body, carried_out, lines, number, seen_version
from web.ui.frame import blueprint, render, text_asked

PER_PAGE = 50
STATES = (("enabled", "enabled"), ("disabled", "disabled: no new subnets"), ("draining", "draining: no new addresses"))


class Part(NamedTuple):
    """A piece of a picture that is 100 wide."""

    at: float
    width: float
    words: str


@blueprint.get("/addresses")
@allow(READERS)
def addresses() -> str:
    now = datetime.now(UTC)
    with reading() as session:
        page = networks.find(session, text=text_asked() or None, cursor=request.args.get("cursor"), limit=PER_PAGE)
        return render(
            "addresses.html",
            "Addresses",
            pools=present.pools(session, pools.find(session).items),
            items=present.address_usage(session, page.items),
            next=page.next,
            warnings=ipam.warnings(session, now),
            wrong=len(ipam.check(session, now)),
        )


@blueprint.get("/networks/<tenant>/<network>/addresses")
@allow(TENANT_READERS)
def network_addresses(tenant: str, network: str) -> str:
    with reading() as session:
        row = networks.get(session, f"{tenant}/{network}")
        (item,) = present.address_usage(session, [row])
    pictures = {subnet["cidr"]: list(_blocks(subnet)) for subnet in item["subnets"]}
    return render("network_addresses.html", "Addresses", item=item, tenant=tenant, pictures=pictures)


def _blocks(subnet: Json) -> Iterator[Part]:
    """The hosts' blocks where they are in their subnet."""
    whole = ipaddress.ip_network(subnet["cidr"])
    for block in subnet["blocks"]:
        part = ipaddress.ip_network(block["cidr"])
        at = (int(part.network_address) - int(whole.network_address)) / whole.num_addresses
        width = part.num_addresses / whole.num_addresses
        words = f"{block['cidr']}, {block['host']}: {block['used']} of {block['size']} used"
        yield Part(round(100 * at, 3), round(100 * width, 3), words)


@blueprint.route("/networks/<tenant>/<network>/reserve", methods=BOTH)
@allow(TENANT_ADMINS)
def reserve(tenant: str, network: str) -> Response | str:
    work = _of_network(tenant, network, "Reserve addresses", "They are kept for the endpoint of that name.", "Reserve")
    fields = (
        Field("name", "Name", hint="Of the endpoint that gets them.", required=True),
        Field("addresses", "Addresses", "lines", "At most one per IP version; empty: the next free ones."),
        Field("expires_at", "Until", "moment", "Empty: for ever. A day, ending at midnight UTC."),
    )

    def make(values: Values) -> Change:
        until = f"{values['expires_at']}T00:00:00Z" if values["expires_at"] else None
        given = lines(values["addresses"])
        wanted = body(ReservationCreate, name=values["name"], addresses=given, expires_at=until)
        name = f"{tenant}/{network}"
        return lambda tx: present.reservations(
            name, reservations.create(tx, name, wanted.name, addresses=wanted.addresses, expires_at=wanted.expires_at)
        )

    return carried_out(work._replace(fields=fields), make, previewed=False)


@blueprint.route("/networks/<tenant>/<network>/reservations/<reservation>/end", methods=BOTH)
@allow(TENANT_ADMINS)
def unreserve(tenant: str, network: str, reservation: str) -> Response | str:
    lead = "An endpoint that uses its addresses keeps them. Free ones may be given to others."
    work = _of_network(tenant, network, f"Delete the reservation of {reservation}", lead, "Delete")

    def make(values: Values) -> Change:
        return lambda tx: reservations.remove(tx, f"{tenant}/{network}", reservation)

    return carried_out(work._replace(danger=True), make, previewed=False)


@blueprint.route("/networks/<tenant>/<network>/extend", methods=BOTH)
@allow(TENANT_ADMINS)
def extend(tenant: str, network: str) -> Response | str:
    work = _of_network(tenant, network, f"Add a subnet to {tenant}/{network}", "The network stays one segment.", "Add")
    fields = (
        Field("subnet", "Subnet", hint="Like 10.21.0.0/24; empty: the next of a pool."),
        Field("family", "Family", "select", "Of a subnet from a pool.", (("4", "IPv4"), ("6", "IPv6"))),
        *LAYOUT,
    )

    def make(values: Values) -> Change:
        wanted = body(SubnetCreate, subnet=values["subnet"] or None, family=number(values["family"]), **laid(values))
        return lambda tx: api_networks.extended(tx, f"{tenant}/{network}", wanted)

    return carried_out(work._replace(fields=fields), make)


@blueprint.route("/networks/<tenant>/<network>/subnets/<address>/<int:prefix>/remove", methods=BOTH)
@allow(TENANT_ADMINS)
def shrink(tenant: str, network: str, address: str, prefix: int) -> Response | str:
    cidr = f"{address}/{prefix}"
    work = _of_network(tenant, network, f"Remove {cidr}", "No endpoint may have an address in it.", "Remove")
    breaks = ["The reservations in it go, too. This cannot be undone."]
    return carried_out(
        work._replace(danger=True, breaks=breaks),
        lambda values: lambda tx: networks.remove_subnet(tx, f"{tenant}/{network}", cidr),
    )


def _of_network(tenant: str, network: str, title: str, lead: str, verb: str) -> Work:
    with reading() as session:
        name = networks.get(session, f"{tenant}/{network}").qualified_name
    return Work("Addresses", title, lead, verb, f"/networks/{name}/addresses", f"Addresses of {name}")


@blueprint.route("/new/pool", methods=BOTH)
@allow(CHANGERS)
def new_pool() -> Response | str:
    fields = (
        Field("name", "Name", required=True),
        Field("cidr", "Addresses", hint="Like 10.132.0.0/14.", required=True),
        Field("prefix", "Prefix length of its subnets", "number", "Empty: 24 or 64."),
    )
    work = Work("Addresses", "New pool", "Networks created without a subnet get one from it.", "Create", *_BACK)

    def make(values: Values) -> Change:
        wanted = body(PoolCreate, name=values["name"], cidr=values["cidr"], prefix=number(values["prefix"]))
        return lambda tx: present.pool(tx.session, pools.create(tx, wanted.name, wanted.cidr, prefix=wanted.prefix))

    return carried_out(work._replace(fields=fields), make, previewed=False)


_BACK = ("/addresses", "Addresses")


@blueprint.route("/pools/<pool>/edit", methods=BOTH)
@allow(CHANGERS)
def edit_pool(pool: str) -> Response | str:
    item = _pool(pool)
    lead = "Subnets that it has given out stay."
    work = Work("Addresses", f"Edit pool {pool}", lead, "Save", *_BACK, version=item["version"])
    work = work._replace(fields=(Field("state", "State", "select", choices=STATES),), values={"state": item["state"]})

    def make(values: Values) -> Change:
        wanted = body(PoolChange, state=values["state"])
        return lambda tx: present.pool(tx.session, pools.set_state(tx, pool, wanted.state, version=seen_version()))

    return carried_out(work, make, previewed=False)


@blueprint.route("/pools/<pool>/delete", methods=BOTH)
@allow(CHANGERS)
def delete_pool(pool: str) -> Response | str:
    item = _pool(pool)
    lead = "No network may have a subnet from it. Nothing else is lost."
    work = Work("Addresses", f"Delete pool {pool}", lead, "Delete", *_BACK, danger=True, version=item["version"])
    return carried_out(work, lambda values: lambda tx: pools.delete(tx, pool, version=seen_version()), previewed=False)


def _pool(name: str) -> Json:
    with reading() as session:
        return present.pool(session, pools.get(session, name))


@blueprint.get("/addresses/check")
@allow(READERS)
def check_addresses() -> str:
    with reading() as session:
        found = present.differences(ipam.check(session, datetime.now(UTC)))
    return render("address_check.html", "Addresses", found=found)


@blueprint.route("/addresses/repair", methods=BOTH)
@allow(CHANGERS)
def repair_addresses() -> Response | str:
    with reading() as session:
        found = present.differences(ipam.check(session, datetime.now(UTC)))
    will = [f"{one['subject']}: {one['repair']}." for one in found if one["repair"]]
    lead = "Frees what nobody uses, and removes endpoints whose container is gone. This cannot be undone."
    work = Work("Addresses", "Repair", lead, "Repair", "/addresses/check", "Differences", breaks=will)

    def collect(tx: Transaction) -> Json:
        return {"items": present.differences(ipam.collect(tx))}

    return carried_out(work._replace(danger=True), lambda values: collect, previewed=False)
