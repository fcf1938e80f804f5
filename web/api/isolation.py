"""Isolation over HTTP: tenants join, part, peer and become global; the cluster is flat or not."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response
from sqlalchemy.orm import Session

from db import isolation, settings, tables, transport
from db.changes import Transaction
from web import present
from web.api.applied import applied, previewable
from web.api.replies import Answer, Json, conditional, if_match, shown
from web.api.schemas.isolation import ChangedCluster, ChangedTenant, ChangeQuery, Cluster, ClusterChange, Join, Peer
from web.auth.access import CHANGERS, READERS, allow

blueprint = APIBlueprint("isolation", __name__, tag="Isolation")


@blueprint.post("/tenants/<tenant>/join")
@allow(CHANGERS)
@blueprint.input(Join, arg_name="body")
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(ChangedTenant)
@conditional
@previewable
def join(tenant: str, body: Join, query: ChangeQuery) -> Answer | Response:
    """Join a tenant to another

    Moves it into the other's zone: all networks of the two that are not isolated reach each other, and those of whoever
    else is in that zone. The tenant leaves those it was joined with before.
    """
    return applied(lambda tx: _tenant(tx, isolation.join(tx, tenant, body.to, version=if_match())), query)


@blueprint.post("/tenants/<tenant>/isolate")
@allow(CHANGERS)
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(ChangedTenant)
@conditional
@previewable
def isolate(tenant: str, query: ChangeQuery) -> Answer | Response:
    """Give a tenant a zone of its own

    It leaves those it was joined with, and is not global any more. Its peerings stay.
    """
    return applied(lambda tx: _tenant(tx, isolation.isolate(tx, tenant, version=if_match())), query)


@blueprint.post("/tenants/<tenant>/global")
@allow(CHANGERS)
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(ChangedTenant)
@conditional
@previewable
def make_global(tenant: str, query: ChangeQuery) -> Answer | Response:
    """Make a tenant global

    Every tenant's networks that are not private reach it, and it reaches them.
    """
    return applied(lambda tx: _tenant(tx, isolation.make_global(tx, tenant, version=if_match())), query)


@blueprint.post("/tenants/<tenant>/peer")
@allow(CHANGERS)
@blueprint.input(Peer, arg_name="body")
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(ChangedTenant)
@conditional
@previewable
def peer(tenant: str, body: Peer, query: ChangeQuery) -> Answer | Response:
    """Let two tenants reach each other

    It opens nothing to others, not even to tenants that are joined or peer with one of them.
    """
    return applied(lambda tx: _tenant(tx, isolation.peer(tx, tenant, body.other, version=if_match())), query)


@blueprint.delete("/tenants/<tenant>/peers/<peer>")
@allow(CHANGERS)
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(ChangedTenant)
@conditional
@previewable
def unpeer(tenant: str, peer: str, query: ChangeQuery) -> Answer | Response:
    """End a peering"""
    return applied(lambda tx: _tenant(tx, isolation.unpeer(tx, tenant, peer, version=if_match())), query)


@blueprint.get("/cluster")
@allow(READERS)
@blueprint.output(Cluster)
def cluster() -> Answer:
    """Show the settings for all tenants"""
    return shown(lambda session: _cluster(session, settings.isolation(session)))


@blueprint.patch("/cluster")
@allow(CHANGERS)
@blueprint.input(ClusterChange, arg_name="body")
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(ChangedCluster)
@conditional
@previewable
def set_cluster(body: ClusterChange, query: ChangeQuery) -> Answer | Response:
    """Change the settings for all tenants"""
    return applied(lambda tx: altered(tx, body, if_match()), query)


def _tenant(tx: Transaction, row: tables.Tenant) -> Json:
    return present.tenant(tx.session, row)


def altered(tx: Transaction, body: ClusterChange, version: int | None) -> Json:
    isolation.set_mode(tx, body.isolation or settings.isolation(tx.session).mode, version=version)
    transport.set_udp_ports(tx, body.tunnel_ports)
    return _cluster(tx.session, settings.isolation(tx.session))


def _cluster(session: Session, found: settings.Isolation) -> Json:
    return {"isolation": found.mode, "tunnel_ports": transport.udp_ports(session), "version": found.version}
