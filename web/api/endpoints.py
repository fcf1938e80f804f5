"""Endpoints over HTTP, as people and programs see them. How they come into being is in `attachments`."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response

from db import endpoints
from db.changes import Transaction
from web import present
from web.api.applied import applied, previewable, removed
from web.api.replies import Answer, Json, conditional, if_match, labels_asked, listed, shown
from web.api.schemas.endpoint import Endpoint, EndpointChange, EndpointPage, EndpointQuery
from web.api.schemas.isolation import ChangeQuery, Gone, after
from web.auth.access import SIGHT, TENANT_OPERATORS, TENANT_READERS, allow

blueprint = APIBlueprint("endpoints", __name__, tag="Endpoints")


@blueprint.get("/endpoints")
@allow(TENANT_READERS, by=SIGHT)
@blueprint.input(EndpointQuery, "query", "query")
@blueprint.output(EndpointPage)
def find(query: EndpointQuery) -> Json:
    """List endpoints"""
    return listed(
        lambda session: endpoints.find(
            session, labels=labels_asked(query.label), **query.model_dump(exclude={"label"})
        ),
        present.endpoints,
    )


@blueprint.get("/endpoints/<tenant>/<endpoint>")
@allow(TENANT_READERS)
@blueprint.output(Endpoint)
def get(tenant: str, endpoint: str) -> Answer:
    """Show an endpoint"""
    return shown(lambda session: present.endpoint(endpoints.get(session, f"{tenant}/{endpoint}")))


@blueprint.patch("/endpoints/<tenant>/<endpoint>")
@allow(TENANT_OPERATORS)
@blueprint.input(EndpointChange, arg_name="body")
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(after(Endpoint))
@conditional
@previewable
def update(tenant: str, endpoint: str, body: EndpointChange, query: ChangeQuery) -> Answer | Response:
    """Change an endpoint"""
    return applied(lambda tx: altered(tx, f"{tenant}/{endpoint}", body, if_match()), query, beside=False)


def altered(tx: Transaction, name: str, body: EndpointChange, version: int | None) -> Json:
    ports = None if body.ports is None else [port.model_dump() for port in body.ports]
    allowed = None if body.allowed is None else [pair.model_dump() for pair in body.allowed]
    return present.endpoint(
        endpoints.update(
            tx, name, labels=body.labels, ports=ports, allowed=allowed, move_to=body.move_to, version=version
        )
    )


@blueprint.delete("/endpoints/<tenant>/<endpoint>")
@allow(TENANT_OPERATORS)
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(Gone)
@conditional
@previewable
def delete(tenant: str, endpoint: str, query: ChangeQuery) -> Answer | Response:
    """Delete an endpoint

    Its addresses are free at once; its host's agent takes the interface away.
    """
    return removed(lambda tx: endpoints.delete(tx, f"{tenant}/{endpoint}", version=if_match()), query)
