"""Replies kept so that a create which is sent twice happens once.

The reply is written in the transaction of the change itself: either both are there or neither.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import delete
from sqlalchemy.orm import Session

from db.changes import Transaction
from db.errors import Invalid
from db.tables import KeptReply

KEPT = timedelta(hours=24)


class Reply(NamedTuple):
    status: int
    body: dict[str, Any]


def check(key: str) -> None:
    if not key or len(key) > 255:
        raise Invalid("an idempotency key has 1 to 255 characters", "use a UUID", "Idempotency-Key")


def recall(session: Session, principal: str, key: str, fingerprint: str, now: datetime) -> Reply | None:
    """The reply that `principal` got for `key`. `fingerprint` is a digest of the request: another one is refused."""
    check(key)
    kept = session.get(KeptReply, (principal, key))
    if kept is None or kept.created_at <= now - KEPT:
        return None
    if kept.fingerprint != fingerprint:
        raise Invalid(
            f"idempotency key {key} was used for another request", "use a new key for each request", "Idempotency-Key"
        )
    return Reply(kept.status, kept.body)


def keep(tx: Transaction, principal: str, key: str, fingerprint: str, reply: Callable[[int], Reply]) -> None:
    """Keeps `reply(revision)`, which must not contain a secret: the table is readable where tokens are hashed."""

    def write(revision: int) -> None:
        status, body = reply(revision)
        row = KeptReply(
            principal=principal, key=key, fingerprint=fingerprint, status=status, body=body, created_at=tx.now
        )
        tx.session.add(row)
        tx.session.flush()

    tx.session.execute(delete(KeptReply).where(KeptReply.created_at <= tx.now - KEPT))
    tx.before_commit(write)
