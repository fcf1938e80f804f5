"""Who is asking: the bearer token of the request, else its session cookie."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import request

from db import tokens
from web.auth import sessions
from web.auth.access import unauthenticated
from web.auth.principal import Principal, of_person
from web.state import asking


def identify() -> Principal | None:
    """None when nobody says who they are; a wrong token is refused rather than ignored."""
    header = request.headers.get("Authorization")
    if header is None:
        return sessions.current()
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "bearer" or not text.strip():
        raise unauthenticated(f"'{scheme[:20]}' is no way in here: send 'Authorization: Bearer wrn_...'.")
    with asking() as connection:
        token = tokens.bearer(connection, text.strip(), datetime.now(UTC))
    if token.role in tokens.CARRIED:
        return Principal("token", token.id, token.name, token.role, token.host, token.host_id)
    return of_person("token", token.id, token.name, token.user_id, token.grants)
