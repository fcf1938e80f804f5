"""Which columns of lists somebody does not want to see: a cookie of the browser, so that pages come without them."""

from __future__ import annotations

from collections.abc import Mapping

from flask import request

from web.ui.frame import blueprint

COOKIE = "columns"
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "tenants": ("Networks", "Endpoints", "Labels", "Since"),
    "networks": ("Subnets", "Free addresses", "Endpoints", "Reach", "Labels"),
    "hosts": ("State", "Address", "Endpoints", "Flows", "Dropped", "Heard"),
    "endpoints": ("State", "Addresses", "Network", "Host", "Labels", "Since"),
}
"""Those that may be left out: all but the name."""


@blueprint.app_template_global()
def columns_hidden(noun: str) -> list[str]:
    """Of a list, from `endpoints.Labels+endpoints.Since`; what is no column counts for nothing."""
    given = request.cookies.get(COOKIE, "").replace("_", " ").split("+")
    return [column for column in COLUMNS.get(noun, ()) if f"{noun}.{column}" in given]
