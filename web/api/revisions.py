"""Revisions over HTTP: what changed, and whether it is live. Waiting on one is how convergence is measured."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from apiflask import APIBlueprint
from sqlalchemy import select
from sqlalchemy.orm import Session

from db import convergence, directory, hosts
from db.changes import changes_since, current_revision
from db.errors import NotFound
from db.tables import Host
from web import present
from web.api.replies import Json
from web.api.schemas.revision import Revision, Revisions, RevisionsQuery, RevisionWaitQuery
from web.auth.access import ANYONE_KNOWN, READERS, allow, whoever
from web.auth.principal import MEMBER
from web.live import Held
from web.state import reading, reading_all, state

blueprint = APIBlueprint("revisions", __name__, tag="Revisions")


@blueprint.get("/revisions")
@allow(READERS)
@blueprint.input(RevisionsQuery, "query", "query")
@blueprint.output(Revisions)
def find(query: RevisionsQuery) -> Json:
    """List what changed

    Complete from `after` on, or not at all: when the log does not reach back so far, only the latest are shown.
    """
    with reading() as session:
        newest = current_revision(session)
        rows = changes_since(session, max(newest - query.limit, 0) if query.after is None else query.after) or []
        shown = rows[-query.limit :] if query.after is None else rows[: query.limit]
        return {"revision": newest, "items": [present.change(row) for row in shown]}


@blueprint.get("/revisions/<int:revision>")
@allow(ANYONE_KNOWN)
@blueprint.input(RevisionWaitQuery, "query", "query")
@blueprint.output(Revision)
def get(revision: int, query: RevisionWaitQuery) -> Json:
    """Show where a revision is live

    With `wait` the answer comes when every host concerned has confirmed or refused it, or when the time is over.
    """
    return awaited(revision, query.wait, query.host, query.names_but)


def awaited(revision: int, seconds: float, host: str | None = None, names_but: str | None = None) -> Json:
    """How far a revision is as soon as that is not `pending`, or when the time is over; with `names_but`, also not
    before all hosts but that know its names."""
    live = state().live
    named: frozenset[int] = frozenset()
    if names_but is not None:
        with reading_all() as session:
            named = all_but(session, names_but, directory.concerned(session, revision))
    held = Held(lambda lag: lag.holds_flows(revision) or lag.holds_names(revision, named), named)
    with live.patience(seconds) as deadline:
        while True:
            pulse = live.seen().pulse
            with reading() as session:
                if host is not None and not of_own_hosts(session, [host]):
                    raise NotFound(f"there is no host {host}", "list them with `warren host list`", "host")
                body = progress(session, revision, host)
                if names_but is not None:
                    body["unaware"] = unaware(session, revision, named)
            left = deadline - time.monotonic()
            waits = body["state"] == "pending" or (body["state"] == "applied" and body.get("unaware"))
            if not waits or not live.wait_for_pulse(pulse, left, None if host else held):
                return body


def progress(session: Session, revision: int, host: str | None = None) -> Json:
    found: Json = convergence.progress(session, revision, host).document()
    own = of_own_hosts(session, [one["host"] for one in found["hosts"]])
    found["hosts"] = [one for one in found["hosts"] if one["host"] in own]
    return found


def unaware(session: Session, revision: int, hosts: frozenset[int]) -> list[str]:
    """The hosts, of these, whose resolvers answer from names older than `revision`."""
    return of_own_hosts(session, directory.behind(session, revision, hosts, datetime.now(UTC)))


def all_but(session: Session, host: str | None, of: frozenset[int]) -> frozenset[int]:
    """Hosts by id, without one of this name."""
    if host is None:
        return of
    if whoever().host == host:
        return of - {whoever().host_id}
    return of - {session.execute(select(Host.id).where(Host.name == host)).scalar()}


def of_own_hosts(session: Session, names: Sequence[str]) -> list[str]:
    """The hosts, of these, that the asker may know of: others would tell of other tenants' endpoints."""
    if whoever().role != MEMBER:
        return list(names)
    own = hosts.of_tenants(session, [own.id for own in whoever().grants.tenants.values()])
    return [name for name in names if name in own]
