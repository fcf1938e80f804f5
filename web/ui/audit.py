"""The audit log as a page and as a file: who changed what, when and from where, and what it was before."""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Iterator
from datetime import datetime
from typing import get_args

from flask import Response, request
from pydantic import ValidationError

from db import audit as db_audit
from web.api.audit import found
from web.api.contract import fault
from web.api.replies import Json
from web.api.schemas.audit import AuditQuery, Noun
from web.auth.access import READERS, SIGHT, TENANT_ADMINS, allow
from web.state import reading
from web.ui.frame import blueprint, render

PER_PAGE = 50
EXPORTED_AT_ONCE = 1000
MOST_EXPORTED = 100_000
VERIFIED_AT_ONCE = 2000
NOUNS = get_args(Noun)
FILTERS = ("tenant", "actor", "noun", "since", "until")

_KEY = secrets.token_bytes(32)
"""Whoever could make up how far the log was verified could let somebody see it verified."""


@blueprint.get("/audit", endpoint="audit")
@allow(READERS | TENANT_ADMINS, by=SIGHT)
def log() -> str:
    page = found(_query(limit=PER_PAGE, cursor=request.args.get("cursor") or None))
    items = [_shown(entry) for entry in page["items"]]
    return render("audit.html", "Audit", items=items, next=page["next"], asked=_asked(), nouns=NOUNS)


@blueprint.get("/audit.jsonl")
@allow(READERS | TENANT_ADMINS, by=SIGHT)
def export_audit() -> Response:
    """One entry a line, oldest first, with the hashes that `warren audit verify` looks at."""
    headers = {"Content-Disposition": "attachment; filename=audit.jsonl"}
    text = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in _all())
    return Response(text, content_type="application/jsonl; charset=utf-8", headers=headers)


@blueprint.get("/audit/verification")
@allow(READERS)
def verify_audit() -> str:
    """Part by part, so that no answer takes long however many entries there are: the page asks for the next part."""
    with reading() as session:
        found = db_audit.verify(session, _known(request.args.get("known", "")), VERIFIED_AT_ONCE)
    known = f"{found.entries}.{found.hash}.{_signed(found.entries, found.hash)}" if found.more else None
    return render("audit_verified.html", "Audit", found=found, known=known)


def _known(text: str) -> db_audit.Verified:
    """What an answer of this process said; of any other text nothing is believed, and it begins anew."""
    entries, _, rest = text.partition(".")
    hash, _, signature = rest.partition(".")
    if not entries.isascii() or not entries.isdigit() or len(entries) > 16:
        return db_audit.BEGINNING
    if not hmac.compare_digest(signature.encode(), _signed(int(entries), hash).encode()):
        return db_audit.BEGINNING
    return db_audit.Verified(int(entries), hash, None, True)


def _signed(entries: int, hash: str) -> str:
    return hmac.new(_KEY, f"{entries} {hash}".encode(), "sha256").hexdigest()


def _all() -> Iterator[Json]:
    cursor: str | None = None
    for _ in range(MOST_EXPORTED // EXPORTED_AT_ONCE):
        page = found(_query(limit=EXPORTED_AT_ONCE, cursor=cursor, oldest_first=True))
        yield from page["items"]
        cursor = page["next"]
        if cursor is None:
            return


def _asked() -> dict[str, str]:
    return {name: request.args.get(name, "").strip() for name in FILTERS}


def _query(**more: object) -> AuditQuery:
    asked: dict[str, object] = {name: value for name, value in _asked().items() if value}
    for name in ("since", "until"):
        if name in asked:
            asked[name] = f"{asked[name]}T00:00:00Z"
    try:
        return AuditQuery.model_validate(asked | {name: value for name, value in more.items() if value is not None})
    except ValidationError as error:
        raise fault(error.errors(include_url=False), AuditQuery) from None


def _shown(entry: Json) -> Json:
    """With its fields side by side, as they were and as they became."""
    before, after = entry["before"] or {}, entry["after"] or {}
    fields = [(name, _text(before.get(name)), _text(after.get(name))) for name in sorted({*before, *after})]
    return entry | {"fields": fields, "at": datetime.fromisoformat(entry["at"])}


def _text(value: object) -> str:
    if value is None or value == "":
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
