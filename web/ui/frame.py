"""What every page has around it: the rail's entries, the theme, addresses of static files, the filters of templates.

Decides how a page is rendered (whole, or only its live region), not what is on it.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import cache, wraps
from pathlib import Path
from typing import Any, NamedTuple

from apiflask import APIBlueprint
from flask import Flask, Response, g, make_response, redirect, render_template, request, send_from_directory, url_for
from flask.typing import ResponseReturnValue

from web.auth.access import View, admits, public, sight
from web.problems import Problem
from web.state import state
from web.ui import words
from web.ui.chips import here_with, looked_at, looking_at

STATIC = Path(__file__).parent / "static"
THEMES = ("auto", "light", "dark")
A_YEAR_SECONDS = 31_536_000
TOLD = "Warren-Told"
"""The header in which an open page says the last pulse that it was told of."""
LONGEST_PULSE = 18
"""Digits."""

blueprint = APIBlueprint("ui", __name__, template_folder="templates", enable_openapi=False)


class RailEntry(NamedTuple):
    """`key` follows `g`; some can be asked for one tenant's part."""

    name: str
    endpoint: str
    icon: str
    key: str
    of_a_tenant: bool = False


PAGES = (
    RailEntry("Overview", "ui.overview", "overview", "o"),
    RailEntry("Topology", "ui.topology", "topology", "m", True),
    RailEntry("Tenants", "ui.tenants", "tenant", "t"),
    RailEntry("Networks", "ui.networks", "network", "n", True),
    RailEntry("Endpoints", "ui.endpoints", "endpoint", "e", True),
    RailEntry("Ports", "ui.publications", "port", "b", True),
    RailEntry("Names", "ui.records", "name", "d", True),
    RailEntry("Policies", "ui.policies", "policy", "p", True),
    RailEntry("Trace", "ui.trace", "trace", "r"),
    RailEntry("Hosts", "ui.hosts", "host", "h"),
    RailEntry("Addresses", "ui.addresses", "address", "a"),
    RailEntry("Audit", "ui.audit", "audit", "u"),
    RailEntry("Settings", "ui.settings", "settings", "s"),
)
"""In their order; somebody sees those that are there and let them in."""


def render(template: str, section: str, **facts: Any) -> str:
    """A page; for a request of its own live region only that region."""
    partial = request.headers.get("HX-Request") == "true"
    return render_template(
        template,
        section=section,
        partial=partial,
        pages=[page for page in PAGES if admits(page.endpoint, g.principal)],
        principal=g.principal,
        here=request.full_path.rstrip("?"),
        query=text_asked(),
        seen=g.seen,
        scope=(request.view_args or {}).get("tenant") or narrowed_to(),
        narrowed_to=narrowed_to(),
        of_a_tenant=any(page.of_a_tenant and page.endpoint == request.endpoint for page in PAGES),
        sees_many=(seen := sight()) is None or len(seen) > 1,
        **facts,
    )


def followed(view: View) -> View:
    """A page that says up to where it shows what happened, and whose region is made once for all who follow it with the
    same rights. What they were told of last is in the header `Warren-Told`."""

    @wraps(view)
    def look(**values: Any) -> ResponseReturnValue:
        told = request.headers.get(TOLD, "")
        if request.method != "GET" or not (told.isascii() and told.isdigit() and len(told) <= LONGEST_PULSE):
            g.seen = state().live.seen()
            return view(**values)
        rights = g.principal and (g.principal.role, *sorted(g.principal.grants.tenants.items()))
        what = rights, request.full_path, request.headers.get("HX-Request"), request.cookies.get("columns")
        g.of_many = True
        return state().viewers.shown(what, int(told), lambda: make_response(look_anew(**values)))

    def look_anew(**values: Any) -> ResponseReturnValue:
        g.seen = state().live.seen()
        return view(**values)

    return look  # type: ignore[return-value]


def narrowed_to() -> str | None:
    """The one tenant that is asked for: the lists that the rail leads to are its, too."""
    return request.args.get("tenant", "").strip()[:63] or None


def text_asked() -> str:
    return request.args.get("q", "").strip()[:100]


def error_page(problem: Problem) -> Response:
    """A refusal for people. Who is not logged in, or no longer, is sent to the log-in and back."""
    partial = request.headers.get("HX-Request") == "true"
    if problem.status == 401 and request.method in ("GET", "HEAD"):
        target = url_for("ui.login", next=request.full_path.rstrip("?") if request.path != "/" else None)
        if partial:
            return Response(status=200, headers={"HX-Redirect": url_for("ui.login", next=_page_shown())})
        return make_response(redirect(target, 303))
    return make_response(
        render_template("error_region.html" if partial else "error.html", problem=problem),
        problem.status,
        problem.headers,
    )


def _page_shown() -> str | None:
    shown = request.headers.get("HX-Current-URL", "").removeprefix(request.host_url.rstrip("/"))
    return shown if shown not in ("", "/") else None


@blueprint.get("/static/<path:path>")
@public
def static(path: str) -> Response:
    response = send_from_directory(STATIC, path)
    if request.args.get("v") == digest(path):
        response.headers["Cache-Control"] = f"public, max-age={A_YEAR_SECONDS}, immutable"
    return response


@cache
def digest(path: str) -> str:
    file = STATIC / path
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12] if file.is_file() else ""


def static_url(path: str) -> str:
    return url_for("ui.static", path=path, v=digest(path))


@blueprint.app_context_processor
def always() -> dict[str, Any]:
    theme = request.cookies.get("theme", "auto")
    return {"static_url": static_url, "theme": theme if theme in THEMES else "auto"}


def may_open(view: str) -> bool:
    """Whether whoever asks is let into the page: what one may not open is no link."""
    return admits(view, g.principal)


def register(app: Flask) -> None:
    app.register_blueprint(blueprint)
    for name, view in app.view_functions.items():
        if name.startswith(f"{blueprint.name}.") and name != "ui.static":
            app.view_functions[name] = followed(view)
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    # Macros see globals, and no context.
    app.jinja_env.globals.update(may_open=may_open, here_with=here_with, here_with_page=lambda at: here_with(cursor=at))
    app.jinja_env.globals.update(looked_at=looked_at, looking_at=looking_at)
    app.jinja_env.filters.update(
        thousands=words.thousands,
        free=words.free,
        changed=words.changed,
        prose=words.prose,
        room=words.room,
        size=words.size,
        rate=words.rate,
        duration=words.duration,
        ago=lambda moment: words.ago(moment, datetime.now(UTC)),
        iso=lambda moment: moment.isoformat(timespec="seconds"),
    )
