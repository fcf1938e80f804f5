"""Policies over HTTP: documents in, documents out, and what they would change before they do."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response

from db import policies
from db.changes import Transaction
from web import present
from web.api.applied import applied, previewable, removed
from web.api.replies import Answer, Json, conditional, if_match, listed, shown
from web.api.schemas.isolation import ChangeQuery, Gone
from web.api.schemas.policy import AppliedPolicies, Policy, PolicyDocuments, PolicyPage, PolicyQuery
from web.auth.access import BODY, CHANGERS, READERS, SIGHT, TENANT_ADMINS, TENANT_READERS, allow

blueprint = APIBlueprint("policies", __name__, tag="Policies")


@blueprint.get("/policies")
@allow(TENANT_READERS, by=SIGHT)
@blueprint.input(PolicyQuery, "query", "query")
@blueprint.output(PolicyPage)
def find(query: PolicyQuery) -> Json:
    """List policies

    The cluster's come first.
    """
    return listed(
        lambda session: policies.find(session, **query.model_dump()),
        present.policies,
    )


@blueprint.post("/policies")
@allow(TENANT_ADMINS, by=BODY)
@blueprint.input(PolicyDocuments, arg_name="body")
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(AppliedPolicies)
@previewable
def apply(body: PolicyDocuments, query: ChangeQuery) -> Answer | Response:
    """Apply policies

    Each document creates a policy, or replaces the one of its name. All are applied, or none. What is there already
    is left alone, so the same request may be sent again.
    """

    return applied(lambda tx: put(tx, body), query)


def put(tx: Transaction, body: PolicyDocuments, version: int | None = None) -> Json:
    found = present.policies(tx.session, policies.apply(tx, body.documents, version=version))
    tx.before_commit(lambda revision: [policy.update(revision=revision) for policy in found])
    return {"policies": found}


@blueprint.get("/policies/<tenant>/<policy>")
@allow(TENANT_READERS)
@blueprint.output(Policy)
def get(tenant: str, policy: str) -> Answer:
    """Show a tenant's policy"""
    return shown(lambda session: present.policy(policies.get(session, f"{tenant}/{policy}")))


@blueprint.get("/policies/<policy>")
@allow(READERS)
@blueprint.output(Policy)
def get_of_cluster(policy: str) -> Answer:
    """Show one of the cluster's policies"""
    return shown(lambda session: present.policy(policies.get(session, policy)))


@blueprint.delete("/policies/<tenant>/<policy>")
@allow(TENANT_ADMINS)
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(Gone)
@conditional
@previewable
def delete(tenant: str, policy: str, query: ChangeQuery) -> Answer | Response:
    """Delete a tenant's policy"""
    return removed(lambda tx: policies.delete(tx, f"{tenant}/{policy}", version=if_match()), query)


@blueprint.delete("/policies/<policy>")
@allow(CHANGERS)
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(Gone)
@conditional
@previewable
def delete_of_cluster(policy: str, query: ChangeQuery) -> Answer | Response:
    """Delete one of the cluster's policies"""
    return removed(lambda tx: policies.delete(tx, policy, version=if_match()), query)
