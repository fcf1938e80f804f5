"""Lists come in the order that is asked for, page after page."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from db.changes import transaction
from db.tables import ResolvedName
from tests.web.conftest import Site

LISTS = {
    **dict.fromkeys(("tenants", "networks", "endpoints", "hosts", "policies", "pools", "users", "groups"), "name"),
    "ipam": "network",
    "names": "name",
    "networks/acme/default/reservations": "name",
    "publications": "id",
    "dns/records": "name",
    "tokens": "id",
    "role-bindings": "id",
    "audit": "number",
}
"""Each list, and what tells its items apart."""
NOT_SORTED = {
    "/rules": "come as they are asked, by policies",
    "/denials": "the newest of a few thousand",
    "/revisions": "a log, read on from a revision",
    "/ipam/check": "all of them, as they are found",
}


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
    for number in range(2):
        any_site.admin.made("/users", {"name": f"user{number}"})
        any_site.admin.made("/groups", {"name": f"group{number}"})
        any_site.admin.made("/role-bindings", {"user": f"user{number}", "role": ("viewer", "admin")[number]})
        any_site.admin.made("/pools", {"name": f"pool{number}", "cidr": f"10.{70 + number}.0.0/16", "prefix": 24})
        any_site.admin.made("/networks/acme/default/reservations", {"name": f"kept{number}"})
        any_site.admin.made("/publications", {"endpoint": f"beta/e{number}", "port": 80 - number})
        assert any_site.admin.put(f"/dns/records/acme/n{number}", {"addresses": ["192.0.2.9"]}).status_code == 201
        meta = {"name": f"p{number}", "namespace": "acme"}
        kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta}
        assert (
            any_site.admin.post("/policies", {"documents": [kind | {"spec": {"podSelector": {}}}]}).status_code == 200
        )
    with transaction(any_site.engine) as tx:
        tx.session.add_all([ResolvedName(name="a.example"), ResolvedName(name="b.example")])
    return any_site


def names(site: Site, path: str, key: str = "name", **asked: Any) -> list[Any]:
    found: list[Any] = []
    cursor = None
    while True:
        more = {"cursor": cursor} if cursor else {}
        page = site.admin.get(path, query_string={"limit": 1, **asked, **more}).get_json()
        found += [item[key] for item in page["items"]]
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


def test_every_list_is_in_here(any_site: Site) -> None:
    """A new one is in pages, sorted, and tried below; or it is said why not."""
    document = any_site.browser().get("/openapi.json").get_json()
    schemas = document["components"]["schemas"]
    found = set()
    for path, methods in document["paths"].items():
        answer = methods.get("get", {}).get("responses", {}).get("200", {}).get("content", {}).get("application/json")
        name = answer["schema"].get("$ref", "").rpartition("/")[2] if answer else ""
        if "items" not in schemas.get(name, {}).get("properties", {}):
            continue
        short = path.removeprefix("/api/v1")
        found.add(short.replace("{tenant}/{network}", "acme/default"))
        if short not in NOT_SORTED:
            taken = {one["name"] for one in methods["get"]["parameters"]}
            assert {"sort", "limit", "cursor"} <= taken, path
            assert "text" in taken or short in ("/audit", "/role-bindings"), path
    assert found == NOT_SORTED.keys() | {f"/{noun}" for noun in LISTS}


@pytest.mark.parametrize("noun", LISTS)
def test_the_description_has_the_orders_and_no_other_is_taken(filled: Site, noun: str) -> None:
    document = filled.browser().get("/openapi.json").get_json()
    described = "/api/v1/" + noun.replace("acme/default", "{tenant}/{network}")
    parameters = document["paths"][described]["get"]["parameters"]
    (orders,) = [one["schema"]["enum"] for one in parameters if one["name"] == "sort"]
    assert any({name, f"-{name}"} <= set(orders) for name in ("name", "created"))
    key = LISTS[noun]
    everything = names(filled, f"/{noun}", key)
    assert len(everything) >= 2 and sorted(set(everything)) == sorted(everything)
    for order in orders:
        assert sorted(names(filled, f"/{noun}", key, sort=order)) == sorted(everything), order
    own = orders[0]
    assert names(filled, f"/{noun}", key, sort=f"-{own}") == list(reversed(names(filled, f"/{noun}", key, sort=own)))
    refused = filled.admin.get(f"/{noun}?sort=colour")
    assert refused.status_code == 422
    assert refused.get_json()["errors"][0]["field"] == "sort"
    assert own in refused.get_json()["detail"]


def test_lists_are_filtered_alike(filled: Site) -> None:
    def found(path: str, key: str = "name", **asked: Any) -> list[Any]:
        return names(filled, path, key, **asked)

    assert found("/tenants", text="ho") == ["shop"]
    assert found("/endpoints", text="beta/e") == ["beta/e0", "beta/e1"]
    assert found("/endpoints", host="h1", tenant="beta") == ["beta/e1"]
    assert found("/endpoints", state="up") == []
    assert found("/networks", text="SHOP") == found("/ipam", "network", text="shop") == ["shop/default"]
    assert found("/hosts", text="198.18.0.12") == ["h2"]
    assert found("/policies", text="acme/p1") == found("/policies", text="P1", tenant="acme") == ["acme/p1"]
    assert found("/policies", kind="ClusterNetworkPolicy") == []
    assert found("/pools", text="pool", family=4) == ["pool0", "pool1"]
    assert "pool0" not in found("/pools", family=6) and found("/pools", state="draining") == []
    assert found("/users", text="0") == ["user0"] and found("/groups", text="1") == ["group1"]
    assert found("/names", text="b.") == ["b.example"]
    assert found("/networks/acme/default/reservations", text="1") == ["kept1"]
    assert found("/publications", "endpoint", host="h2") == ["beta/e0"]
    assert found("/publications", "port", sort="-endpoint", text="beta") == [79, 80]
    assert found("/dns/records", tenant="acme", text="n1") == ["n1"] and found("/dns/records", text="%") == []
    assert found("/tokens", role="viewer") == ["guest"] and found("/tokens", host="h1", role="cni") == []
    assert found("/role-bindings", "user", role="viewer") == ["user0"]


@pytest.mark.parametrize(
    ("sort", "cursor"),
    [
        *(("endpoints", "endpoints~x~acme"), ("endpoints", f"endpoints~{2**63}~acme")),
        *(("created", "created~2026-01-01T00:00:00~acme"), ("created", "created~0001-01-01T00:00:00+14:00~acme")),
        *(("created", "created~acme"), ("created", "acme"), ("name", "acme"), ("name", "garbage"), ("name", "")),
        *(
            ("name", "-name~acme"),
            ("-name", "name~acme"),
            ("name", "endpoints~3~acme"),
            ("networks", "endpoints~3~acme"),
        ),
    ],
)
def test_a_cursor_of_another_list_is_refused(any_site: Site, sort: str, cursor: str) -> None:
    refused = any_site.admin.get(f"/tenants?sort={sort}&cursor={quote(cursor)}")
    assert (refused.status_code, refused.get_json()["errors"][0]["field"]) == (422, "cursor")


@pytest.mark.parametrize("noun", LISTS)
def test_a_cursor_of_another_order_is_refused_and_its_own_is_taken(filled: Site, noun: str) -> None:
    document = filled.browser().get("/openapi.json").get_json()
    described = "/api/v1/" + noun.replace("acme/default", "{tenant}/{network}")
    (orders,) = [
        one["schema"]["enum"] for one in document["paths"][described]["get"]["parameters"] if one["name"] == "sort"
    ]
    cursors = {}
    for order in orders:
        cursors[order] = filled.admin.get(f"/{noun}?limit=1&sort={order}").get_json()["next"]
        assert filled.admin.get(f"/{noun}", query_string={"sort": order, "cursor": cursors[order]}).status_code == 200
    if noun == "audit":  # its cursors are numbers of entries, in either order
        return
    for order in orders:
        for other in set(orders) - {order}:
            asked = {"sort": order, "cursor": cursors[other]}
            assert filled.admin.get(f"/{noun}", query_string=asked).status_code == 422, asked


def test_a_refused_parameter_is_called_by_its_name(any_site: Site) -> None:
    """Once, and with what it may be."""
    refused = any_site.admin.get("/pools?state=full&family=5&text=" + "x" * 254).get_json()
    assert [error["field"] for error in refused["errors"]] == ["text", "family", "state"]
    assert refused["errors"][1]["message"] == "'family' is '5'; it must be '4' or '6'."
    assert "'enabled', 'disabled' or 'draining'" in refused["errors"][2]["message"]
    quota = any_site.admin.post("/tenants", {"name": "acme", "quota": {"hosts": 1}}).get_json()["errors"]
    assert [error["field"] for error in quota] == ["quota.hosts"] and "'bandwidth'" in quota[0]["message"]
