"""The audit log over HTTP. It is only read: entries come into being with the changes they are about."""

from __future__ import annotations

from datetime import datetime

from apiflask import APIBlueprint

from db import audit
from db.errors import Invalid
from web.api.cursors import number
from web.api.replies import Json
from web.api.schemas.audit import AuditPage, AuditQuery, AuditVerification
from web.auth.access import READERS, SIGHT, TENANT_ADMINS, allow, sight
from web.state import reading

blueprint = APIBlueprint("audit", __name__, tag="Access")


@blueprint.get("/audit")
@allow(READERS | TENANT_ADMINS, by=SIGHT)
@blueprint.input(AuditQuery, "query", "query")
@blueprint.output(AuditPage)
def find(query: AuditQuery) -> Json:
    """List who changed what

    The newest first.
    """
    return found(query)


def found(query: AuditQuery) -> Json:
    seen = sight()
    asked = query.model_dump(exclude={"sort"}) | {"cursor": number(query.cursor)}
    asked["oldest_first"] = query.oldest_first or query.sort == "created"
    for field in ("since", "until"):
        asked[field] = _with_zone(asked[field], field)
    with reading() as session:
        page = audit.find(session, tenants=None if seen is None else seen.values(), **asked)
        return {"items": [row.document() for row in page.items], "next": page.next}


@blueprint.get("/audit/verification")
@allow(READERS)
@blueprint.output(AuditVerification)
def verify() -> Json:
    """Tell whether the log is as it was written"""
    with reading() as session:
        found = audit.verify(session)
    return {"intact": found.problem is None, "entries": found.entries, "hash": found.hash, "problem": found.problem}


def _with_zone(moment: datetime | None, field: str) -> datetime | None:
    if moment is not None and moment.tzinfo is None:
        raise Invalid(f"{moment.isoformat()} has no time zone", "write it like 2026-11-27T12:00:00Z", field)
    return moment
