"""What is hostile stays text: stored in every place that takes it, or sent in every field of every page. And no form is
taken from somebody who may not send it, or from another site."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from flask.testing import FlaskClient

from db.changes import current_revision
from db.engine import reading
from tests.ui.test_tenants_people import APP, OTHER, OWN, PAGES, ROLES, Cast, address, cast, rule  # noqa: F401
from tests.web.conftest import Site, site_on
from web.api import asking

EVIL = "\"'><img src=x onerror=alert(1)><script>alert(2)</script>{{7*7}}"
LINK = "javascript:alert(3)"
FOREIGN = {"img", "iframe", "object", "embed", "base", "style", "marquee", "video", "audio", "frame"}
FORMS = [
    route for route in APP.url_map.iter_rules() if route.endpoint.startswith("ui.") and "POST" in (route.methods or ())
]
GUARDED = [route for route in FORMS if rule(route).roles is not None]
QUERY = ("q", "tenant", "cursor", "row", "column", "by", "label", "tenants", "protocol", "port", "back", "undo", "like")
QUERY += ("source", "destination", "type", "code", "version", "name", "to", "with", "actor", "noun", "since", "until")
QUERY += ("user", "group", "role", "subnets", "labels", "documents", "unused", "next", "stage", "sort", "host", "state")


class Reader(HTMLParser):
    """Complains of what none of our templates writes."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "script":
            if not (values.get("src") or "").startswith("/static/"):
                self.wrong.append(f"script {values}")
        elif tag in FOREIGN:
            self.wrong.append(f"<{tag}>")
        for name, value in attrs:
            target = (value or "").strip().lower()
            if name.startswith("on") or name == "style" or (target.startswith("javascript:") and name != "value"):
                self.wrong.append(f"{tag} {name}={value}")
            if name in ("href", "src", "action") and not target.startswith(("/", "#", "?")):
                self.wrong.append(f"{tag} {name}={value}")


def harmless(text: str, where: str) -> None:
    reader = Reader()
    reader.feed(text)
    assert reader.wrong == [], where


@pytest.fixture(scope="module")
def haunted(sqlite_template: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, FlaskClient]]:
    """Everything that may hold any text holds hostile text. Names and labels may not: their syntax is checked."""
    for site in site_on(sqlite_template.fresh(tmp_path_factory.mktemp("haunted"))):
        agent = site.enrolled("h1")
        site.admin.made("/tenants", {"name": OWN})
        site.admin.made("/networks", {"name": f"{OWN}/secret", "subnets": ["10.65.0.0/24"]})
        site.admin.made("/networks", {"name": f"{OWN}/other", "subnets": ["10.66.0.0/24"]})
        for name in ("secret", "second"):
            attached = {"network": f"{OWN}/secret", "name": name, "netns": f"/run/netns/{EVIL}"}
            assert agent.put(f"/hosts/h1/attachments/{name}/eth0", attached).status_code == 201
        documents: list[Any] = [
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": "secret", "namespace": OWN, "annotations": {EVIL: EVIL}},
                "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]},
            },
            {
                "apiVersion": "policy.networking.k8s.io/v1alpha2",
                "kind": "ClusterNetworkPolicy",
                "metadata": {"name": "secret"},
                "spec": {
                    "tier": "Admin",
                    "priority": 1,
                    "subject": {"namespaces": {}},
                    "ingress": [{"name": EVIL, "action": "Deny", "from": [{"namespaces": {}}]}],
                },
            },
        ]
        assert site.admin.post("/policies", {"documents": documents}).status_code == 200
        token = site.admin.made("/tokens", {"name": EVIL[:63], "role": "admin"})["token"]
        site.caller(token).patch(f"/tenants/{OWN}", {"labels": {"a": "b"}})
        report = {"agent": {"version": EVIL, "pid": 1, "started_at": EVIL}, "ports": {}, "problems": [EVIL]}
        assert agent.put("/hosts/h1/report", report).status_code < 300
        site.admin.made("/groups", {"name": "nobody"})
        site.admin.made("/users", {"name": "nothing"})
        site.admin.post("/role-bindings", {"role": "viewer", "user": "nothing", "tenant": OWN})
        site.admin.made("/pools", {"name": "spare", "cidr": "10.200.0.0/16"})
        browser = site.app.test_client()
        browser.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {token}"
        yield site, browser


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PATIENCE", 0.05)


