"""Events: a stream of revisions as they happen (`text/event-stream`), for pages and programs.

    id: 42
    event: revision
    data: {"revision": 42, "changes": [{"noun": "endpoint", "id": 7, "op": "create"}]}

`id` is the revision, so that a reader who lost the connection says `Last-Event-ID` and misses nothing. `status` says
that something changed which has no revision (a host confirmed, an agent reported); `reset` that the log does not
reach back to where the reader was, so that it has to look at everything anew; `tick` that nothing happened for a
while but the connection is alive.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache
from itertools import groupby
from typing import Any

from apiflask import APIBlueprint
from flask import Response, request

from web.api.schemas.revision import EventsQuery
from web.auth.access import SIGHT, TENANT_READERS, allow, sight
from web.live import Change, Live
from web.problems import FieldFault, Problem
from web.state import state

TICK_SECONDS = 15.0
STATUS_EVERY_SECONDS = 0.5
GATHER_SECONDS = 0.25
"""The least time between two events of a stream. The first comes at once; what follows so soon comes together, so that
many listeners cost little however much changes."""
RETRY_MILLISECONDS = 1000
MOST_REPLAYED = 1000

STREAM: dict[int | str, dict[str, str | dict[str, dict[str, Any]]]] = {
    200: {
        "description": "A stream of events `revision`, `status`, `reset` and `tick`.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}

blueprint = APIBlueprint("events", __name__, tag="Revisions")


@blueprint.get("/events")
@allow(TENANT_READERS, by=SIGHT)
@blueprint.input(EventsQuery, "query", "query")
@blueprint.doc(responses=STREAM)
def stream(query: EventsQuery) -> Response:
    """Follow what changes

    Continues after the revision in `Last-Event-ID` or `after`; without either it begins now.
    """
    live = state().live
    known = last_event_id()
    after = known if known is not None else query.after
    held = ExitStack()
    if not held.enter_context(live.slot()):
        raise Problem(
            "overloaded",
            "Too many listeners; try again in a few seconds, or raise --threads.",
            headers={"Retry-After": "5"},
        )
    response = Response(events(live, after, seen_tenants()), mimetype="text/event-stream")
    response.headers["X-Accel-Buffering"] = "no"
    response.call_on_close(held.close)
    return response


def last_event_id() -> int | None:
    text = request.headers.get("Last-Event-ID")
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        message = f"Last-Event-ID {text!r} is not a revision; send the id of the last event."
        raise Problem("invalid", message, [FieldFault("Last-Event-ID", message)])
    return int(text)


def seen_tenants() -> frozenset[int] | None:
    """Of what the asker is told; the answer goes on when the request is over."""
    found = sight()
    return None if found is None else frozenset(found.values())


def events(live: Live, after: int | None, tenants: frozenset[int] | None = None) -> Iterator[str]:
    seen = live.seen()
    position = seen.revision if after is None else after
    # Whoever comes back may have missed what has no revision.
    status_waits, status_due, pulse = after is not None, 0.0, seen.pulse
    yield f"retry: {RETRY_MILLISECONDS}\n\n"
    told = 0.0
    while not live.closing:
        seen, now = live.seen(), time.monotonic()
        changes = live.since(position)
        status_waits = status_waits or seen.pulse != pulse
        pulse = seen.pulse
        if changes is None or len(changes) > MOST_REPLAYED:
            position = seen.revision
            yield event("reset", {"revision": position}, position)
        elif changes:
            position = changes[-1].revision
            yield revision_events(tuple(one for one in changes if tenants is None or one.tenant_id in tenants))
        elif status_waits and now >= status_due:
            status_waits, status_due = False, now + STATUS_EVERY_SECONDS
            yield event("status", {})
        idle = not status_waits
        if not live.wait_for_pulse(pulse, TICK_SECONDS if idle else status_due - now):
            if idle:
                yield event("tick", {})
        elif (early := told + GATHER_SECONDS - time.monotonic()) > 0:
            live.rest(early)
        told = time.monotonic()


@lru_cache(maxsize=64)
def revision_events(changes: tuple[Change, ...]) -> str:
    """Written once for all who are told the same."""
    events = []
    for revision, group in groupby(changes, key=lambda change: change.revision):
        rows = [{"noun": change.noun, "id": change.id, "op": change.op} for change in group]
        events.append(event("revision", {"revision": revision, "changes": rows}, revision))
    return "".join(events)


def event(name: str, data: object, id: int | None = None) -> str:
    head = f"id: {id}\n" if id is not None else ""
    return f"{head}event: {name}\ndata: {json.dumps(data)}\n\n"
