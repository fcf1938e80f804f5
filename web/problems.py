"""Every refusal as `application/problem+json` (RFC 9457) with one sentence that names the value and the remedy.

It decides the status, the type and the words for what went wrong on the way to a view, and maps the database's
errors to statuses. It refuses to know any noun: a sentence about a tenant comes from where tenants are known.
People's pages get the same problem through the page renderer they hand to `register`.
"""

from __future__ import annotations

import json
import logging
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import NamedTuple

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from db import errors as domain

log = logging.getLogger(__name__)

MIMETYPE = "application/problem+json"
MAX_BODY_BYTES = 1024 * 1024
CHALLENGE = 'Bearer realm="warren"'

# Slugs are addresses in the documentation: they never change their meaning.
TITLES: Mapping[str, tuple[int, str]] = {
    "malformed": (400, "The request cannot be read"),
    "unauthenticated": (401, "Who is asking?"),
    "enrol-token-used": (401, "The enrolment token was used before"),
    "forbidden": (403, "Not allowed"),
    "cross-origin": (403, "The request comes from another site"),
    "not-found": (404, "Not found"),
    "method-not-allowed": (405, "Not possible here"),
    "conflict": (409, "In conflict with what exists"),
    "quota-exceeded": (409, "The tenant's quota is used up"),
    "exhausted": (409, "Nothing left to give out"),
    "stale-version": (412, "Changed by someone else meanwhile"),
    "too-large": (413, "Too large"),
    "unsupported-media-type": (415, "Not JSON"),
    "invalid": (422, "Not acceptable"),
    "too-many-requests": (429, "Too many requests"),
    "internal": (500, "Warren failed"),
    "busy": (503, "Busy"),
    "overloaded": (503, "Too many listeners"),
}


class FieldFault(NamedTuple):
    """What is wrong with one field; `field` is its dotted path in the body, or the query parameter's name."""

    field: str
    message: str


class Problem(Exception):  # noqa: N818 - RFC 9457 calls it a problem
    """A refusal. `detail` is a whole sentence for people; `slug` is for programs."""

    def __init__(
        self,
        slug: str,
        detail: str,
        errors: Sequence[FieldFault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.slug = slug
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})

    @property
    def status(self) -> int:
        return TITLES[self.slug][0]

    @property
    def title(self) -> str:
        return TITLES[self.slug][1]

    def response(self) -> Response:
        body: dict[str, object] = {
            "type": f"/problems/{self.slug}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": request.path,
        }
        if self.errors:
            body["errors"] = [fault._asdict() for fault in self.errors]
        return Response(json.dumps(body), self.status, self.headers, mimetype=MIMETYPE)


PageRenderer = Callable[[Problem], Response]


def register(app: Flask, page: PageRenderer) -> None:
    """Answer every error of `app`: as problem+json below /api/, through `page` elsewhere."""

    def answer(problem: Problem) -> Response:
        return problem.response() if wants_problem_json() else page(problem)

    app.register_error_handler(Problem, answer)
    app.register_error_handler(domain.DomainError, lambda error: answer(from_domain(error)))
    app.register_error_handler(HTTPException, lambda error: answer(from_http(error)))
    app.register_error_handler(Exception, lambda error: answer(from_fault(error)))


def wants_problem_json() -> bool:
    return request.path.startswith("/api/") or request.path in ("/healthz", "/openapi.json")


def from_domain(error: domain.DomainError) -> Problem:
    said = str(error)
    if isinstance(error, domain.CollidesElsewhere) and g.get("sight") is not None:
        said = f"{error.discreet}; {error.remedy}"
    detail = said[:1].upper() + said[1:] + ("" if said.endswith((".", "?")) else ".")
    headers = {"WWW-Authenticate": CHALLENGE} if isinstance(error, domain.Unauthenticated) else {}
    if isinstance(error, domain.Exhausted) and error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    if isinstance(error, domain.Busy):
        headers["Retry-After"] = "1"
    errors = [FieldFault(error.field, detail)] if error.field else ()
    return Problem(error.slug, detail, errors, headers)


def from_http(error: HTTPException) -> Problem:
    """What the router and the body reader refuse before a view is reached."""
    match error.code:
        case 404:
            return Problem("not-found", f"There is nothing at '{request.path}'; /openapi.json lists what there is.")
        case 405:
            methods = error.valid_methods if isinstance(error, MethodNotAllowed) else None
            allowed = sorted(set(methods or ()) - {"HEAD", "OPTIONS"})
            remedy = f"use {' or '.join(allowed)}" if allowed else "see /openapi.json"
            detail = f"{request.method} is not possible on '{request.path}'; {remedy}."
            return Problem("method-not-allowed", detail, headers={"Allow": ", ".join(allowed)} if allowed else None)
        case 413:
            size = f" of {request.content_length} bytes" if request.content_length else ""
            return Problem("too-large", f"The body{size} is larger than {MAX_BODY_BYTES} bytes; send less at once.")
        case code if code is not None and code < 500:
            return Problem("malformed", f"{request.method} '{request.path}' cannot be read: {error.description}")
    return from_fault(error)


def from_fault(error: Exception) -> Problem:
    """A fault of ours: people get a reference, the log gets the cause."""
    reference = secrets.token_hex(4)
    log.error("%s %s failed, reference %s", request.method, request.path, reference, exc_info=error)
    detail = f"Warren failed to answer; the server's log says why under the reference {reference}."
    return Problem("internal", detail)


def statuses(slugs: Sequence[str]) -> dict[int, str]:
    """Status -> title, for the API's description."""
    return {TITLES[slug][0]: HTTPStatus(TITLES[slug][0]).phrase for slug in slugs}
