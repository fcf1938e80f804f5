"""What the audit log is told of who came in, left, or was turned away.

A name that nobody has is not repeated there: people type passwords into the wrong field. A token that is refused again
and again from one address is told at the 1st, 2nd, 4th, 8th ... time, so that nobody fills the log from outside.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from threading import Lock

from flask import request
from sqlalchemy.orm import Session

from db.audit import Actor, Told
from db.tables import Token

UNKNOWN = "unknown"
MOST_KEPT = 4096


class Refusals:
    """How often what was refused, since this process started; of very many, the newest."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: OrderedDict[tuple[str, int], int] = OrderedDict()

    def again(self, address: str, token: int) -> int:
        with self._lock:
            count = self._counts.pop((address, token), 0) + 1
            self._counts[address, token] = count
            if len(self._counts) > MOST_KEPT:
                self._counts.popitem(last=False)
            return count


def address() -> str:
    return request.remote_addr or UNKNOWN


def actor(kind: str, name: str) -> Actor:
    return Actor(kind, name, address(), f"{request.method} {request.path}"[:400])


def logged_in(user: str, method: str) -> Told:
    return Told(actor("user", user), "session", "login", user, {"method": method})


def logged_out(user: str) -> Told:
    return Told(actor("user", user), "session", "logout", user, {})


def login_refused(user: str | None, method: str, reason: str) -> Told:
    """`user` is somebody's name, or None."""
    what = {"method": method, "reason": reason}
    return Told(actor("anonymous", UNKNOWN), "session", "refuse", user or UNKNOWN, what)


def token_refused(session: Session, refusals: Refusals, text: str, reason: str) -> Told | None:
    """None: told often enough."""
    match = re.match(r"wrn_([0-9]{1,9})_", text)
    token = session.get(Token, int(match[1])) if match else None
    count = refusals.again(address(), token.id if token else 0)
    if count & (count - 1):
        return None
    name = token.name if token else UNKNOWN
    return Told(actor("anonymous", UNKNOWN), "token", "refuse", name, {"reason": reason, "times": count})
