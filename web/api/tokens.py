"""Tokens over HTTP."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response
from sqlalchemy.orm import Session

from db import hosts, tenants, tokens
from db.changes import Transaction
from db.errors import Invalid, NotFound
from web import present
from web.api.applied import added, previewable, removed
from web.api.cursors import LARGEST_ID
from web.api.replies import Answer, Json, idempotent
from web.api.schemas.isolation import ChangeQuery, Gone, after
from web.api.schemas.token import NewToken, TokenCreate, TokenPage, TokenQuery
from web.auth.access import BODY, SIGHT, TENANT_ADMINS, allow, sight, whoever
from web.auth.principal import CNI
from web.state import reading

blueprint = APIBlueprint("tokens", __name__, tag="Access")


@blueprint.get("/tokens")
@allow(TENANT_ADMINS, by=SIGHT)
@blueprint.input(TokenQuery, "query", "query")
@blueprint.output(TokenPage)
def find(query: TokenQuery) -> Json:
    """List tokens"""
    with reading() as session:
        found = tokens.find(session, **query.model_dump())
        return {"items": [present.token(row) for row in found.items], "next": found.next}


@blueprint.post("/tokens")
@allow(TENANT_ADMINS, by=BODY)
@blueprint.input(TokenCreate, arg_name="body")
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(after(NewToken), 201)
@idempotent
@previewable
def create(body: TokenCreate, query: ChangeQuery) -> Answer | Response:
    """Create a token

    It is whoever's asks for it, but for one of role `cni`, which is a machine's.
    """
    return added(lambda tx: made(tx, body), query, "token", beside=False)


def made(tx: Transaction, body: TokenCreate) -> Json:
    """With its text, which is kept nowhere."""
    host = hosts.get(tx.session, body.host) if body.host is not None else None
    end = whoever().expires_at
    if end is not None and (body.expires_at is None or body.expires_at > end):
        problem = f"token {whoever().name} ends at {end.isoformat()}, and none that it makes lasts longer"
        raise Invalid(problem, "give that time or an earlier one, or use a session", "expires_at")
    row, text = tokens.create(
        tx,
        body.role,
        name=body.name,
        host_id=host.id if host else None,
        user_id=None if body.role == CNI else whoever().user_id,
        tenant=tenants.get(tx.session, body.tenant) if body.tenant is not None else None,
        expires_at=body.expires_at,
    )
    row.host = host
    return present.token(row) | {"token": text}


@blueprint.delete("/tokens/<int:token>")
@allow(TENANT_ADMINS, by=SIGHT)
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(Gone)
@previewable
def delete(token: int, query: ChangeQuery) -> Answer | Response:
    """Revoke a token

    It opens nothing from this moment on.
    """
    return removed(lambda tx: revoked(tx, token), query)


def revoked(tx: Transaction, token: int) -> None:
    seen = sight()
    get(tx.session, token)
    tokens.revoke(tx, token, None if seen is None else seen.values())


def get(session: Session, token: int) -> Json:
    """One that the asker may revoke."""
    if token > LARGEST_ID:
        raise NotFound(f"there is no token {token}", "list them with `warren token list`", "token")
    seen = sight()
    return present.token(tokens.get(session, token, None if seen is None else seen.values()))
