"""Pages that create, change and delete hosts, and make enrolment tokens, which are shown once."""

from __future__ import annotations

from flask import Response

from db import hosts
from db.changes import Transaction
from web import present
from web.api import hosts as api_hosts
from web.api.replies import Json
from web.api.schemas.host import HostChange, HostCreate
from web.auth.access import CHANGERS, allow
from web.state import reading
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
    label_changes,
    number,
    pairs,
    seen_version,
)
from web.ui.frame import blueprint, render

MTU = Field("mtu", "MTU of the underlay", "number", "Empty: what its agent finds.")


@blueprint.route("/new/host", methods=BOTH)
@allow(CHANGERS)
def new_host() -> Response | str:
    work = Work(
        "Hosts",
        "New host",
        "A Linux machine with Open vSwitch. Its agent enrols with a token that is shown once.",
        "Create",
        "/hosts",
        "Hosts",
        (
            Field("name", "Name", hint="Lower-case letters, digits and hyphens.", required=True),
            Field("address", "Tunnel address", hint="Empty: the address from which its agent reaches this server."),
            MTU,
            LABELS,
        ),
    )

    def make(values: Values) -> Change:
        wanted = body(
            HostCreate,
            name=values["name"],
            address=values["address"] or None,
            mtu=number(values["mtu"]),
            labels=pairs(values["labels"], "labels"),
        )

        def create(tx: Transaction) -> Json:
            host, token = hosts.create(tx, wanted.name, address=wanted.address, labels=wanted.labels, mtu=wanted.mtu)
            return {"name": host.name, "token": token}

        return create

    return carried_out(work, make, previewed=False, shown=_token)


@blueprint.route("/hosts/<host>/edit", methods=BOTH)
@allow(CHANGERS)
def edit_host(host: str) -> Response | str:
    item = _host(host)
    with reading() as session:
        row = hosts.get(session, host)
        own_mtu = str(row.mtu) if row.mtu_fixed else ""
    work = _of_host(item, f"Edit {host}", "Another address moves its tunnels at once.", "Save")
    fields = Field("address", "Tunnel address"), MTU, LABELS
    values = {"address": item["address"] or "", "mtu": own_mtu, "labels": in_lines(item["labels"])}
    work = work._replace(fields=fields, values=values, undo=f"/hosts/{host}/edit")

    def make(values: Values) -> Change:
        wanted = body(
            HostChange,
            address=values["address"] or None,
            mtu=number(values["mtu"]),
            labels=label_changes(values["labels"], item["labels"]),
        )
        return lambda tx: api_hosts.altered(tx, host, wanted, wanted.mtu or 0, seen_version())

    return carried_out(work, make)


@blueprint.route("/hosts/<host>/delete", methods=BOTH)
@allow(CHANGERS)
def delete_host(host: str) -> Response | str:
    item = _host(host)
    title, lead = f"Delete {host}", "For a machine that will not come back. This cannot be undone."
    work = _of_host(item, title, lead, "Delete")._replace(danger=True, breaks=lost_with(item))
    return carried_out(
        work,
        lambda values: lambda tx: hosts.delete(tx, host, force=True, version=seen_version()),
        onward=lambda values, made: "/hosts",
    )


@blueprint.route("/hosts/<host>/token", methods=BOTH)
@allow(CHANGERS)
def host_token(host: str) -> Response | str:
    work = _of_host(
        _host(host), f"New token for {host}", "To enrol its agent again. Earlier tokens no longer work.", "Make"
    )
    make = work._replace(version=None)
    return carried_out(
        make,
        lambda values: lambda tx: {"name": host, "token": hosts.new_enrol_token(tx, host)},
        previewed=False,
        shown=_token,
    )


def lost_with(item: Json) -> list[str]:
    held = item["endpoints"]
    return [f"Its {held} endpoint{'s' if held != 1 else ''} and their addresses go, too."] if held else []


def _token(made: Json) -> str:
    return render("enrol.html", "Hosts", item=made)


def _host(name: str) -> Json:
    with reading() as session:
        return present.host(hosts.get(session, name))


def _of_host(item: Json, title: str, lead: str, verb: str) -> Work:
    name = item["name"]
    return Work("Hosts", title, lead, verb, f"/hosts/{name}", name, version=item["version"])
