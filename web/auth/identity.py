"""Who is asking: the bearer token of the request, else its session cookie."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import request
from sqlalchemy.orm import Session

from db import bindings, tokens
from db.errors import Unauthenticated
from db.tables import Token
from web.auth import sessions, told
from web.auth.access import unauthenticated
from web.auth.principal import AGENT, CNI, ENROL, Principal, of_person
from web.state import reading, recording, state


def identify() -> Principal | None:
    """None when nobody says who they are; a wrong token is refused rather than ignored."""
    header = request.headers.get("Authorization")
    if header is None:
        return sessions.current()
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise unauthenticated(f"'{scheme[:20]}' is no way in here: send 'Authorization: Bearer wrn_...'.")
    try:
        with reading() as session:
            return _holder(session, tokens.verify(session, text.strip(), datetime.now(UTC)))
    except Unauthenticated as error:
        refused(text.strip(), error)
        raise


def refused(text: str, error: Unauthenticated) -> None:
    """Tells the audit log, outside of any transaction that is undone by the refusal."""
    with reading() as session:
        entry = told.token_refused(session, state().refusals, text, error.problem)
    if entry is not None:
        with recording() as tx:
            tx.tell(entry)


def _holder(session: Session, token: Token) -> Principal:
    if token.role in (AGENT, ENROL, CNI):
        host = token.host.name if token.host else None
        return Principal("token", token.id, token.name, token.role, host, token.host_id)
    if token.user_id is None:
        grants = bindings.scope(token.role, token.tenant)
    else:
        # A person's token reaches no further than the person does at this moment.
        grants = bindings.capped(bindings.grants_of(session, token.user_id), token.role, token.tenant)
    return of_person("token", token.id, token.name, token.user_id, grants)