@pytest.mark.parametrize("route", PAGES, ids=lambda route: route.rule)
def test_what_is_stored_is_text_on_every_page(haunted: tuple[Site, FlaskClient], route: Any) -> None:
    answer = haunted[1].get(address(route, OWN))
    assert answer.status_code in (200, 404), answer.text
    if answer.mimetype == "text/html":
        harmless(answer.text, route.rule)


def test_hostile_text_was_really_there(haunted: tuple[Site, FlaskClient]) -> None:
    """So that the test above does not pass on pages that show none of it."""
    for path in ("/cluster/policies/secret", "/policies/acme/secret", "/settings", "/audit", "/hosts/h1"):
        assert "&lt;img src=x" in haunted[1].get(path).text, path
    why = haunted[1].get("/policies/matrix?by=tenant&row=acme&column=acme").text
    assert "&lt;img src=x" in why
    harmless(why, "matrix")
    traced = haunted[1].get("/trace?source=acme/secret&destination=acme/second&port=80").text
    assert "&lt;img src=x" in traced
    harmless(traced, "trace")
    seen = haunted[1].post("/cluster/policies/secret/delete", data={}).text
    assert "Nothing is changed yet" in seen
    harmless(seen, "preview")


@pytest.mark.parametrize("route", PAGES, ids=lambda route: route.rule)
def test_what_is_asked_for_is_text_on_every_page(haunted: tuple[Site, FlaskClient], route: Any) -> None:
    for evil in (EVIL, LINK):
        for headers in ({}, {"HX-Request": "true"}):
            answer = haunted[1].get(address(route, OWN), query_string=dict.fromkeys(QUERY, evil), headers=headers)
            assert answer.status_code < 500, answer.text
            if answer.mimetype == "text/html":
                harmless(answer.text, route.rule)
        for name in QUERY:
            answer = haunted[1].get(address(route, OWN), query_string={name: evil})
            assert answer.status_code < 500, (name, answer.text)
            if answer.mimetype == "text/html":
                harmless(answer.text, f"{route.rule} {name}")


@pytest.mark.parametrize("route", FORMS, ids=lambda route: route.rule)
def test_what_is_filled_in_is_text_on_every_page(haunted: tuple[Site, FlaskClient], route: Any) -> None:
    from tests.ui.test_tenants_people import NAMES

    if "delete" in route.rule or route.rule in ("/logout", "/addresses/repair") or "revoke" in route.rule:
        return  # has no fields, and would do it
    page = haunted[1].get(address(route, OWN)).text
    names = {*NAMES, "to", "with", "labels", "documents", "cidr", "addresses", "password", "next", "role", "version"}
    for evil in (EVIL, LINK, "\0", "x" * 300_000):
        data = dict.fromkeys(names, evil) | {"step": "preview"}
        answer = haunted[1].post(address(route, OWN), data=data)
        assert answer.status_code < 500, answer.text[:500]
        harmless(answer.text, route.rule)
    assert page


@pytest.mark.parametrize("route", GUARDED, ids=lambda route: route.rule)
@pytest.mark.parametrize("tenant", [OWN, OTHER])
def test_no_form_is_taken_from_who_may_not_send_it(cast: Cast, route: Any, tenant: str) -> None:  # noqa: F811
    roles = rule(route).roles or frozenset()
    with reading(cast.site.engine) as session:
        before = current_revision(session)
    for role in ROLES:
        own = tenant == OWN or "tenant" not in route.arguments
        if role in roles and (own or role in ("admin", "viewer")):
            continue
        answer = cast.browsers[role].post(address(route, tenant), data={"step": "apply", "tenant": tenant})
        hidden = "tenant" in route.arguments and role not in ("admin", "viewer") and (role == "nothing" or not own)
        assert answer.status_code == (404 if hidden else 403), (role, answer.text)
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        answer = cast.browsers["admin"].post(address(route, tenant), data={"step": "apply"}, headers=headers)
        assert answer.status_code == 403
    with reading(cast.site.engine) as session:
        assert current_revision(session) == before
