"""Role rules: each view declares beside itself who may call it, and a view without a rule stops the start-up.

It decides who is asking (bearer token or session cookie), whether the view's rule lets them in, which tenants they see
while they are there, and which sentence turns them away. It refuses to know what the views do.

Somebody who has no role in a tenant is told that there is none, whether there is or not: nothing is looked up, so
neither the words nor the time tell.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from flask import Flask, current_app, g, request

from db.errors import Unauthenticated
from db.sight import Sight
from web.auth import origin
from web.auth.principal import (
    ADMIN,
    AGENT,
    CNI,
    ENROL,
    MEMBER,
    TENANT_ADMIN,
    TENANT_OPERATOR,
    TENANT_ROLES,
    TENANT_VIEWER,
    VIEWER,
    Principal,
)
from web.auth.rate import Limits
from web.problems import CHALLENGE, Problem

View = TypeVar("View", bound=Callable[..., Any])

CHANGERS = frozenset({ADMIN})
READERS = frozenset({ADMIN, VIEWER})
TENANT_ADMINS = frozenset({ADMIN, TENANT_ADMIN})
TENANT_OPERATORS = TENANT_ADMINS | {TENANT_OPERATOR}
TENANT_READERS = READERS | TENANT_OPERATORS | {TENANT_VIEWER}
AGENTS = frozenset({AGENT})
ATTACHERS = frozenset({AGENT, CNI, ADMIN})
WATCHERS = frozenset({AGENT, ADMIN, VIEWER})
ENGINES = frozenset({AGENT, ADMIN})
ENROLLERS = frozenset({ENROL})
ANYONE_KNOWN = frozenset({ADMIN, VIEWER, MEMBER, AGENT, CNI})

PATH, BODY, SIGHT = "path", "body", "sight"
"""Where a tenant's role is looked at: for the tenant in the path; for those that the body says it is about (`tenants()`
of its schema); or nowhere, because the view answers with what `sight()` lets be seen and with nothing else."""


class Rule(NamedTuple):
    """`roles` may call the view; None: everybody, without saying who they are.

    With `own_host`, whoever is bound to a host may name only that host in the path. `by` is where a role in a tenant
    is looked at. What is `costly` may not be asked as often as one likes by those who do not say who they are.
    """

    roles: frozenset[str] | None
    own_host: bool = False
    by: str = PATH
    costly: bool = False

    @property
    def of_tenants(self) -> bool:
        return self.roles is not None and not self.roles.isdisjoint(TENANT_ROLES)


def allow(roles: frozenset[str], own_host: bool = False, by: str = PATH) -> Callable[[View], View]:
    """Let `roles` call the view below."""

    def declare(view: View) -> View:
        view.access_rule = Rule(roles, own_host, by)  # type: ignore[attr-defined]
        return view

    return declare


def public(view: View) -> View:
    """Let everybody call the view below, also without saying who they are."""
    view.access_rule = Rule(None)  # type: ignore[attr-defined]
    return view


def costly(view: View) -> View:
    """The same for what takes more than handing out a file."""
    view.access_rule = Rule(None, costly=True)  # type: ignore[attr-defined]
    return view


def rule_of(view: Callable[..., Any]) -> Rule | None:
    return getattr(view, "access_rule", None)


def says_tenants(view: Callable[..., Any]) -> bool:
    """Whether the schema of its body has `tenants()`."""
    schema = getattr(view, "_spec", {}).get("body")
    return hasattr(getattr(schema, "model_class", schema), "tenants")


def register(app: Flask, identify: Callable[[], Principal | None], limits: Limits) -> None:
    """Enforce the rules of `app`'s views, and `limits`; call it after every view is there."""
    naked = sorted(name for name, view in app.view_functions.items() if rule_of(view) is None)
    if naked:
        raise RuntimeError(f"no access rule on {', '.join(naked)}: add @allow(...) or @public to each view")
    for route in app.url_map.iter_rules():
        rule = rule_of(app.view_functions[route.endpoint])
        if rule is not None and rule.of_tenants and rule.by == PATH and "tenant" not in route.arguments:
            raise RuntimeError(f"{route.rule} names no tenant: say @allow(..., by=BODY) or by=SIGHT")
        if rule is not None and rule.by == BODY and not says_tenants(app.view_functions[route.endpoint]):
            raise RuntimeError(f"the body of {route.rule} does not say which tenants it is about: add tenants()")

    def enforce() -> None:
        g.principal = g.sight = None
        if request.endpoint is None or request.method == "OPTIONS":
            return
        if "\0" in request.path or any("\0" in text for pair in request.args.items(multi=True) for text in pair):
            raise Problem("malformed", "The address holds a NUL character (%00); leave it out.")
        origin.check()
        rule = rule_of(app.view_functions[request.endpoint])
        assert rule is not None
        if rule.roles is None:
            if rule.costly:
                limits.stranger(request.remote_addr or "", time.monotonic())
            return
        try:
            principal = identify()
        except (Problem, Unauthenticated):
            limits.stranger(request.remote_addr or "", time.monotonic())
            raise
        if principal is None:
            limits.stranger(request.remote_addr or "", time.monotonic())
            raise unauthenticated("This needs a token: send the header 'Authorization: Bearer wrn_...'.")
        limits.asker(f"{principal.kind}:{principal.id}", str(principal), time.monotonic())
        admit(principal)

    app.before_request(enforce)


