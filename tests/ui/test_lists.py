"""Lists: sorted, filtered, in pages; chosen rows are removed after a page that says what breaks. Details tell what is
related."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import expect

from db import bindings, users
from db.changes import transaction
from tests import crowd
from tests.ui.conftest import Stage, attach, enrolled, faults, live, log_in
from tests.web.conftest import PASSWORD, Site, site_on
from web.ui import pages


class Crowd(NamedTuple):
    site: Site
    admin: FlaskClient

    def rows(self, path: str) -> list[str]:
        answer = self.admin.get(path)
        assert answer.status_code == 200, answer.text
        return re.findall(r'<tr id="[a-z]+-([^"]+)"', answer.text)

    def all_rows(self, path: str) -> list[str]:
        """From the first page to the last."""
        found: list[str] = []
        while True:
            answer = self.admin.get(path).text
            found += re.findall(r'<tr id="[a-z]+-([^"]+)"', answer)
            onward = re.search(r'href="([^"]+)">Next page', answer)
            if onward is None:
                return found
            path = onward[1].replace("&amp;", "&")


@pytest.fixture(scope="module")
def crowded(sqlite_template: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    for site in site_on(sqlite_template.fresh(tmp_path_factory.mktemp("lists"))):
        crowd.fill(site.engine, host_count=3, tenant_count=5, endpoint_count=30)
        crowd.report(site.engine, down=2)
        with transaction(site.engine) as tx:
            users.create(tx, "admin", PASSWORD, role="admin")
            users.create(tx, "eve", PASSWORD)
            bindings.grant(tx, "operator", user="eve", tenant="acme")
        admin = site.browser()
        admin.post("/login", data={"user": "admin", "password": PASSWORD})
        yield Crowd(site, admin)


@pytest.mark.parametrize(
    ("noun", "keys"),
    [
        ("tenants", ["name", "networks", "endpoints", "created"]),
        ("networks", ["name", "endpoints", "created"]),
        ("hosts", ["name", "endpoints", "flows", "created"]),
        ("endpoints", ["name", "host", "network", "created"]),
    ],
)
def test_every_order_has_every_row_once_in_pages_of_any_size(
    crowded: Crowd, noun: str, keys: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = sorted(crowded.rows(f"/{noun}"))
    assert len(everything) == {"tenants": 5, "networks": 10, "hosts": 3, "endpoints": 30}[noun]
    monkeypatch.setattr(pages, "PER_PAGE", 2)
    for key in keys:
        up = crowded.all_rows(f"/{noun}?sort={key}")
        down = crowded.all_rows(f"/{noun}?sort=-{key}")
        assert sorted(up) == sorted(down) == everything
        if key == "name":
            assert down == up[::-1]


def test_the_order_is_what_it_says(crowded: Crowd) -> None:
    by_host = crowded.admin.get("/endpoints?sort=host").text
    hosts = re.findall(r'data-label="Host"><a href="/hosts/(h\d+)"', by_host)
    assert hosts == sorted(hosts) and len(set(hosts)) == 3
    assert 'aria-sort="ascending"' in by_host and "sort=-host" in by_host
    assert crowded.admin.get("/endpoints?sort=mac").status_code == 422


@pytest.mark.parametrize("noun", ["tenants", "networks", "hosts", "endpoints", "records", "publications"])
def test_who_filters_a_list_keeps_its_order(crowded: Crowd, noun: str) -> None:
    kept = '<input type="hidden" name="sort" value="-created">'
    page = crowded.admin.get(f"/{noun}?sort=-created").text
    assert kept in page.partition('<form id="filter"' if noun not in ("records", "publications") else "filter")[2]
    assert 'name="sort"' not in crowded.admin.get(f"/{noun}").text


def test_filters_read_as_a_sentence_and_each_can_be_left_out(crowded: Crowd) -> None:
    crowd.report(crowded.site.engine, down=2)  # of a host that is silent for half a minute no state is known
    path = "/endpoints?tenant=acme&label=app%3Dweb&state=up&q=web"
    said = crowded.admin.get(path).text
    chips = re.findall(r'class="chip" href="([^"]+)"[^>]*>([\w ]+) <b>([^<]+)</b>', said)
    words = [("of tenant", "acme"), ("that are", "up"), ("with label", "app=web"), ("containing", "web")]
    assert [(one[1], one[2]) for one in chips] == words
    found = crowded.rows(path)
    assert found and all(row.startswith("acme-in-web") for row in found)
    without_tenant = chips[0][0].replace("&amp;", "&")
    assert "tenant=" not in without_tenant and "label=app%3Dweb" in without_tenant
    assert len(crowded.rows(without_tenant)) > len(found)
    assert len(crowded.rows("/endpoints?state=down")) == 2
    assert crowded.rows("/endpoints?network=acme/web&host=h01") == [
        row for row in crowded.rows("/endpoints?host=h01") if row.startswith("acme-in-")
    ]


def test_what_is_removed_is_shown_first_and_then_all_or_nothing(crowded: Crowd) -> None:
    admin, site = crowded.admin, crowded.site
    crowd.report(site.engine, down=2)
    names = [crowded.rows(f"/endpoints?tenant={one}&state=up")[0].replace("-in-", "/") for one in ("acme", "globex")]
    said = admin.post("/endpoints/removal", data={"name": names}).text
    assert all(name in said for name in names) and "loses its network at once" in said and "become free" in said
    assert len(re.findall(r"</b>: \d+ endpoints reach it now; it is up", said)) == 2
    versions = re.findall(r'name="version" value="(\d+)"', said)
    site.admin.patch(f"/endpoints/{names[1]}", {"labels": {"new": "label"}})
    assert admin.post("/endpoints/removed", data={"name": names, "version": versions}).status_code == 412
    assert all(site.admin.get(f"/endpoints/{name}").status_code == 200 for name in names)
    said = admin.post("/endpoints/removal", data={"name": names}).text
    versions = re.findall(r'name="version" value="(\d+)"', said)
    assert admin.post("/endpoints/removed", data={"name": names, "version": versions}).status_code == 303
    assert all(site.admin.get(f"/endpoints/{name}").status_code == 404 for name in names)
    assert admin.post("/endpoints/removal").status_code == 422


def test_networks_with_endpoints_stay(crowded: Crowd) -> None:
    said = crowded.admin.post("/networks/removal", data={"name": ["hooli/web", "hooli/default"]}).text
    assert re.search(r"hooli/web</b> stays: it has \d+ endpoints; remove them first", said)
    assert 'value="hooli/default"' in said and 'value="hooli/web"' not in said


def test_an_operator_removes_endpoints_of_the_own_tenant_only(crowded: Crowd) -> None:
    eve = crowded.site.browser()
    eve.post("/login", data={"user": "eve", "password": PASSWORD})
    own, other = (crowded.rows(f"/endpoints?tenant={tenant}")[0].replace("-in-", "/") for tenant in ("acme", "initech"))
    assert "Remove chosen" in eve.get("/endpoints").text and "Remove chosen" not in eve.get("/networks").text
    assert eve.post("/endpoints/removal", data={"name": own}).status_code == 200
    for path in ("removal", "removed"):
        assert eve.post(f"/endpoints/{path}", data={"name": other, "version": "1"}).status_code == 404
    assert eve.post("/networks/removed", data={"name": "acme/default", "version": "1"}).status_code == 403
    assert crowded.site.admin.get(f"/endpoints/{other}").status_code == 200


def test_details_tell_what_is_related(crowded: Crowd) -> None:
    admin, site = crowded.admin, crowded.site
    db = next(row for row in crowded.rows("/endpoints?tenant=acme&q=acme/db")).replace("-in-", "/")
    address = site.admin.get(f"/endpoints/{db}").get_json()["addresses"][0].partition("/")[0]
    site.admin.put("/dns/records/acme/shop", {"addresses": [address]})
    site.admin.patch(f"/endpoints/{db}", {"labels": {"tier": "gold"}})
    said = admin.get(f"/endpoints/{db}").text
    assert ">acme/db</a></b>" in said and "1 ingress rule" in said
    assert "shop.acme.warren.internal" in said
    assert "boss</b> changed" in said and "labels" in said
    web = next(row for row in crowded.rows("/endpoints?tenant=acme&q=acme/web")).replace("-in-", "/")
    said = admin.get(f"/endpoints/{web}").text
    assert "that select it" in said and ">acme/db</a></b>" not in said
    tenant = admin.get("/tenants/acme").text
    assert ">acme/db</a></b>" in tenant and "shop.acme" in tenant and "created" in tenant
    assert admin.get("/hosts/h01").status_code == 200


def test_rows_are_chosen_and_removed_in_a_browser(stage: Stage) -> None:
    page = stage.page
    stage.admin.post("/tenants", {"name": "acme"})
    agent = enrolled(stage, "h1", "198.18.0.11")
    for name in ("web1", "web2", "web3"):
        attach(agent, "h1", "acme/default", name)
    log_in(page)
    page.goto("/endpoints")
    live(page)
    assert faults(page) == []
    page.get_by_label("Choose all shown").check()
    page.get_by_label("Choose acme/web2").uncheck()
    page.get_by_role("button", name="Remove chosen").click()
    expect(page.locator(".doomed li")).to_have_count(2)
    assert faults(page) == []
    page.get_by_role("button", name="Remove 2").click()
    expect(page.locator(".lead")).to_contain_text("Change")
    page.get_by_role("link", name="Go on").click()
    expect(page).to_have_url(f"{stage.server.url}/endpoints")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("#endpoint-acme-in-web2")).to_be_visible()
