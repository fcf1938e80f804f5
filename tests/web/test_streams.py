"""Who would be refused a stream of events now is told nothing more by the one that is open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest
from werkzeug.test import TestResponse

from db import bindings, tokens, users
from db.changes import transaction
from tests.web.conftest import PASSWORD, PREFIX, Site
from tests.web.test_waiting import Event, events, until
from web.api.events import now_and_then


@pytest.fixture
def acme(any_site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """With two tenants, and user ada who looks at both; who listens is looked up before each event."""
    monkeypatch.setattr("web.api.events.TRUST_SECONDS", 0.0)
    for name in ("acme", "beta"):
        any_site.admin.made("/tenants", {"name": name})
    with transaction(any_site.engine) as tx:
        users.create(tx, "ada", PASSWORD)
        for name in ("acme", "beta"):
            bindings.grant(tx, "viewer", user="ada", tenant=name)
    return any_site


def streamed(site: Site, get: Callable[..., TestResponse], path: str) -> tuple[TestResponse, Iterator[Event]]:
    """What is told from now on."""
    until(lambda: site.state().live.seen().revision == site.revision())
    stream = get(f"{path}/events?after={site.revision()}", buffered=False)
    return stream, events(stream)


def labelled(site: Site, tenant: str, value: str) -> int:
    answer = site.admin.patch(f"/tenants/{tenant}", {"labels": {"a": value}})
    assert answer.status_code == 200
    return int(answer.get_json()["revision"])


def by_token(site: Site) -> tuple[Any, str]:
    with transaction(site.engine) as tx:
        return site.caller(tokens.create(tx, "viewer", name="t", user_id=users.get(tx.session, "ada").id)[1]).get, ""


def by_session(site: Site) -> tuple[Any, str]:
    browser = site.browser()
    assert browser.post("/login", data={"user": "ada", "password": PASSWORD}).status_code == 303
    return browser.get, PREFIX


def revoked(site: Site) -> None:
    for one in site.admin.get("/tokens?text=t").get_json()["items"]:
        if one["name"] == "t":
            assert site.admin.delete(f"/tokens/{one['id']}").status_code == 200


def without_roles(site: Site) -> None:
    for one in site.admin.get("/role-bindings?user=ada").get_json()["items"]:
        assert site.admin.delete(f"/role-bindings/{one['id']}").status_code == 200


def another_password(site: Site) -> None:
    assert site.admin.put("/users/ada/password", {"password": "another password"}).status_code == 200


def gone(site: Site) -> None:
    assert site.admin.delete("/users/ada").status_code == 200


@pytest.mark.parametrize(
    ("asks", "ends"),
    [
        *((by_token, end) for end in (revoked, without_roles, gone)),
        *((by_session, end) for end in (another_password, without_roles, gone)),
    ],
)
def test_a_stream_ends_with_what_opened_it(acme: Site, asks: Any, ends: Any) -> None:
    stream, heard = streamed(acme, *asks(acme))
    revision = labelled(acme, "acme", "1")
    assert next(one for one in heard if one.name == "revision").data["revision"] == revision
    ends(acme)
    labelled(acme, "acme", "2")
    # It may have told that somebody changed something before that.
    rest = list(islice(heard, 4))
    assert len(rest) < 4 and {one.name for one in rest[:-1]} <= {"status"}, rest
    assert (rest[-1].name, rest[-1].data) == ("tick", {"pulse": 0})
    stream.close()
    assert acme.state().live.waiting() == 0


def test_who_listens_is_not_looked_up_for_every_event(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[None] = []
    sees = now_and_then(lambda: looks.append(None))
    for trusted, expected in ((3600.0, 1), (3600.0, 1), (0.0, 2)):
        monkeypatch.setattr("web.api.events.TRUST_SECONDS", trusted)
        sees()
        assert len(looks) == expected


def test_a_role_that_is_taken_away_narrows_what_is_told(acme: Site) -> None:
    stream, heard = streamed(acme, *by_token(acme))
    told = (one for one in heard if one.name == "revision")
    revision = labelled(acme, "beta", "1")
    assert next(told).data["revision"] == revision
    (binding,) = acme.admin.get("/role-bindings?user=ada&tenant=beta").get_json()["items"]
    assert acme.admin.delete(f"/role-bindings/{binding['id']}").status_code == 200
    labelled(acme, "beta", "2")
    revision = labelled(acme, "acme", "3")
    assert next(told).data["revision"] == revision
    stream.close()
