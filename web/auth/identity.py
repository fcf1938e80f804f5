"""Who is asking: the bearer token of the request, else its session cookie."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import request

from db import bindings, tokens
from web.auth import sessions
from web.auth.access import unauthenticated
from web.auth.principal import AGENT, CNI, ENROL, Principal, of_person
from web.state import reading


def identify() -> Principal | None:
    """None when nobody says who they are; a wrong token is refused rather than ignored."""
    header = request.headers.get("Authorization")
    if header is None:
        return sessions.current()
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise unauthenticated(f"'{scheme[:20]}' is no way in here: send 'Authorization: Bearer wrn_...'.")
    with reading() as session:
        token = tokens.verify(session, text.strip(), datetime.now(UTC))
        if token.role in (AGENT, ENROL, CNI):
            host = token.host.name if token.host else None
            return Principal("token", token.id, token.name, token.role, host, token.host_id)
        if token.user_id is None:
            grants = bindings.scope(token.role, token.tenant)
        else:
            # A person's token reaches no further than the person does at this moment.
            grants = bindings.capped(bindings.grants_of(session, token.user_id), token.role, token.tenant)
        return of_person("token", token.id, token.name, token.user_id, grants)