def admit(principal: Principal) -> None:
    """Notes who asks, and what they see; refuses whom the view's rule does not let in."""
    g.principal, g.sight = principal, None
    rule = _rule()
    roles = rule.roles or frozenset()
    if principal.role in roles:
        _check_host(rule, principal)
    else:
        g.sight = _sight(rule, roles, principal)


def _check_host(rule: Rule, principal: Principal) -> None:
    if rule.own_host and principal.host is not None and request.view_args["host"] != principal.host:  # type: ignore[index]
        named = request.view_args["host"]  # type: ignore[index]
        raise Problem(
            "forbidden", f"{principal} speaks for host '{principal.host}' only; '{named}' needs its own token."
        )


def _sight(rule: Rule, roles: frozenset[str], principal: Principal) -> Sight:
    """The tenants in which the asker's role is enough; refuses who has none."""
    tenants = principal.grants.tenants
    named = (request.view_args or {}).get("tenant")
    if named is not None and principal.role == MEMBER and named not in tenants:
        raise unseen(named)
    enough = {name: own.id for name, own in tenants.items() if f"tenant-{own.role}" in roles}
    if named is not None and rule.by == PATH:
        enough = {name: id for name, id in enough.items() if name == named}
    if not enough:
        raise _too_little(roles, principal)
    return enough


def enter(tenants: Iterable[str]) -> None:
    """The body that was read is about these tenants ("": the cluster): called for each body that says so."""
    sight, principal, roles = g.get("sight"), g.get("principal"), _rule().roles or frozenset()
    if sight is None:
        return
    for tenant in tenants:
        if tenant and principal.role == MEMBER and tenant not in principal.grants.tenants:
            raise unseen(tenant)
        if tenant not in sight:
            raise _too_little(roles, principal)


def admits(view: str, principal: Principal) -> bool:
    """Whether the view of this name is there and lets the principal in, in some tenant at least."""
    function = current_app.view_functions.get(view)
    rule = None if function is None else rule_of(function)
    if rule is None:
        return False
    if rule.roles is None or principal.role in rule.roles:
        return True
    return any(f"tenant-{own.role}" in rule.roles for own in principal.grants.tenants.values())


def sight() -> Sight | None:
    """The tenants that whoever asks sees in this request; None: all, and what belongs to none."""
    found: Sight | None = g.get("sight")
    return found


def unseen(tenant: str) -> Problem:
    """What somebody is told of a tenant that is not theirs, be it there or not."""
    return Problem("not-found", f"There is no tenant {tenant} that you may see; list yours with `warren tenant list`.")


def _too_little(roles: frozenset[str], principal: Principal) -> Problem:
    needed = " or ".join(sorted(roles))
    return Problem("forbidden", f"{principal} has the role {', '.join(principal.words())}; this needs {needed}.")


def _rule() -> Rule:
    rule = rule_of(current_app.view_functions[request.endpoint or ""])
    assert rule is not None
    return rule


def unauthenticated(detail: str, slug: str = "unauthenticated") -> Problem:
    return Problem(slug, detail, headers={"WWW-Authenticate": CHALLENGE})


def whoever() -> Principal:
    """Who asks in this request; only in views whose rule names roles."""
    principal: Principal = g.principal
    return principal
