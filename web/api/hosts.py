"""Hosts over HTTP, as people and programs see them. What agents say is in `agents`."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response

from db import hosts
from db.changes import Transaction
from web import present
from web.api.applied import added, applied, previewable, removed
from web.api.replies import (
    Answer,
    Json,
    conditional,
    idempotent,
    if_match,
    labels_asked,
    listed,
    shown,
)
from web.api.schemas.host import EnrolToken, Host, HostChange, HostCreate, HostDeleteQuery, HostPage, HostQuery, NewHost
from web.api.schemas.isolation import ChangeQuery, Gone, after
from web.auth.access import CHANGERS, READERS, allow

blueprint = APIBlueprint("hosts", __name__, tag="Hosts")


@blueprint.get("/hosts")
@allow(READERS)
@blueprint.input(HostQuery, "query", "query")
@blueprint.output(HostPage)
def find(query: HostQuery) -> Json:
    """List hosts"""
    return listed(
        lambda session: hosts.find(session, labels=labels_asked(query.label), **query.model_dump(exclude={"label"})),
        present.hosts,
    )


@blueprint.post("/hosts")
@allow(CHANGERS)
@blueprint.input(HostCreate, arg_name="body")
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(after(NewHost), 201)
@idempotent
@previewable
def create(body: HostCreate, query: ChangeQuery) -> Answer | Response:
    """Create a host

    The answer holds the token with which the host's agent enrols, once.
    """

    def make(tx: Transaction) -> Json:
        host, token = hosts.create(tx, body.name, address=body.address, labels=body.labels, mtu=body.mtu)
        return present.host(host) | {"enrol_token": token}

    return added(make, query, "enrol_token", beside=False)


@blueprint.get("/hosts/<host>")
@allow(READERS)
@blueprint.output(Host)
def get(host: str) -> Answer:
    """Show a host"""
    return shown(lambda session: present.host(hosts.get(session, host)))


@blueprint.patch("/hosts/<host>")
@allow(CHANGERS)
@blueprint.input(HostChange, arg_name="body")
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(after(Host))
@conditional
@previewable
def update(host: str, body: HostChange, query: ChangeQuery) -> Answer | Response:
    """Change a host"""
    # Said and null is "none of its own"; not said is "as it is".
    mtu = (body.mtu or 0) if "mtu" in body.model_fields_set else None
    return applied(lambda tx: altered(tx, host, body, mtu, if_match()), query, beside=False)


def altered(tx: Transaction, host: str, body: HostChange, mtu: int | None, version: int | None) -> Json:
    """`mtu` 0: as its agent finds it; None: as it is."""
    return present.host(hosts.update(tx, host, address=body.address, labels=body.labels, mtu=mtu, version=version))


@blueprint.delete("/hosts/<host>")
@allow(CHANGERS)
@blueprint.input(HostDeleteQuery, "query", "query")
@blueprint.output(Gone)
@conditional
@previewable
def delete(host: str, query: HostDeleteQuery) -> Answer | Response:
    """Delete a host"""
    return removed(lambda tx: hosts.delete(tx, host, force=query.force, version=if_match()), query)


@blueprint.post("/hosts/<host>/token")
@allow(CHANGERS)
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(after(EnrolToken), 201)
@idempotent
@previewable
def token(host: str, query: ChangeQuery) -> Answer | Response:
    """Make a new one-time enrolment token"""
    return added(
        lambda tx: {"host": host, "enrol_token": hosts.new_enrol_token(tx, host)}, query, "enrol_token", beside=False
    )
