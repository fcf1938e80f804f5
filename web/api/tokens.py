"""Tokens over HTTP."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response

from db import hosts, tokens
from db.changes import Transaction
from db.errors import NotFound
from web import present
from web.api.replies import Answer, Json, created, deleted, idempotent
from web.api.schemas.common import Deleted
from web.api.schemas.token import NewToken, TokenCreate, TokenPage
from web.auth.access import CHANGERS, allow
from web.state import reading

blueprint = APIBlueprint("tokens", __name__, tag="Access")
LARGEST_ID = 2**31 - 1


@blueprint.get("/tokens")
@allow(CHANGERS)
@blueprint.output(TokenPage)
def find() -> Json:
    """List tokens"""
    with reading() as session:
        return {"items": [present.token(row) for row in tokens.find(session)], "next": None}


@blueprint.post("/tokens")
@allow(CHANGERS)
@blueprint.input(TokenCreate, arg_name="body")
@blueprint.output(NewToken, 201)
@idempotent
def create(body: TokenCreate) -> Answer | Response:
    """Create a token"""

    def make(tx: Transaction) -> Json:
        host = hosts.get(tx.session, body.host) if body.host is not None else None
        row, text = tokens.create(
            tx, body.role, name=body.name, host_id=host.id if host else None, expires_at=body.expires_at
        )
        row.host = host
        return present.token(row) | {"token": text}

    return created(make, secret="token")


@blueprint.delete("/tokens/<int:token>")
@allow(CHANGERS)
@blueprint.output(Deleted)
def delete(token: int) -> Json:
    """Revoke a token

    It opens nothing from this moment on.
    """
    if token > LARGEST_ID:
        raise NotFound(f"there is no token {token}", "list them with `warren token list`", "token")
    return deleted(lambda tx: tokens.revoke(tx, token))
