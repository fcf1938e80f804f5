"""What attackers try first, on every route of the description: none of it changes anything or tells anything.

Stored and reflected markup is tried on the pages (tests/ui/test_hostile.py), other tenants' things in test_matrix and
test_unseen, sessions in test_sign_in.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from db import bindings, tokens, users
from db.changes import transaction
from tests.web.conftest import PASSWORD, Caller, Json, Site
from tests.web.test_dry_run import CALLS, WRITES, content, template  # noqa: F401 - the fixture
from tests.web.test_matrix import OPERATIONS, PREFIX
from web.app import create_app
from web.auth.rate import Rates

BY_ID = {one.id: one for one in OPERATIONS}
INJECTED = (
    "' OR '1'='1",
    '"; DROP TABLE tenant; --',
    "x') UNION SELECT hash FROM token --",
    "%",
    "_" * 8,
    "{{7*7}}${7*7}",
    "$(id)",
    "../../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "acme\r\nX-Injected: yes",
)
SET_BY_WARREN: Json = {
    "id": 1,
    "version": 7,
    "revision": 0,
    "created_at": "2026-01-01T00:00:00Z",
    "tenant_id": 1,
    "user_id": 1,
    "host_id": 1,
    "zone": 0,
    "vni": 1,
    "is_admin": True,
    "hash": "0" * 64,
    "ordinal": 1,
    "__class__": "x",
}


class Prey:
    def __init__(self, site: Site, admin: Caller, browser: FlaskClient) -> None:
        self.site, self.admin, self.browser = site, admin, browser
        self.before = content(site.engine)

    def is_unharmed(self) -> bool:
        return content(self.site.engine) == self.before


@pytest.fixture(scope="module")
def prey(template: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prey]:  # noqa: F811
    """One application for all attacks: each must leave it as it was."""
    path = tmp_path_factory.mktemp("attacks") / "warren.db"
    shutil.copy(template[0], path)
    app = create_app(f"sqlite:///{path}", rates=Rates(0, 0))
    admin = Caller(app.test_client(), template[1])
    site = Site(app, app.extensions["warren"].engine, admin, admin, Caller(app.test_client()))
    with transaction(site.engine) as tx:
        users.create(tx, "root", PASSWORD, role="admin")
    browser = app.test_client()
    assert browser.post("/login", data={"user": "root", "password": PASSWORD}).status_code == 303
    yield Prey(site, admin, browser)
    site.state().live.close()
    site.state().engine.dispose()


@pytest.mark.parametrize("id", CALLS)
def test_another_sites_page_changes_nothing(prey: Prey, id: str) -> None:
    """Cross-site request forgery, with the session that opens the same call from a page of ours."""
    method, path, _ = WRITES[id]
    named, body = CALLS[id]
    at = PREFIX + (named or path)
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"},
        {"Origin": "http://localhost.evil.example"},
    ):
        answer = prey.browser.open(at, method=method, json=body, headers=headers)
        assert (answer.status_code, answer.get_json()["type"]) == (403, "/problems/cross-origin"), headers
    ours = prey.browser.open(f"{at}?dry_run=true", method=method, json=body, headers={"Sec-Fetch-Site": "same-origin"})
    assert ours.status_code == 200, "the same from a page of ours is no attack"
    assert prey.is_unharmed()


@pytest.mark.parametrize("id", [id for id, (_, body) in CALLS.items() if body])
def test_a_form_or_text_of_another_page_is_no_body(prey: Prey, id: str) -> None:
    """What a page may send elsewhere without asking first."""
    method, path, _ = WRITES[id]
    at = PREFIX + (CALLS[id][0] or path)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = prey.browser.open(at, method=method, data=b'{"name": "new"}', headers={"Content-Type": kind})
        assert answer.status_code == 415, kind
    assert prey.is_unharmed()


@pytest.mark.parametrize("id", [id for id, (_, body) in CALLS.items() if body])
def test_nobody_sets_what_warren_sets(prey: Prey, id: str) -> None:
    """Mass assignment: what is in answers is taken in no body that does not name it."""
    method, path, found = WRITES[id]
    named, body = CALLS[id]
    document = prey.site.browser().get("/openapi.json").get_json()
    reference = found["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    taken = document["components"]["schemas"][reference.rpartition("/")[2]]["properties"]
    tried = SET_BY_WARREN.keys() - taken.keys()
    assert len(tried) >= len(SET_BY_WARREN) - 1
    for field in sorted(tried):
        answer = prey.admin(method, named or path, body | {field: SET_BY_WARREN[field]})
        assert answer.status_code == 422, field
        assert [error["field"] for error in answer.get_json()["errors"]] == [field]
    assert prey.is_unharmed()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.id)
def test_text_stays_text_in_paths_and_parameters(prey: Prey, operation: Any) -> None:
    """It is found nowhere, or is no name: never a part of a statement, a path or a header."""
    if operation.id == "events_stream":
        return
    body = {"nobody": "knows"} if operation.method not in ("GET", "DELETE") else None
    tried = []
    for text in INJECTED:
        if "{" in operation.path:
            tried.append(re.sub(r"{\w+}", quote(text, safe="%"), operation.path))
        asked = [name for name in operation.parameters if f"{{{name}}}" not in operation.path]
        tried += [f"{operation.at('acme')}?{name}={quote(text)}" for name in asked]
    for path in tried:
        answer = prey.admin(operation.method, path, body, headers={"If-Match": '"999999"'})
        assert answer.status_code < 500, (path, answer.text)
        assert "X-Injected" not in answer.headers and "root:x:0" not in answer.text
        if answer.status_code == 200 and "text=" in path and "?" in path:
            assert answer.get_json()["items"] == [], path
    assert prey.is_unharmed()


@pytest.mark.parametrize("id", [id for id, (_, body) in CALLS.items() if isinstance(body, dict)])
def test_text_stays_text_in_bodies(prey: Prey, id: str) -> None:
    """Every text of every body, one after the other. Not refused is only what is a text of any kind."""
    method, path, _ = WRITES[id]
    named, body = CALLS[id]
    for field, text in product([field for field, value in body.items() if isinstance(value, str)], INJECTED):
        answer = prey.admin(method, f"{named or path}?dry_run=true", body | {field: text})
        assert answer.status_code in (200, 404, 422), answer.text
        assert answer.status_code != 200 or field in ("password", "name"), (id, field)
    assert prey.is_unharmed()


@pytest.mark.parametrize(
    "path",
    [
        *("/static/../frame.py", "/static/..%2fframe.py", "/static/%2e%2e/frame.py", "/static/..\\frame.py"),
        *("/static//etc/passwd", "/static/%2fetc%2fpasswd", "/static/....//....//etc/passwd", "//etc/passwd"),
        *("/static/style.css/../../frame.py", "/problems/..%2f..%2fetc%2fpasswd", "/ca.pem/../warren.db"),
        *("/api/v1/../../etc/passwd", "/api/v1/tenants/..%2f..%2fhealthz", "/openapi.json/../main.py"),
    ],
)
def test_no_path_leads_out_of_what_is_served(prey: Prey, path: str) -> None:
    for client in (prey.browser, prey.site.browser()):
        answer = client.get(path, follow_redirects=False)
        assert answer.status_code in (301, 302, 303, 308, 401, 404), (path, answer.status_code)
        assert "root:x:0" not in answer.text and "def " not in answer.text


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
def test_a_log_in_sends_nobody_elsewhere(prey: Prey, target: str) -> None:
    answer = prey.site.browser().post("/login", data={"user": "root", "password": PASSWORD, "next": target})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")


def test_what_was_revoked_opens_nothing_again(any_site: Site) -> None:
    """On each route: a token that is revoked, whose user is gone or has no role any more, or that has enrolled."""
    admin = any_site.admin

    def of_user(name: str) -> tuple[Caller, int]:
        with transaction(any_site.engine) as tx:
            user = users.create(tx, name, PASSWORD)
            binding = bindings.grant(tx, "admin", user=name)
            tx.session.flush()
            return any_site.caller(tokens.create(tx, "admin", name=name, user_id=user.id)[1]), binding.id

    revoked = admin.made("/tokens", {"name": "revoked", "role": "admin"})
    gone, _ = of_user("gone")
    taken, binding = of_user("taken")
    of_user("stays")
    enrol = admin.made("/hosts", {"name": "h1"})["enrol_token"]
    callers = {"revoked": any_site.caller(revoked["token"]), "gone": gone, "enrol": any_site.caller(enrol)}
    assert all(one.get("/whoami").status_code in (200, 403) for one in (*callers.values(), taken))
    assert admin.delete(f"/tokens/{revoked['id']}").status_code == 200
    assert admin.delete("/users/gone").status_code == 200
    assert admin.delete(f"/role-bindings/{binding}").status_code == 200
    callers["enrol"].made("/enrol", {"datapath_type": "netdev"})
    for operation in OPERATIONS:
        path = operation.at("acme")
        for name, caller in callers.items():
            status = caller(operation.method, path, {}).status_code
            # One that has enrolled is known for what it was, and still opens nothing.
            assert status == 401 or (name == "enrol" and status == 403), (operation.id, name)
        if "admin" in operation.roles and "member" not in operation.roles:
            assert taken(operation.method, path, {}).status_code in (403, 404), operation.id
