"""Who is asking: the bearer token of the request, else its session cookie."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import request

from db import tokens
from db.errors import Unauthenticated
from web.auth import sessions, told
from web.auth.access import unauthenticated
from web.auth.principal import Principal, of_person
from web.state import asking, reading, recording, state


def identify() -> Principal | None:
    """None when nobody says who they are; a wrong token is refused rather than ignored."""
    header = request.headers.get("Authorization")
    if header is None:
        return sessions.current()
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise unauthenticated(f"'{scheme[:20]}' is not accepted here: send 'Authorization: Bearer wrn_...'.")
    try:
        with asking() as connection:
            token = tokens.bearer(connection, text.strip(), datetime.now(UTC))
    except Unauthenticated as error:
        refused(text.strip(), error)
        raise
    if token.role in tokens.CARRIED:
        return Principal("token", token.id, token.name, token.role, token.host, token.host_id)
    return of_person("token", token.id, token.name, token.user_id, token.grants, token.expires_at)


def refused(text: str, error: Unauthenticated) -> None:
    """Tells the audit log, outside of any transaction that is undone by the refusal."""
    with reading() as session:
        entry = told.token_refused(session, state().refusals, text, error.problem)
    if entry is not None:
        with recording() as tx:
            tx.tell(entry)
