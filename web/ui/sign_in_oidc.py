"""Log in at an OpenID Connect provider. Decides which browser an answer belongs to; `db` and the flow know the rest."""

from __future__ import annotations

import secrets

from flask import Response, make_response, redirect, request

from db import oidc as people
from db.errors import DomainError
from web.auth import sessions, told
from web.auth.access import costly
from web.auth.oidc import Provider, Question, Refused
from web.problems import Problem
from web.state import recording, state
from web.ui.frame import blueprint
from web.ui.sign_in import local, refused

METHOD = "oidc"


@blueprint.get("/login/oidc")
@costly
def begin() -> Response:
    """Sends the browser to the provider, and keeps what its answer must fit to."""
    provider = configured()
    question, browser = Question.new(), secrets.token_urlsafe(32)
    onward = local(request.args.get("next"))[:1024]
    try:
        where = provider.address(question)
    except Refused as fault:
        return turned_away(str(fault))
    with recording() as tx:
        people.begin(tx, question.state, browser, people.Begun(question.nonce, question.verifier, onward))
    response = make_response(redirect(where, 303))
    response.set_cookie(
        cookie(), browser, max_age=int(people.PATIENCE.total_seconds()), secure=request.is_secure, httponly=True,
        samesite="Lax", path="/",
    )  # fmt: skip
    return response


@blueprint.get("/login/oidc/callback")
@costly
def callback() -> Response:
    provider = configured()
    asked, browser = request.args.get("state", ""), request.cookies.get(cookie(), "")
    with recording() as tx:
        begun = people.end(tx, asked, browser) if asked and browser else None
    if begun is None:
        return turned_away(
            "This log-in was not begun in this browser, was finished already, or took too long; try again."
        )
    try:
        found = provider.identity(Question(asked, begun.nonce, begun.verifier), request.args)
        with recording() as tx:
            user = people.user(tx, provider.settings.issuer, found.subject, found.name)
            # Not as the provider calls them: that may be another's name here.
            tx.actor = told.actor("user", user.name)
            if found.groups is not None:
                people.member_of(tx, user, found.groups)
            secret = sessions.begin(tx, user, METHOD)
    except Refused as fault:
        return turned_away(str(fault))
    except DomainError as fault:
        return turned_away(f"{str(fault)[:1].upper()}{str(fault)[1:]}.")
    response = make_response(redirect(local(begun.onward), 303))
    sessions.set_cookie(response, secret)
    response.delete_cookie(cookie(), secure=request.is_secure, httponly=True, samesite="Lax", path="/")
    return response


def configured() -> Provider:
    provider = state().provider
    if provider is None:
        raise Problem("not-found", "Nobody else logs people in here; use a password.")
    return provider


def turned_away(fault: str) -> Response:
    with recording() as tx:
        tx.tell(told.login_refused(None, METHOD, fault[:200]))
    return refused(403, "", "", fault)


def cookie() -> str:
    return f"{sessions.cookie_name()}-login"
