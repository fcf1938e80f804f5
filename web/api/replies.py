"""What answers have in common: revisions, ETags, pages, and creates that may safely be sent again.

It decides how a change is wrapped in its transaction and reported; it knows no noun.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from flask import Response, request
from pydantic_core import to_jsonable_python
from sqlalchemy.orm import Session

from db import idempotency, users
from db.changes import Transaction, current_revision
from db.errors import StaleVersion
from db.pages import Page
from web.auth.access import whoever
from web.problems import FieldFault, Problem
from web.state import changing, reading

Json = dict[str, Any]
Answer = tuple[Json, int, dict[str, str]]
Row = TypeVar("Row")
View = TypeVar("View", bound=Callable[..., Any])

REPLAYED = "Idempotent-Replayed"


def shown(show: Callable[[Session], Json]) -> Answer:
    """One object as it is now."""
    with reading() as session:
        body = show(session) | {"revision": current_revision(session)}
    return body, 200, etag(body)


def listed(find: Callable[[Session], Page[Row]], show: Callable[[Session, Sequence[Row]], list[Json]]) -> Json:
    """One page of a list."""
    with reading() as session:
        page = find(session)
        revision = {"revision": current_revision(session)}
        return {"items": [item | revision for item in show(session, page.items)], "next": page.next}


def changed(change: Callable[[Transaction], Json]) -> Answer:
    """One object after a change."""
    with changing() as tx:
        body = change(tx)
    body["revision"] = tx.revision
    return body, 200, etag(body)


def deleted(delete: Callable[[Transaction], object]) -> Json:
    with changing() as tx:
        delete(tx)
    return {"revision": tx.revision}


def created(create: Callable[[Transaction], Json], secret: str | None = None) -> Answer | Response:
    """A new object, made once however often the same request with the same Idempotency-Key arrives.

    `secret` names the field that is shown once: it is not kept, and null in a reply that is sent again.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        with changing() as tx:
            body = create(tx)
        body["revision"] = tx.revision
        return body, 201, etag(body)

    asker = whoever()
    sender = f"{asker.kind}:{asker.id}"
    asked = fingerprint(f"{sender} {key}")
    with changing() as tx:
        kept = idempotency.recall(tx.session, sender, key, asked, tx.now)
        if kept is not None:
            # As it was sent the first time, even if today's answers look different.
            return Response(
                json.dumps(kept.body), kept.status, {REPLAYED: "true", **etag(kept.body)}, mimetype="application/json"
            )
        body = create(tx)

        def reply(revision: int) -> idempotency.Reply:
            body["revision"] = revision
            public = body | ({secret: None} if secret else {})
            return idempotency.Reply(201, to_jsonable_python(public))

        idempotency.keep(tx, sender, key, asked, reply)
    return body, 201, etag(body)


def idempotent(view: View) -> View:
    """Mark a view that answers through `created`, for the API's description."""
    view.idempotent = True  # type: ignore[attr-defined]
    return view


def conditional(view: View) -> View:
    """Mark a view that honours If-Match, for the API's description."""
    view.conditional = True  # type: ignore[attr-defined]
    return view


def fingerprint(salt: str) -> str:
    """What the request asks for: another body or path under the same key is another request.

    It is kept for a day, so a password in it is no easier to guess than by the hash that opens the door.
    """
    body = request.get_json(force=True, silent=True)
    if isinstance(body, dict) and (password := body.get("password")):
        body = body | {"password": users.digest(str(password), salt)}
    data = json.dumps(body, sort_keys=True)
    return hashlib.sha256(f"{request.method} {request.path}\n{data}".encode()).hexdigest()


def etag(body: Json) -> dict[str, str]:
    return {"ETag": f'"{body["version"]}"'} if "version" in body else {}


def if_match() -> int | None:
    """The version that the sender has seen; None: whichever it is now."""
    header = request.headers.get("If-Match")
    if header is None or header.strip() == "*":
        return None
    tag = header.strip()
    if re.fullmatch(r'(W/)?"[!#-~]*"', tag) is None:
        message = f'If-Match {header!r} is not an ETag; send one like "3", with its quotes, as the last answer had it.'
        raise Problem("malformed", message, [FieldFault("If-Match", message)])
    found = re.fullmatch(r'"(\d{1,9})"', tag)
    if found is None:
        raise StaleVersion(f"If-Match {header} is not an ETag of this API", "send that of the last answer")
    return int(found[1])


def labels_asked(given: Sequence[str]) -> dict[str, str]:
    """`["app=web"]` to `{"app": "web"}`."""
    asked = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            message = f"Label filter {text!r} has no value; write it like label=app=web."
            raise Problem("invalid", message, [FieldFault("label", message)])
        asked[key] = value
    return asked
