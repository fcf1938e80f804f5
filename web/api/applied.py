"""Changes that answer with where they are live, after waiting for it if asked to, or with what they would do."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response

from db.changes import Transaction
from web.api.preview import previewed
from web.api.replies import Answer, Json, View, changed
from web.api.revisions import awaited
from web.api.schemas.isolation import ChangeQuery


def applied(change: Callable[[Transaction], Json], query: ChangeQuery) -> Answer | Response:
    """The object after `change`, and what each host concerned says of it; or a preview of the change."""
    if query.dry_run:
        return previewed(change)
    body, status, headers = changed(change)
    progress = awaited(body["revision"], query.wait)
    return body | {"state": progress["state"], "hosts": progress["hosts"]}, status, headers


def previewable(view: View) -> View:
    """Mark a view that may answer with a preview, for the API's description."""
    view.previewable = True  # type: ignore[attr-defined]
    return view
