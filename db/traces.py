"""A mailbox of questions that the API has for hosts' agents: what would your switch do with this packet, and which
flows does it have?

Decides who may answer what and how long a question is kept; not what is asked or what an answer means. Takes no
revision: nothing of the network changes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, CursorResult, delete, select, update
from sqlalchemy.orm import Session

from db.changes import PROGRESS_CHANNEL, notify
from db.errors import NotFound
from db.tables import Trace

PACKET, FLOWS = "packet", "flows"

KEPT = timedelta(seconds=60)
"""Who asks removes his questions; those of a process that was killed go after this long, with the next question."""


_trace = Trace.__table__.c
_WAITING = select(_trace.id, _trace.host_id).where(_trace.answered_at.is_(None))


def ask(session: Session, packets: Mapping[int, str], now: datetime, kind: str = PACKET) -> dict[int, int]:
    """One packet for each host, or "" where its flows are asked for; the id of the question to each host."""
    session.execute(delete(Trace).where(Trace.asked_at < now - KEPT))
    traces = [Trace(host_id=host, kind=kind, packet=packet, asked_at=now) for host, packet in packets.items()]
    session.add_all(traces)
    session.flush()
    notify(session, PROGRESS_CHANNEL)
    return {trace.host_id: trace.id for trace in traces}


def waiting(session: Session | Connection) -> dict[int, int]:
    """The host of each question that is not answered yet."""
    return {row.id: row.host_id for row in session.execute(_WAITING)}


def dumps_asked(session: Session, host_id: int) -> list[dict[str, Any]]:
    """Questions for the host's flows that are not answered yet, oldest first."""
    query = select(Trace.id).where(Trace.host_id == host_id, Trace.answered_at.is_(None), Trace.kind == FLOWS)
    return [{"id": id} for id in session.execute(query.order_by(Trace.id)).scalars()]


def asked(session: Session, host_id: int) -> list[dict[str, Any]]:
    """The packets of which the host's agent has not said yet what becomes of them, oldest first."""
    query = select(Trace.id, Trace.packet).where(Trace.host_id == host_id, Trace.answered_at.is_(None))
    query = query.where(Trace.kind == PACKET)
    return [{"id": id, "packet": packet} for id, packet in session.execute(query.order_by(Trace.id))]


def answer(session: Session, host_id: int, id: int, said: Mapping[str, Any], now: datetime) -> None:
    mine = update(Trace).where(Trace.id == id, Trace.host_id == host_id)
    done = session.execute(mine.values(answer=dict(said), answered_at=now))
    assert isinstance(done, CursorResult)
    if not done.rowcount:
        raise NotFound(f"there is no question {id} for this host", "forget it: whoever asked has given up", "trace")
    notify(session, PROGRESS_CHANNEL)


def answers(session: Session, ids: Collection[int]) -> dict[int, dict[str, Any]]:
    """What has been answered so far, by the question's id."""
    query = select(Trace.id, Trace.answer).where(Trace.id.in_(ids), Trace.answered_at.is_not(None))
    return {row.id: row.answer for row in session.execute(query)}


def forget(session: Session, ids: Collection[int]) -> None:
    session.execute(delete(Trace).where(Trace.id.in_(ids)))
