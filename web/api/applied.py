"""Changes that answer with where they are live, after waiting for it if asked to, or with what they would do."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, json, request

from db import idempotency
from db.changes import Transaction
from web.api.preview import Tells, previewed
from web.api.replies import Answer, Json, View, changed, created
from web.api.revisions import awaited
from web.api.schemas.isolation import ChangeQuery


def applied(
    change: Callable[[Transaction], Json], query: ChangeQuery, beside: bool = True, tells: Tells | None = None
) -> Answer | Response:
    """The object after `change`, and what each host concerned says of it; or a preview of the change. `beside`: its
    schema is of `Applied`, which always tells; else it is told to who waits, as it costs others some statements.
    `tells` says more in a preview."""
    if query.dry_run:
        return previewed(change, tells)
    body, status, headers = changed(change)
    return body | live(body, query, beside), status, headers


def added(
    create: Callable[[Transaction], Json],
    query: ChangeQuery,
    secret: str | None = None,
    beside: bool = True,
    tells: Tells | None = None,
) -> Answer | Response:
    """As `applied`, for a new object, made once per Idempotency-Key. `secret` names the field that is shown once."""
    if query.dry_run:
        if (key := request.headers.get("Idempotency-Key")) is not None:
            idempotency.check(key)
        return previewed(create, tells)
    answer = created(create, secret)
    if isinstance(answer, Response):  # sent again, as it was; where it is live is told anew
        body = answer.get_json()
        told = live(body, query, beside)
        answer.set_data(json.dumps(body | told | ((told["live"] or {}) if beside else {})))
        return answer
    body, status, headers = answer
    return body | live(body, query, beside), status, headers


def removed(
    delete: Callable[[Transaction], object], query: ChangeQuery, tells: Tells | None = None
) -> Answer | Response:
    """As `applied`, for an object that is deleted; `tells` is given what `delete` returns."""
    if query.dry_run:
        return previewed(delete, tells)

    def change(tx: Transaction) -> Json:
        delete(tx)
        return {}

    return applied(change, query)


def live(body: Json, query: ChangeQuery, always: bool = False) -> Json:
    """Where the revision of this answer is, after waiting for it as the query says."""
    if not (query.wait or always):
        return {"live": None}
    progress = awaited(body["revision"], query.wait)
    return {"live": {"state": progress["state"], "hosts": progress["hosts"]}}


def previewable(view: View) -> View:
    """Mark a view that may answer with a preview, for the API's description."""
    view.previewable = True  # type: ignore[attr-defined]
    return view
