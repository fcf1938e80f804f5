"""Who is let into which page, and that people of one tenant see nothing of another: every page there is, by each role.

A page that is added is in here by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import expect
from werkzeug.routing import Rule as Route

from db import bindings, users
from db.changes import transaction
from tests.ui.conftest import Stage, attach, enrolled, live, log_in
from tests.web.conftest import PASSWORD, Site, site_on
from web.app import create_app
from web.auth.access import Rule, rule_of

OWN, OTHER, NOWHERE = "acme", "globex", "nowhere"
ROLES = ("admin", "viewer", "tenant-admin", "tenant-operator", "tenant-viewer", "nothing")
NAMES = {"name": "secret", "network": "secret", "endpoint": "secret", "policy": "secret", "host": "h1"}
NAMES |= {
    "peer": "globex",
    "revision": "1",
    "address": "10.65.0.0",
    "prefix": "24",
    "reservation": "x",
    "pool": "spare",
}
NAMES |= {"user": "nothing", "group": "nobody", "binding": "1", "token": "1"}
APP = create_app("sqlite:////nowhere/warren.db")


def rule(route: Route) -> Rule:
    found = rule_of(APP.view_functions[route.endpoint])
    assert found is not None
    return found


PAGES = [
    route
    for route in APP.url_map.iter_rules()
    if route.endpoint.startswith("ui.") and "GET" in (route.methods or ()) and rule(route).roles is not None
]
by_page = pytest.mark.parametrize("route", PAGES, ids=lambda route: route.rule)


def address(route: Route, tenant: str) -> str:
    names = NAMES | {"tenant": tenant, "publication": "1" if tenant == OWN else "2"}
    names |= {"name": "h1"} if route.rule.startswith("/hosts/") else {}
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda one: names[one[1]], route.rule)


class Cast(NamedTuple):
    site: Site
    browsers: dict[str, FlaskClient]


@pytest.fixture(scope="module")
def cast(sqlite_template: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    """Two tenants with the same objects in each; who has a role in tenants has it in the first."""
    for site in site_on(sqlite_template.fresh(tmp_path_factory.mktemp("people"))):
        agent = site.enrolled("h1")
        for tenant, subnet in ((OWN, "10.65.0.0/24"), (OTHER, "10.66.0.0/24")):
            site.admin.made("/tenants", {"name": tenant})
            site.admin.made("/networks", {"name": f"{tenant}/secret", "subnets": [subnet]})
            record = {"addresses": [subnet.replace("0/24", "77")]}
            for scope in (tenant, f"{tenant}/secret"):
                assert site.admin.put(f"/dns/records/{scope}/secret", record).status_code == 201
            attached = {"network": f"{tenant}/secret", "name": "secret", "netns": "/run/netns/x"}
            assert agent.put(f"/hosts/h1/attachments/{tenant}/eth0", attached).status_code == 201
            site.admin.made("/publications", {"endpoint": f"{tenant}/secret", "port": 80})
            policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
            policy |= {"metadata": {"name": "secret", "namespace": tenant}, "spec": {"podSelector": {}}}  # type: ignore[dict-item]
            assert site.admin.post("/policies", {"documents": [policy]}).status_code == 200
        whole = {"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy"}
        spec = {"tier": "Baseline", "priority": 1, "subject": {"namespaces": {}}}
        whole |= {"metadata": {"name": "secret"}, "spec": spec}  # type: ignore[dict-item]
        assert site.admin.post("/policies", {"documents": [whole]}).status_code == 200
        site.admin.made("/groups", {"name": "nobody"})
        site.admin.made("/pools", {"name": "spare", "cidr": "10.200.0.0/16"})
        NAMES["token"] = str(site.admin.made("/tokens", {"name": "t", "role": "viewer", "tenant": OWN})["id"])
        site.admin.post("/tenants/acme/peer", {"with": OTHER})
        browsers = {}
        with transaction(site.engine) as tx:
            for role in ROLES:
                users.create(tx, role, PASSWORD, role=role if role in ("admin", "viewer") else None)
                if role.startswith("tenant-"):
                    row = bindings.grant(tx, role.removeprefix("tenant-"), user=role, tenant=OWN)
                    tx.session.flush()
                    NAMES["binding"] = str(row.id)
        for role in ROLES:
            browsers[role] = site.browser()
            assert browsers[role].post("/login", data={"user": role, "password": PASSWORD}).status_code == 303
        yield Cast(site, browsers)


@by_page
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("tenant", [OWN, OTHER])
def test_every_page_by_every_role_in_its_own_and_in_another_tenant(
    cast: Cast, route: Route, role: str, tenant: str
) -> None:
    status = cast.browsers[role].get(address(route, tenant)).status_code
    roles = rule(route).roles or frozenset()
    if "member" in roles:
        assert status == 200
    elif role in ("admin", "viewer"):
        assert status == (200 if role in roles else 403)
    elif "tenant" in route.arguments and (tenant == OTHER or role == "nothing"):
        assert status == 404
    else:
        assert status == (200 if role in roles else 403)


@by_page
@pytest.mark.parametrize("role", ["tenant-admin", "tenant-operator", "tenant-viewer", "nothing"])
def test_no_page_holds_a_trace_of_another_tenant(cast: Cast, route: Route, role: str) -> None:
    browser = cast.browsers[role]
    for headers in ({}, {"HX-Request": "true"}):
        assert not re.search(r"globex|10\.66\.|02:00:0a:42", browser.get(address(route, OWN), headers=headers).text)
    if "tenant" in route.arguments:
        there, not_there = (browser.get(address(route, tenant)) for tenant in (OTHER, NOWHERE))
        assert (there.status_code, there.text.replace(OTHER, NOWHERE)) == (404, not_there.text)
    else:
        asked = browser.get(f"{route.rule.replace('<name>', 'h1')}?q=10.66&tenant=globex").text
        assert not re.search(r"globex/|10\.66\.0|02:00:0a:42", asked)


def test_the_counts_are_ones_own(cast: Cast) -> None:
    """So that the test above does not pass on empty pages."""
    own, all = (cast.browsers[role].get("/").text for role in ("tenant-viewer", "viewer"))
    for noun, mine, whole in (("Tenants", 1, 2), ("Networks", 2, 4), ("Endpoints", 1, 2)):
        assert f'{noun} <span class="count">{mine}</span>' in own
        assert f'{noun} <span class="count">{whole}</span>' in all
    assert "acme/secret" in own and "10.65.0.2" in own
    assert "Hosts" not in own and "/hosts" not in own


def test_a_tenants_person_sees_what_is_theirs_come_and_go(stage: Stage) -> None:
    page = stage.page
    for tenant in (OWN, OTHER):
        stage.admin.post("/tenants", {"name": tenant})
    stage.member("eve", acme="viewer")
    agent = enrolled(stage, "h1", "198.18.0.11")
    log_in(page, "eve")
    live(page)
    expect(page.locator("#tenant-acme")).to_be_visible()
    expect(page.locator("#tenant-globex")).to_have_count(0)
    for tenant in (OTHER, OWN):
        attach(agent, "h1", f"{tenant}/default", f"{tenant}1")
    expect(page.locator("#endpoint-acme-in-acme1")).to_contain_text("h1")
    expect(page.locator("#endpoint-globex-in-globex1")).to_have_count(0)
    expect(page.get_by_role("link", name="h1", exact=True)).to_have_count(0)
    expect(page.locator(".rail")).not_to_contain_text("Hosts")
    assert page.goto("/tenants/globex").status == 404  # type: ignore[union-attr]
    assert page.goto("/hosts").status == 403  # type: ignore[union-attr]
    page.get_by_role("button", name="Log in as somebody else").click()
    expect(page).to_have_url(f"{stage.server.url}/login")
