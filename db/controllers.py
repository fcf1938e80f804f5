"""Controller processes: where bridges connect to, and up to which revision each has computed."""

from __future__ import annotations

import re
from datetime import datetime

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from db.changes import Transaction
from db.errors import Invalid
from db.tables import Controller, HostStatus

_controller = Controller.__table__.c
_SEEN = (
    update(Controller.__table__)  # type: ignore[arg-type]
    .where(_controller.name == bindparam("named"), _controller.target == bindparam("at"))
    .values(revision=bindparam("revision"), seen_at=bindparam("seen_at"))
    .returning(_controller.name)
)
_TARGET = re.compile(r"(tcp|ssl):(\[[0-9a-fA-F:.]+\]|[0-9.]+):[0-9]{1,5}")


def find(session: Session) -> list[Controller]:
    """All that have ever spoken and were not forgotten."""
    return list(session.execute(select(Controller).order_by(Controller.name)).scalars())


def seen(session: Session, name: str, target: str, revision: int, now: datetime) -> None:
    """The controller is alive and has computed up to `revision`.

    A target that agents do not know yet is a change of what their bridges must have: it takes a revision.
    """
    if not _TARGET.fullmatch(target):
        raise Invalid(f"{target!r} is not a controller's address", "write it like tcp:192.0.2.1:6653", "target")
    if not 1 <= len(name) <= 63:
        raise Invalid(f"controller name {name!r} has {len(name)} characters", "use 1 to 63", "name")
    values = {"target": target, "revision": revision, "seen_at": now}
    if session.execute(_SEEN, {"named": name, "at": target, "revision": revision, "seen_at": now}).scalar() is not None:
        return
    known = session.execute(select(Controller.target).where(Controller.name == name)).scalar()
    if known is None:
        session.execute(insert(Controller).values(name=name, **values))
    else:
        session.execute(update(Controller).where(Controller.name == name).values(values))
    tx = Transaction(session, now)
    tx.record("controller", 0, "create" if known is None else "update")
    tx.finish()


def started(session: Session, name: str) -> None:
    """A controller that starts has no bridge connected, whatever its last run has left behind."""
    session.execute(update(HostStatus).where(HostStatus.controller == name).values(connected=False))


def forget(tx: Transaction, name: str) -> None:
    """Takes a controller away that will not come back."""
    if tx.session.execute(delete(Controller).where(Controller.name == name).returning(Controller.name)).scalar():
        tx.record("controller", 0, "delete")
