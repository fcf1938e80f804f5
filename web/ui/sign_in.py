"""Log in and out with a password. Decides how often one may guess; whether a password is right, `db` knows."""

from __future__ import annotations

import time

from flask import Response, make_response, redirect, render_template, request, url_for

from db import logins, users
from web.auth import lockout, sessions, told
from web.auth.access import costly, public
from web.state import noting, recording, state
from web.ui.frame import blueprint
from web.ui.words import duration


@blueprint.get("/login")
@public
def login_form() -> Response | str:
    if sessions.current() is not None:
        return make_response(redirect(local(request.args.get("next")), 303))
    return form(request.args.get("next", ""))


@blueprint.post("/login", endpoint="login")
@costly
def login() -> Response:
    user = request.form.get("user", "").replace("\0", "").strip()[:63]
    password = request.form.get("password", "")[:1024]
    onward = request.form.get("next", "")
    address, now = told.address(), time.time()
    # Counted before it is checked: many attempts at once are as many failures.
    with noting() as session:
        wait = lockout.wait_seconds(session, user, address, now)
        if not wait:
            logins.failed(session, user, address, now)
    if wait:
        fault = f"Too many attempts for '{user}' from here; try again in {duration(wait * 1000)}."
        return refused(429, user, onward, fault, {"Retry-After": str(int(wait) + 1)})
    cookie = sessions.open_session(user, password)
    if cookie is None:
        with recording() as tx:
            known = users.find_one(tx.session, user)
            tx.tell(told.login_refused(known.name if known else None, "password", "user or password is wrong"))
        return refused(401, user, onward, "User or password is wrong; check both.")
    with noting() as session:
        logins.succeeded(session, user, address)
    response = make_response(redirect(local(onward), 303))
    sessions.set_cookie(response, cookie)
    return response


@blueprint.post("/logout")
@public
def logout() -> Response:
    sessions.close_session()
    response = make_response(redirect(url_for("ui.login"), 303))
    sessions.clear_cookie(response)
    return response


def refused(status: int, user: str, onward: str, fault: str, headers: dict[str, str] | None = None) -> Response:
    return make_response(form(onward, user, fault), status, headers or {})


def form(onward: str, user: str = "", fault: str = "") -> str:
    provider = state().provider
    elsewhere = provider.settings.label if provider else ""
    return render_template("login.html", next=onward, user=user, fault=fault, elsewhere=elsewhere)


def local(target: str | None) -> str:
    """`target` when it is a page of ours, else the overview: nobody is sent elsewhere after logging in."""
    if not target or not target.startswith("/") or target.startswith(("//", "/\\")) or not target.isprintable():
        return url_for("ui.overview")
    return target
