"""Role rules: each view declares beside itself who may call it, and a view without a rule stops the start-up.

It decides who is asking (bearer token or session cookie), whether the view's rule lets them in, and which sentence
turns them away. It refuses to know what the views do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from flask import Flask, g, request

from web.auth import origin
from web.auth.principal import ADMIN, AGENT, CNI, ENROL, VIEWER, Principal
from web.problems import CHALLENGE, Problem

View = TypeVar("View", bound=Callable[..., Any])

CHANGERS = frozenset({ADMIN})
READERS = frozenset({ADMIN, VIEWER})
AGENTS = frozenset({AGENT})
ATTACHERS = frozenset({AGENT, CNI, ADMIN})
WATCHERS = frozenset({AGENT, ADMIN, VIEWER})
ENGINES = frozenset({AGENT, ADMIN})
ENROLLERS = frozenset({ENROL})
ANYONE_KNOWN = frozenset({ADMIN, VIEWER, AGENT, CNI})


class Rule(NamedTuple):
    """`roles` may call the view; None: everybody, without saying who they are.

    With `own_host`, whoever is bound to a host may name only that host in the path.
    """

    roles: frozenset[str] | None
    own_host: bool = False


def allow(roles: frozenset[str], own_host: bool = False) -> Callable[[View], View]:
    """Let `roles` call the view below."""

    def declare(view: View) -> View:
        view.access_rule = Rule(roles, own_host)  # type: ignore[attr-defined]
        return view

    return declare


def public(view: View) -> View:
    """Let everybody call the view below, also without saying who they are."""
    view.access_rule = Rule(None)  # type: ignore[attr-defined]
    return view


def rule_of(view: Callable[..., Any]) -> Rule | None:
    return getattr(view, "access_rule", None)


def register(app: Flask, identify: Callable[[], Principal | None]) -> None:
    """Enforce the rules of `app`'s views; call it after every view is there."""
    naked = sorted(name for name, view in app.view_functions.items() if rule_of(view) is None)
    if naked:
        raise RuntimeError(f"no access rule on {', '.join(naked)}: add @allow(...) or @public to each view")

    def enforce() -> None:
        if request.endpoint is None or request.method == "OPTIONS":
            return
        if "\0" in request.path or any("\0" in text for pair in request.args.items(multi=True) for text in pair):
            raise Problem("malformed", "The address holds a NUL character (%00); leave it out.")
        origin.check()
        rule = rule_of(app.view_functions[request.endpoint])
        assert rule is not None
        g.principal = None
        if rule.roles is None:
            return
        g.principal = principal = identify()
        if principal is None:
            raise unauthenticated("This needs a token: send the header 'Authorization: Bearer wrn_...'.")
        if principal.role not in rule.roles:
            needed = " or ".join(sorted(rule.roles))
            raise Problem("forbidden", f"{principal} has the role {principal.role}; this needs {needed}.")
        if rule.own_host and principal.host is not None and request.view_args["host"] != principal.host:  # type: ignore[index]
            named = request.view_args["host"]  # type: ignore[index]
            raise Problem(
                "forbidden", f"{principal} speaks for host '{principal.host}' only; '{named}' needs its own token."
            )

    app.before_request(enforce)


def unauthenticated(detail: str, slug: str = "unauthenticated") -> Problem:
    return Problem(slug, detail, headers={"WWW-Authenticate": CHALLENGE})


def whoever() -> Principal:
    """Who asks in this request; only in views whose rule names roles."""
    principal: Principal = g.principal
    return principal
