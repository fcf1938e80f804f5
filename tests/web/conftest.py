"""An application on a database of its own, and callers who hold each kind of token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from db import tokens, users
from db.changes import current_revision, transaction
from db.engine import create_engine, reading
from tests.databases import *  # noqa: F403 - the fixtures of databases
from web.app import create_app
from web.auth.rate import Rates
from web.state import KEY, State

PASSWORD = "correct horse battery"
PREFIX = "/api/v1"
Json = dict[str, Any]


class Caller:
    """Somebody with a token (or none) who calls the API and looks at what comes back."""

    def __init__(self, client: FlaskClient, token: str | None = None) -> None:
        self.client = client
        self.token = token

    def __call__(self, method: str, path: str, json: Any = None, **more: Any) -> TestResponse:
        headers = dict(more.pop("headers", {}))
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        if json is not None:
            more["json"] = json
        return self.client.open(PREFIX + path, method=method, headers=headers, **more)

    def get(self, path: str, **more: Any) -> TestResponse:
        return self("GET", path, **more)

    def post(self, path: str, json: Any = None, **more: Any) -> TestResponse:
        return self("POST", path, json, **more)

    def put(self, path: str, json: Any = None, **more: Any) -> TestResponse:
        return self("PUT", path, json, **more)

    def patch(self, path: str, json: Any = None, **more: Any) -> TestResponse:
        return self("PATCH", path, json, **more)

    def delete(self, path: str, **more: Any) -> TestResponse:
        return self("DELETE", path, **more)

    def made(self, path: str, json: Any = None) -> Json:
        """What was created; it must have been."""
        answer = self.post(path, json)
        assert answer.status_code == 201, answer.text
        body: Json = answer.get_json()
        return body


class Site(NamedTuple):
    """A running application without a server."""

    app: Flask
    engine: Engine
    admin: Caller
    viewer: Caller
    nobody: Caller

    def state(self) -> State:
        found: State = self.app.extensions[KEY]
        return found

    def caller(self, token: str) -> Caller:
        return Caller(self.app.test_client(), token)

    def browser(self) -> FlaskClient:
        return self.app.test_client()

    def revision(self) -> int:
        with reading(self.engine) as session:
            return current_revision(session)

    def enrolled(self, name: str, address: str = "198.18.0.11") -> Caller:
        """The agent of a new host."""
        once = self.admin.made("/hosts", {"name": name, "address": address})["enrol_token"]
        return self.caller(self.caller(once).made("/enrol", {"datapath_type": "netdev"})["token"])


def bootstrap(engine: Engine) -> tuple[str, str]:
    """A token of an admin and one of a viewer."""
    with transaction(engine) as tx:
        return tokens.create(tx, "admin", name="boss")[1], tokens.create(tx, "viewer", name="guest")[1]


def site_on(url: str) -> Iterator[Site]:
    engine = create_engine(url)
    admin, viewer = bootstrap(engine)
    app = create_app(url, rates=Rates(0, 0))  # tests ask faster than people; see test_rate
    client = app.test_client()
    yield Site(app, engine, Caller(client, admin), Caller(app.test_client(), viewer), Caller(app.test_client()))
    state: State = app.extensions[KEY]
    state.live.close()
    state.engine.dispose()
    engine.dispose()


@pytest.fixture
def site(sqlite_url: str) -> Iterator[Site]:
    """On SQLite."""
    yield from site_on(sqlite_url)


@pytest.fixture
def any_site(database_url: str) -> Iterator[Site]:
    """Once on each kind of database."""
    yield from site_on(database_url)


@pytest.fixture
def people(site: Site) -> Site:
    """With users `admin` and `viewer`, who have the same password."""
    with transaction(site.engine) as tx:
        users.create(tx, "admin", PASSWORD, role="admin")
        users.create(tx, "viewer", PASSWORD, role="viewer")
    return site


@pytest.fixture
def unchanged(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever the test did, it changed nothing: the revision is what it was when the test asked for this."""
    (name,) = {"any_site", "shared_site"} & set(request.fixturenames) or {"site"}
    site: Site = request.getfixturevalue(name)
    before = site.revision()
    yield
    assert site.revision() == before
