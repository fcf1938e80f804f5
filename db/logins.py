"""Failed log-ins, counted for a name and the address they came from. Every process counts in the same table."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from db.rows import insert_on
from db.tables import LoginFailure

FORGET_AFTER_SECONDS = 3600.0


def failures(session: Session, user: str, address: str) -> tuple[int, float]:
    """How many there were, and when the last one was (seconds since 1970)."""
    query = select(LoginFailure.failures, LoginFailure.last)
    found = session.execute(query.where(LoginFailure.user == user, LoginFailure.address == address)).one_or_none()
    return (found.failures, found.last) if found else (0, 0.0)


def failed(session: Session, user: str, address: str, now: float) -> None:
    """One more; those that are long past are forgotten."""
    session.execute(delete(LoginFailure).where(LoginFailure.last < now - FORGET_AFTER_SECONDS))
    row = insert_on(session, LoginFailure).values(user=user, address=address, failures=1, last=now)
    more = {"failures": LoginFailure.failures + 1, "last": now}
    session.execute(row.on_conflict_do_update(index_elements=["user", "address"], set_=more))


def succeeded(session: Session, user: str, address: str) -> None:
    session.execute(delete(LoginFailure).where(LoginFailure.user == user, LoginFailure.address == address))
