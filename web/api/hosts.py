"""Hosts over HTTP, as people and programs see them. What agents say is in `agents`."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response

from db import hosts
from db.changes import Transaction
from web import present
from web.api.replies import (
    Answer,
    Json,
    changed,
    conditional,
    created,
    deleted,
    idempotent,
    if_match,
    labels_asked,
    listed,
    shown,
)
from web.api.schemas.common import Deleted
from web.api.schemas.host import EnrolToken, Host, HostChange, HostCreate, HostDeleteQuery, HostPage, HostQuery, NewHost
from web.auth.access import CHANGERS, READERS, allow

blueprint = APIBlueprint("hosts", __name__, tag="Hosts")


@blueprint.get("/hosts")
@allow(READERS)
@blueprint.input(HostQuery, "query", "query")
@blueprint.output(HostPage)
def find(query: HostQuery) -> Json:
    """List hosts"""
    return listed(
        lambda session: hosts.find(
            session, labels=labels_asked(query.label), sort=query.sort, cursor=query.cursor, limit=query.limit
        ),
        present.hosts,
    )


@blueprint.post("/hosts")
@allow(CHANGERS)
@blueprint.input(HostCreate, arg_name="body")
@blueprint.output(NewHost, 201)
@idempotent
def create(body: HostCreate) -> Answer | Response:
    """Create a host

    The answer holds the token with which the host's agent enrols, once.
    """

    def make(tx: Transaction) -> Json:
        host, token = hosts.create(tx, body.name, address=body.address, labels=body.labels, mtu=body.mtu)
        return present.host(host) | {"enrol_token": token}

    return created(make, secret="enrol_token")


@blueprint.get("/hosts/<host>")
@allow(READERS)
@blueprint.output(Host)
def get(host: str) -> Answer:
    """Show a host"""
    return shown(lambda session: present.host(hosts.get(session, host)))


@blueprint.patch("/hosts/<host>")
@allow(CHANGERS)
@blueprint.input(HostChange, arg_name="body")
@blueprint.output(Host)
@conditional
def update(host: str, body: HostChange) -> Answer:
    """Change a host"""
    # Said and null is "none of its own"; not said is "as it is".
    mtu = (body.mtu or 0) if "mtu" in body.model_fields_set else None
    return changed(lambda tx: altered(tx, host, body, mtu, if_match()))


def altered(tx: Transaction, host: str, body: HostChange, mtu: int | None, version: int | None) -> Json:
    """`mtu` 0: as its agent finds it; None: as it is."""
    return present.host(hosts.update(tx, host, address=body.address, labels=body.labels, mtu=mtu, version=version))


@blueprint.delete("/hosts/<host>")
@allow(CHANGERS)
@blueprint.input(HostDeleteQuery, "query", "query")
@blueprint.output(Deleted)
@conditional
def delete(host: str, query: HostDeleteQuery) -> Json:
    """Delete a host"""
    return deleted(lambda tx: hosts.delete(tx, host, force=query.force, version=if_match()))


@blueprint.post("/hosts/<host>/token")
@allow(CHANGERS)
@blueprint.output(EnrolToken, 201)
@idempotent
def token(host: str) -> Answer | Response:
    """Make a new one-time enrolment token"""
    return created(lambda tx: {"host": host, "enrol_token": hosts.new_enrol_token(tx, host)}, secret="enrol_token")
