"""Cross-origin check: a browser may only change things from our own pages.

Browsers say where a request comes from (`Sec-Fetch-Site`, or `Origin` in old ones) and scripts cannot forge it.
Programs send neither and carry a token that no foreign page can add, so they pass. Stronger than a hidden form
token and needs no state.
"""

from __future__ import annotations

from flask import request

from web.problems import Problem

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def check() -> None:
    if request.method in SAFE_METHODS:
        return
    site = request.headers.get("Sec-Fetch-Site")
    origin = request.headers.get("Origin")
    if site is not None:
        # "none": the person typed the address or used a bookmark.
        if site in ("same-origin", "none"):
            return
    elif origin is None or origin.partition("://")[2] == request.host:
        return
    source = origin or f"a {site} page"
    raise Problem("cross-origin", f"This change was sent from {source}; make it from a page of {request.host} itself.")
