"""What is asked about the API itself: is it there, and whom does it take me for."""

from __future__ import annotations

from apiflask import APIBlueprint

from db.changes import current_revision
from web.api.replies import Json
from web.api.schemas.token import Health, Whoami
from web.auth.access import ANYONE_KNOWN, allow, public, whoever
from web.state import reading

blueprint = APIBlueprint("meta", __name__, tag="Access")
health = APIBlueprint("health", __name__, tag="Access")


@blueprint.get("/whoami")
@allow(ANYONE_KNOWN)
@blueprint.output(Whoami)
def whoami() -> Json:
    """Tell who is asking"""
    asker = whoever()
    tenants = {name: own.role for name, own in asker.grants.tenants.items()}
    return {"kind": asker.kind, "name": asker.name, "role": asker.role, "tenants": tenants, "host": asker.host}


@health.get("/healthz")
@public
@health.output(Health)
def healthz() -> Json:
    """Tell whether the API and its database answer"""
    with reading() as session:
        return {"status": "ok", "revision": current_revision(session)}
