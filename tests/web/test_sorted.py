"""Lists come in the order that is asked for, page after page."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.web.conftest import Site

LISTS = ("tenants", "networks", "endpoints", "hosts")


@pytest.fixture
def filled(any_site: Site) -> Site:
    """Hosts h1 and h2; beta has two endpoints, acme one, shop none. Named against the order in which they are made."""
    agents = [any_site.enrolled("h2", "198.18.0.12"), any_site.enrolled("h1")]
    for name in ("shop", "beta", "acme"):
        any_site.admin.made("/tenants", {"name": name})
    for number, (tenant, at) in enumerate((("beta", 0), ("beta", 1), ("acme", 0))):
        asked = {"network": f"{tenant}/default", "name": f"e{number}", "netns": f"/run/netns/e{number}"}
        path = f"/hosts/{('h2', 'h1')[at]}/attachments/c{number}/eth0"
        assert agents[at].put(path, asked).status_code == 201
    return any_site


def names(site: Site, path: str, **asked: Any) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        more = {"cursor": cursor} if cursor else {}
        page = site.admin.get(path, query_string={"limit": 1, **asked, **more}).get_json()
        found += [item["name"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            return found


def test_what_is_asked_for_comes_first(filled: Site) -> None:
    assert names(filled, "/tenants") == ["acme", "beta", "shop"]
    assert names(filled, "/tenants", sort="-name") == ["shop", "beta", "acme"]
    assert names(filled, "/tenants", sort="created") == ["shop", "beta", "acme"]
    assert names(filled, "/tenants", sort="-endpoints") == ["beta", "acme", "shop"]
    assert names(filled, "/tenants", sort="networks") == ["acme", "beta", "shop"], "equals come by their names"
    assert names(filled, "/networks", sort="endpoints") == ["shop/default", "acme/default", "beta/default"]
    assert names(filled, "/endpoints", sort="host") == ["beta/e1", "acme/e2", "beta/e0"]
    assert names(filled, "/endpoints", sort="-created") == ["acme/e2", "beta/e1", "beta/e0"]
    assert names(filled, "/hosts", sort="-endpoints") == ["h2", "h1"]
    assert names(filled, "/hosts", sort="flows") == ["h1", "h2"]


@pytest.mark.parametrize("noun", LISTS)
def test_the_description_has_the_orders_and_no_other_is_taken(filled: Site, noun: str) -> None:
    document = filled.browser().get("/openapi.json").get_json()
    parameters = document["paths"][f"/api/v1/{noun}"]["get"]["parameters"]
    (orders,) = [one["schema"]["enum"] for one in parameters if one["name"] == "sort"]
    assert {"name", "-name", "created", "-created"} <= set(orders)
    everything = sorted(names(filled, f"/{noun}"))
    for order in orders:
        assert sorted(names(filled, f"/{noun}", sort=order)) == everything
    refused = filled.admin.get(f"/{noun}?sort=colour")
    assert refused.status_code == 422
    assert refused.get_json()["errors"][0]["field"] == "sort"
    assert "use name, " in refused.get_json()["detail"]


@pytest.mark.parametrize(
    ("sort", "cursor"),
    [
        *(("endpoints", "x~acme"), ("endpoints", f"{2**63}~acme"), ("created", "2026-01-01T00:00:00~acme")),
        *(("created", "0001-01-01T00:00:00+14:00~acme"), ("created", "acme")),
    ],
)
def test_a_cursor_of_another_list_is_refused(any_site: Site, sort: str, cursor: str) -> None:
    refused = any_site.admin.get(f"/tenants?sort={sort}&cursor={quote(cursor)}")
    assert (refused.status_code, refused.get_json()["errors"][0]["field"]) == (422, "cursor")
