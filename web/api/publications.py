"""Published ports over HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from apiflask import APIBlueprint
from flask import Response
from sqlalchemy.orm import Session

from db import attachments, host_ports, publications, tables
from db.changes import Transaction
from db.publications import Wish
from web.api.applied import added, previewable, removed
from web.api.attachments import PATH, host_id
from web.api.ports import closes, document, opens
from web.api.replies import Answer, Json, idempotent, listed
from web.api.revisions import of_own_hosts
from web.api.schemas.isolation import ChangeQuery, Gone, after
from web.api.schemas.publication import (
    Publication,
    PublicationCreate,
    PublicationPage,
    PublicationQuery,
    Published,
    RuntimePublications,
    RuntimePublicationsNow,
)
from web.auth.access import ATTACHERS, BODY, SIGHT, TENANT_ADMINS, TENANT_READERS, allow
from web.state import changing

blueprint = APIBlueprint("publications", __name__, tag="Endpoints")


@blueprint.get("/publications")
@allow(TENANT_READERS, by=SIGHT)
@blueprint.input(PublicationQuery, "query", "query")
@blueprint.output(PublicationPage)
def find(query: PublicationQuery) -> Json:
    """List published ports"""
    return listed(
        lambda session: publications.find(session, **query.model_dump()),
        documents,
    )


@blueprint.post("/publications")
@allow(TENANT_ADMINS, by=BODY)
@blueprint.input(PublicationCreate, arg_name="body")
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(after(Publication), 201)
@idempotent
@previewable
def create(body: PublicationCreate, query: ChangeQuery) -> Answer | Response:
    """Publish a port

    Who connects to it on the host, or on any host with `mesh`, reaches the endpoint, whose policies apply to the
    client's own address.
    """
    return added(lambda tx: made(tx, body), query, beside=False, tells=opens)


def made(tx: Transaction, body: PublicationCreate) -> Json:
    return document(publications.publish(tx, body.endpoint, _wish(body)))


@blueprint.delete("/publications/<tenant>/<endpoint>/<int:publication>")
@allow(TENANT_ADMINS)
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(Gone)
@previewable
def delete(tenant: str, endpoint: str, publication: int, query: ChangeQuery) -> Answer | Response:
    """Unpublish a port"""
    name = f"{tenant}/{endpoint}"

    def withdraw(tx: Transaction) -> Json:
        gone = document(publications.get(tx.session, name, publication))
        publications.withdraw(tx, name, publication)
        return gone

    return removed(withdraw, query, tells=lambda gone: [closes(gone)])


@blueprint.put(f"{PATH}/publications")
@allow(ATTACHERS, own_host=True)
@blueprint.input(RuntimePublications, arg_name="body")
@blueprint.output(RuntimePublicationsNow)
def replace(host: str, container_id: str, ifname: str, body: RuntimePublications) -> Json:
    """Publish what a container's runtime asks for

    All of it for this interface; what people published stays. With `mesh` only in a tenant with the label
    `warren/engine-mesh=allow`.
    """
    with changing() as tx:
        endpoint = attachments.row(tx.session, host_id(tx.session, host), container_id, ifname)
        wishes = [_wish(one)._replace(last=one.host_port_end) for one in body.ports]
        found = [document(one) for one in publications.replace(tx, endpoint, wishes)]
    return {"ports": [one | {"revision": tx.revision} for one in found], "revision": tx.revision}


def documents(session: Session, rows: Sequence[tables.Publication]) -> list[Json]:
    closed = host_ports.closed(session) if rows else {}
    known = set(of_own_hosts(session, sorted({name for hosts in closed.values() for name in hosts})))

    def problems(row: tables.Publication) -> list[str]:
        rests = publications.resting(row.endpoint.network)
        said = [f"{name}: {why}" for name, why in closed.get(row.id, {}).items() if name in known]
        return [rests, *said] if rests else said

    return [document(row, problems(row)) for row in rows]


def _wish(body: Published) -> Wish:
    return Wish(body.protocol, body.port, body.host_port, body.count, body.host_ip or "", mesh=body.mesh)
