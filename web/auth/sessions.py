"""Sessions of people: a random cookie, of which the database keeps the digest. Nothing about them is in the browser."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Response, request

from db import bindings, sessions, users
from db.changes import Transaction
from db.tables import User
from web.auth import told
from web.auth.principal import Principal, of_person
from web.state import reading, recording

# A cookie whose name begins so is taken by browsers only from HTTPS and only for this very host.
SECURE_COOKIE = "__Host-warren"
PLAIN_COOKIE = "warren"


def cookie_name() -> str:
    return SECURE_COOKIE if request.is_secure else PLAIN_COOKIE


def current() -> Principal | None:
    secret = request.cookies.get(cookie_name())
    if not secret:
        return None
    with reading() as session:
        user = sessions.user_of(session, secret, datetime.now(UTC))
        if user is None:
            return None
        return of_person("user", user.id, user.name, user.id, bindings.grants_of(session, user.id))


def open_session(name: str, password: str) -> str | None:
    """The new cookie's value; None when the name or the password is wrong. An old session is over."""
    with reading() as session:
        user = users.authenticate(session, name, password)
    if user is None:
        return None
    with recording() as tx:
        # To check a password takes a while, in which it may have become another.
        return begin(tx, user, "password") if users.has_still(tx, user) else None


def begin(tx: Transaction, user: User, method: str) -> str:
    """The new cookie's value; the session that the browser had is over."""
    if old := request.cookies.get(cookie_name()):
        sessions.end(tx, old)
    tx.tell(told.logged_in(user.name, method))
    return sessions.create(tx, user)


def close_session() -> None:
    if secret := request.cookies.get(cookie_name()):
        with recording() as tx:
            if user := sessions.user_of(tx.session, secret, tx.now):
                tx.tell(told.logged_out(user.name))
            sessions.end(tx, secret)


def set_cookie(response: Response, value: str) -> None:
    seconds = int(sessions.LIFETIME.total_seconds())
    response.set_cookie(
        cookie_name(), value, max_age=seconds, secure=request.is_secure, httponly=True, samesite="Lax", path="/"
    )


def clear_cookie(response: Response) -> None:
    response.delete_cookie(cookie_name(), secure=request.is_secure, httponly=True, samesite="Lax", path="/")
