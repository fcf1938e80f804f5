"""Tenants over HTTP."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response

from db import tenants
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
from web.api.schemas.isolation import ChangedTenant, ChangeQuery, Gone
from web.api.schemas.tenant import Tenant, TenantChange, TenantCreate, TenantPage, TenantQuery
from web.auth.access import CHANGERS, SIGHT, TENANT_READERS, allow

blueprint = APIBlueprint("tenants", __name__, tag="Tenants")


@blueprint.get("/tenants")
@allow(TENANT_READERS, by=SIGHT)
@blueprint.input(TenantQuery, "query", "query")
@blueprint.output(TenantPage)
def find(query: TenantQuery) -> Json:
    """List tenants"""
    return listed(
        lambda session: tenants.find(session, labels=labels_asked(query.label), **query.model_dump(exclude={"label"})),
        present.tenants,
    )


@blueprint.post("/tenants")
@allow(CHANGERS)
@blueprint.input(TenantCreate, arg_name="body")
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(ChangedTenant, 201)
@idempotent
@previewable
def create(body: TenantCreate, query: ChangeQuery) -> Answer | Response:
    """Create a tenant"""
    return added(lambda tx: present.tenant(tx.session, tenants.create(tx, **body.model_dump())), query)


@blueprint.get("/tenants/<tenant>")
@allow(TENANT_READERS)
@blueprint.output(Tenant)
def get(tenant: str) -> Answer:
    """Show a tenant"""
    return shown(lambda session: present.tenant(session, tenants.get(session, tenant)))


@blueprint.patch("/tenants/<tenant>")
@allow(CHANGERS)
@blueprint.input(TenantChange, arg_name="body")
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(ChangedTenant)
@conditional
@previewable
def update(tenant: str, body: TenantChange, query: ChangeQuery) -> Answer | Response:
    """Change a tenant"""
    return applied(lambda tx: altered(tx, tenant, body, if_match()), query)


def altered(tx: Transaction, name: str, body: TenantChange, version: int | None) -> Json:
    tenant = tenants.update(
        tx,
        name,
        labels=body.labels,
        track_all=body.track_all,
        default_deny=body.default_deny,
        quota=body.quota,
        version=version,
    )
    return present.tenant(tx.session, tenant)


@blueprint.delete("/tenants/<tenant>")
@allow(CHANGERS)
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(Gone)
@conditional
@previewable
def delete(tenant: str, query: ChangeQuery) -> Answer | Response:
    """Delete a tenant, its empty networks and its policies"""
    return removed(lambda tx: tenants.delete(tx, tenant, version=if_match()), query)
