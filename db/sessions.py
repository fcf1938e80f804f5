"""Browsers that are logged in: a random cookie, of which the database keeps only the SHA-256."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session, joinedload

from db.changes import Transaction
from db.tables import LoginSession, User
from db.tokens import hash_of

LIFETIME = timedelta(hours=12)


def create(tx: Transaction, user: User, *, lifetime: timedelta = LIFETIME) -> str:
    """The cookie's value. Sessions that are over are swept out on the way."""
    secret = secrets.token_urlsafe(32)
    tx.session.execute(delete(LoginSession).where(LoginSession.expires_at <= tx.now))
    row = LoginSession(hash=hash_of(secret), user_id=user.id, created_at=tx.now, expires_at=tx.now + lifetime)
    tx.session.add(row)
    tx.session.flush()
    return secret


def user_of(session: Session, secret: str, now: datetime) -> User | None:
    query = select(LoginSession).options(joinedload(LoginSession.user))
    query = query.where(LoginSession.hash == hash_of(secret), LoginSession.expires_at > now)
    found = session.execute(query).scalar_one_or_none()
    return found.user if found else None


def end(tx: Transaction, secret: str) -> None:
    tx.session.execute(delete(LoginSession).where(LoginSession.hash == hash_of(secret)))


def end_all(tx: Transaction, user: User) -> None:
    """After a new password."""
    tx.session.execute(delete(LoginSession).where(LoginSession.user_id == user.id))
