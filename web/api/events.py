"""Events: a stream of revisions as they happen (`text/event-stream`), for pages and programs.

    id: 42
    event: revision
    data: {"revision": 42, "changes": [{"noun": "endpoint", "id": 7, "op": "create"}], "pulse": 1764262800123456}

`id` is the revision, so that a reader who lost the connection says `Last-Event-ID` and misses nothing. `status` says
that something changed which has no revision (a host confirmed, an agent reported); `reset` that the log does not
reach back to where the reader was, so that it has to look at everything anew; `tick` that nothing happened for a
while but the connection is alive, or that it ends, as the reader is not let in any more. `pulse` grows with every
commit of any kind, as this process has seen them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import lru_cache
from itertools import groupby
from random import uniform
from typing import Any

from apiflask import APIBlueprint
from flask import Response, copy_current_request_context, request

from db.errors import DomainError
from web.api.schemas.revision import EventsQuery
from web.auth.access import SIGHT, TENANT_READERS, admit, allow, sight, unauthenticated
from web.auth.identity import identify
from web.live import Change, Live
from web.problems import FieldFault, Problem
from web.state import state
from web.viewers import GATHER_SECONDS, Turn, Viewers

TICK_SECONDS = 15.0
STATUS_EVERY_SECONDS = 0.5
RETRY_MILLISECONDS = 1000
MOST_REPLAYED = 1000
TRUST_SECONDS = 2.0
"""How long a look at who listens holds: of hundreds who hear of every change, each would cost one for each change."""

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

    Continues after the revision in `Last-Event-ID` or `after`; without either it begins now. Whoever gives a `pulse`
    is told of changes in turns, together with all others who do.
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
    viewers = None if query.pulse is None else state().viewers
    sees = now_and_then(copy_current_request_context(seen_tenants))
    told = until_refused(events(live, after, sees, query.pulse, viewers))
    response = Response(told, mimetype="text/event-stream")
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
    """Of what the asker is told now: the answer goes on for as long as somebody listens, and by then a token may be
    revoked, a session over, or a role taken away. Refuses who would be refused the stream."""
    principal = identify()
    if principal is None:
        raise unauthenticated("Your session is over; log in again.")
    admit(principal)
    found = sight()
    return None if found is None else frozenset(found.values())


def now_and_then(sees: Callable[[], frozenset[int] | None]) -> Callable[[], frozenset[int] | None]:
    """The same, looked up again after `TRUST_SECONDS`."""
    known: tuple[float, frozenset[int] | None] = -TRUST_SECONDS, None

    def seen() -> frozenset[int] | None:
        nonlocal known
        if (now := time.monotonic()) >= known[0] + TRUST_SECONDS:
            known = now, sees()
        return known[1]

    return seen


def until_refused(told: Iterator[str]) -> Iterator[str]:
    """Ends with a tick, at which an open page asks for itself and is led to the log-in."""
    try:
        yield from told
    except (Problem, DomainError):
        yield event("tick", {"pulse": 0})


def events(
    live: Live,
    after: int | None,
    sees: Callable[[], frozenset[int] | None] = lambda: None,
    pulse: int | None = None,
    viewers: Viewers | None = None,
) -> Iterator[str]:
    """Everything after the revision `after` and the pulse `pulse`. With `viewers` when it is their turn. `sees` is
    asked before each event."""
    turn = _turn(live, viewers)
    position = turn.seen.revision if after is None else after
    # Whoever comes back may have missed what has no revision.
    status_waits, status_due = after is not None and pulse is None, 0.0
    pulse = turn.seen.pulse if pulse is None else pulse
    yield f"retry: {RETRY_MILLISECONDS}\n\n"
    while not live.closing:
        turn = _turn(live, viewers)
        seen, now = turn.seen, time.monotonic()
        changes = live.since(position)
        if changes and seen.revision < changes[-1].revision:
            changes = [one for one in changes if one.revision <= seen.revision]  # the others in the next turn
        status_waits = status_waits or seen.pulse > pulse
        pulse = max(pulse, seen.pulse)
        says_status = status_waits and now >= status_due
        if changes is None or changes or says_status:
            _spread(live, turn)
            tenants = sees()
        if changes is None or len(changes) > MOST_REPLAYED:
            position, pulse, _ = seen = live.seen()
            yield event("reset", {"revision": position, "pulse": pulse}, position)
        elif changes:
            position = changes[-1].revision
            own = tuple(one for one in changes if tenants is None or one.tenant_id in tenants)
            yield revision_events(own, pulse)
        elif says_status:
            status_waits, status_due = False, now + STATUS_EVERY_SECONDS
            yield event("status", {"pulse": pulse})
        idle = not status_waits
        if not live.wait_for_pulse(seen.pulse, TICK_SECONDS if idle else status_due - time.monotonic()):
            if idle:
                turn = _turn(live, viewers)
                _spread(live, turn)
                sees()
                yield event("tick", {"pulse": turn.seen.pulse})
        elif (early := turn.until - time.monotonic()) > 0:
            live.rest(early)


def _turn(live: Live, viewers: Viewers | None) -> Turn:
    """Who is alone has a turn of his own."""
    return viewers.turn() if viewers else Turn(live.seen(), time.monotonic() + GATHER_SECONDS, 0.0)


def _spread(live: Live, turn: Turn) -> None:
    """Some moment of the turn, so that not all ask at once for what they are told of."""
    if turn.spread > 0:
        live.rest(uniform(0, turn.spread))


@lru_cache(maxsize=64)
def revision_events(changes: tuple[Change, ...], pulse: int) -> str:
    """Written once for all who are told the same."""
    events = []
    for revision, group in groupby(changes, key=lambda change: change.revision):
        rows = [{"noun": change.noun, "id": change.id, "op": change.op} for change in group]
        events.append(event("revision", {"revision": revision, "changes": rows, "pulse": pulse}, revision))
    return "".join(events)


def event(name: str, data: object, id: int | None = None) -> str:
    head = f"id: {id}\n" if id is not None else ""
    return f"{head}event: {name}\ndata: {json.dumps(data)}\n\n"
