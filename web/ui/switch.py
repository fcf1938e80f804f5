"""Tenants to choose from at the top of every page.

What is chosen is in the address and nowhere else, so that a link shows everybody the same.
"""

from __future__ import annotations

from flask import request
from markupsafe import Markup

from db import tenants
from web.auth.access import SIGHT, TENANT_READERS, allow
from web.state import reading
from web.ui.frame import blueprint

OFFERED = 20


@blueprint.get("/switch/tenants")
@allow(TENANT_READERS, by=SIGHT)
def switch_tenants() -> str:
    """Some whose name has the text in it, as options."""
    text = request.args.get("tenant", request.args.get("q", "")).strip()[:63]
    with reading() as session:
        found = tenants.find(session, text=text or None, limit=OFFERED).items
    return Markup("").join(Markup('<option value="{}">').format(row.name) for row in found)
