"""`?dry_run=true`: a change is carried out in a transaction that is undone, and the answer tells what it would do.

It decides how the world before and after is had without holding up writers; what follows from the two is said by
`controller.calc.preview` and `policy_preview`, and what is refused by the change itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

from flask import Response, jsonify

from controller.calc import preview
from controller.calc.beyond import beyond
from controller.calc.gone import Gone, going, reached
from controller.calc.policy_preview import Opening, openings
from controller.calc.preview import Difference, Effort
from controller.model import Change, Endpoint
from controller.world import World
from db.changes import Transaction, rehearsal
from db.errors import Busy
from db.snapshot import load
from web.api import ports
from web.api.replies import Json
from web.api.schemas.preview import Preview
from web.auth.access import sight
from web.modelled import caught_up
from web.state import state

MOST_CHANGES = 1000
ATTEMPTS = 3
NOTHING = "Nothing changes in who reaches whom among endpoints."
TOO_MUCH = "Policies of too many endpoints have to do with it to tell what changes in who reaches whom."
MOST_JUDGED = 2000
MOST_GONE = 20
MOST_JUDGED_OF_GONE = 500


Tells = Callable[[Any], Sequence[str]]
"""Says of what was made, or went, what no comparison of who reaches whom can say."""


def previewed(change: Callable[[Transaction], object], tells: Tells | None = None) -> Response:
    made: list[object] = []
    document = told(lambda tx: made.append(change(tx)))
    first = list(tells(made[-1])) if tells else []
    return jsonify({**document, "words": first + document["words"]})


class Foretold(NamedTuple):
    """The world as it is and as it would be, and what is said of that."""

    old: World
    new: World
    document: Json


def told(change: Callable[[Transaction], object]) -> Json:
    return foretold(change).document


def foretold(change: Callable[[Transaction], object]) -> Foretold:
    """What `change` would do. The revision is the newest there is: nothing was changed."""
    old, changes = rehearsed(change)
    new = old.apply(old.revision, changes)
    effort = Effort(MOST_JUDGED)
    rows = chain(preview.differences(old, new, changes, effort), openings(old, new, changes, effort))
    seen = sight()
    if seen is not None:
        rows = (row for row in rows if all(end.partition("/")[0] in seen for end in (row.source, row.destination)))
    found = list(islice(rows, MOST_CHANGES + 1))
    shown = found[:MOST_CHANGES]
    doomed = [one for one in going(old, new, changes) if seen is None or one.name.partition("/")[0] in seen]
    told_of = doomed[:MOST_GONE]
    gone = list(map(_gone, reaching(old, told_of)))
    left = len(doomed) - len(told_of)
    words = [f"{one['endpoint']} goes: {one['words']}." for one in gone]
    words += [f"{left} more endpoint{' goes' if left == 1 else 's go'}."] if left else []
    words += [str(row) for row in shown]
    words += [] if shown or (gone and not effort.spent) else [TOO_MUCH if effort.spent else NOTHING]
    further = [one.words for one in beyond(old, new, changes) if seen is None or one.tenant in seen]
    further += ports.turned(old, new, changes, seen)
    words += [f"Beyond endpoints: {one}." for one in further]
    document = {
        "dry_run": True,
        "revision": old.revision,
        "words": words,
        "gone": gone,
        "gone_more": left,
        "changes": list(map(_change, shown)),
        "beyond": further,
        "more": len(found) > len(shown) or effort.spent,
        "hosts": [
            {"host": old.hosts[id].name, "gained": flows.gained, "lost": flows.lost}
            for id, flows in (sorted(preview.flows(old, new, changes).items()) if seen is None else ())
        ],
    }
    return Foretold(old, new, Preview.model_validate(document).model_dump(mode="json", by_alias=True))


def reaching(world: World, endpoints: Sequence[Endpoint]) -> Iterator[Gone]:
    """How many reach each of the endpoints; to a tenant's people, how many of those that they see."""
    seen = sight()
    return reached(world, endpoints, Effort(MOST_JUDGED_OF_GONE), None if seen is None else frozenset(seen.values()))


def in_words(gone: Gone) -> str:
    """For whoever asks: to a tenant's people, only what they see was counted."""
    return gone.words(own=sight() is not None)


def _gone(row: Gone) -> dict[str, object]:
    return {"endpoint": row.endpoint, "reached_by": row.reached_by, "at_most": row.at_most, "words": in_words(row)}


def _change(row: Difference | Opening) -> dict[str, str | None]:
    allowed, reason = row.after if isinstance(row, Difference) else (row.allowed, row.reason)
    return {
        "from": row.source,
        "to": row.destination,
        "service": row.service,
        "before": "denied" if allowed else "allowed",
        "after": "allowed" if allowed else "denied",
        "reason": reason,
    }


def rehearsed(change: Callable[[Transaction], object]) -> tuple[World, list[Change]]:
    """The world as it is, and what `change` would change of it."""
    # Reading a large world takes a while, so it is there before anybody has to wait for this.
    world = state().modelled.now()
    for attempt in range(ATTEMPTS):
        try:
            with rehearsal(state().engine) as tx:
                world = caught_up(world, tx.session)
                change(tx)
                tx.session.flush()
                return world, load(tx.session, tx.recorded)
        except Busy:
            if attempt + 1 == ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")
