"""Slows down guessing of passwords: after a few failures for one user from one address, each further one costs more.

Failures are counted in the database, so that every process knows them and a restart forgives nothing. It knows no
passwords; time (seconds since 1970) is an argument.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from db import logins

FREE_FAILURES = 5
FIRST_WAIT_SECONDS = 4.0
LONGEST_WAIT_SECONDS = 900.0


def wait_seconds(session: Session, user: str, address: str, now: float) -> float:
    """How long this user must wait before the next attempt from this address; 0 when it may be made now."""
    count, last = logins.failures(session, user, address)
    if count < FREE_FAILURES:
        return 0.0
    doubled = FIRST_WAIT_SECONDS * 2.0 ** min(count - FREE_FAILURES, 20)
    return max(0.0, last + min(doubled, LONGEST_WAIT_SECONDS) - now)
