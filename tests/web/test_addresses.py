"""Pools, reservations, usage, check and repair, as callers of the API and Prometheus see them."""

from __future__ import annotations

from tests.web.conftest import Json, Site


def network(site: Site, **more: object) -> Json:
    site.admin.made("/tenants", {"name": "acme"})
    return site.admin.made("/networks", {"name": "acme/web", **more})


def attach(site: Site, name: str, **more: object) -> Json:
    body = {"network": "acme/web", "name": name, "netns": f"/run/netns/{name}", **more}
    answer = site.admin.put(f"/hosts/h1/attachments/{name}/eth0", body)
    assert answer.status_code == 201, answer.text
    made: Json = answer.get_json()
    return made


def test_a_network_shows_how_it_is_laid_out(any_site: Site) -> None:
    made = network(
        any_site,
        subnets=["10.20.0.0/24", "10.21.0.0/24", "fd00:20::/64"],
        gateways=["10.21.0.254"],
        ip_ranges=["10.20.0.128/25"],
        excludes=["10.20.0.200-10.20.0.201"],
        aux_addresses={"lb": "10.20.0.250"},
        plan="per-host",
        block_sizes=[28],
        strict=True,
    )
    assert (made["plan"], made["strict"]) == ("per-host", True)
    assert [(one["gateway"], one["block_size"], one["pool"]) for one in made["subnets"]] == [
        ("10.20.0.1", 28, None),
        ("10.21.0.254", 28, None),
        ("fd00:20::1", 122, None),
    ]
    first = made["subnets"][0]
    assert first["ip_range"] == "10.20.0.128/25" and first["aux_addresses"] == {"lb": "10.20.0.250"}
    assert first["excludes"] == ["10.20.0.200/31"] and first["size"] == 254 - 4
    added = any_site.admin.made("/networks/acme/web/subnets", {"subnet": "10.22.0.0/24"})
    assert added["subnets"][-1]["block_size"] == 26
    assert any_site.admin.made("/networks/acme/web/subnets", {})["subnets"][-1]["pool"] == "default"
    assert any_site.admin.delete("/networks/acme/web/subnets/10.20.0.0/24").status_code == 200
    left = any_site.admin.get("/networks/acme/web").get_json()["subnets"]
    assert [one["cidr"] for one in left[:3]] == ["10.21.0.0/24", "fd00:20::/64", "10.22.0.0/24"]


def test_pools_change_state_and_take_no_revision(any_site: Site) -> None:
    before = any_site.revision()
    made = any_site.admin.made("/pools", {"name": "second", "cidr": "10.99.0.0/16", "prefix": 26})
    assert (made["size"], made["used"], made["state"]) == (1024, 0, "enabled")
    assert any_site.admin.patch("/pools/second", {"state": "draining"}).get_json()["state"] == "draining"
    stale = any_site.admin.patch("/pools/second", {"state": "enabled"}, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    names = [pool["name"] for pool in any_site.viewer.get("/pools").get_json()["items"]]
    assert names == ["default", "default6", "second"]
    assert any_site.admin.delete("/pools/second").status_code == 200
    assert any_site.revision() == before


def test_a_reservation_is_kept_and_asked_for(any_site: Site) -> None:
    network(any_site, subnets=["10.20.0.0/24"])
    any_site.enrolled("h1")
    path = "/networks/acme/web/reservations"
    body = {"name": "db1", "addresses": ["10.20.0.50"], "expires_at": "2999-01-01T00:00:00Z"}
    made = any_site.admin.made(path, body)
    assert (made["addresses"], made["expires_at"]) == (["10.20.0.50"], "2999-01-01T00:00:00Z")
    assert attach(any_site, "pod", reservation="db1")["addresses"] == ["10.20.0.50/24"]
    assert [one["name"] for one in any_site.viewer.get(path).get_json()["items"]] == ["db1"]
    assert any_site.admin.delete(f"{path}/db1").status_code == 200
    assert any_site.viewer.get(path).get_json() == {"items": [], "next": None}


def test_what_agents_report_is_checked_and_repaired(any_site: Site) -> None:
    network(any_site, subnets=["10.20.0.0/28"])
    agent = any_site.enrolled("h1")
    gone = attach(any_site, "web1")["id"]
    report = {"agent": {"version": "1", "pid": 1, "started_at": "now"}, "revision": any_site.revision()}
    assert agent.put("/hosts/h1/report", report | {"gone": [gone], "missing": [gone]}).status_code == 200
    found = any_site.viewer.get("/ipam/check").get_json()["items"]
    assert [(one["kind"], bool(one["repair"])) for one in found] == [("port-missing", False), ("container-gone", True)]
    before = any_site.revision()
    dry = any_site.admin.post("/ipam/gc?dry_run=true").get_json()
    assert dry["items"] == found and any_site.revision() == before
    assert any_site.viewer.post("/ipam/gc").status_code == 403
    live = {"state": "pending", "hosts": [{"host": "h1", "state": "disconnected", "error": ""}]}
    assert any_site.admin.post("/ipam/gc?wait=0.001").get_json() == {
        "items": found,
        "revision": before + 1,
        "live": live,
    }
    assert any_site.viewer.get("/ipam/check").get_json() == {"items": []}
    assert any_site.viewer.get("/endpoints/acme/web1").status_code == 404


def test_usage_is_told_as_a_list_as_warnings_and_as_metrics(any_site: Site) -> None:
    network(any_site, subnets=["10.20.0.0/29"], plan="per-host", block_sizes=[30])
    any_site.enrolled("h1")
    for number in range(5):
        attach(any_site, f"web{number}")
    usage = any_site.viewer.get("/ipam?tenant=acme").get_json()["items"][1]["subnets"][0]
    assert (usage["size"], usage["used"], usage["nearly_full"]) == (5, 5, True)
    assert usage["blocks"] == [
        {"cidr": "10.20.0.0/30", "host": "h1", "size": 2, "used": 2},
        {"cidr": "10.20.0.4/30", "host": "h1", "size": 3, "used": 3},
    ]
    warnings = any_site.viewer.get("/ipam/warnings").get_json()["warnings"]
    assert warnings == ["subnet 10.20.0.0/29 of network acme/web has 0 of 5 addresses left"]
    answer = any_site.viewer.get("/metrics")
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    assert 'warren_subnet_addresses{network="acme/web",subnet="10.20.0.0/29"} 5' in lines
    assert 'warren_subnet_addresses_used{network="acme/web",subnet="10.20.0.0/29"} 5' in lines
    assert 'warren_subnet_blocks{network="acme/web",subnet="10.20.0.0/29"} 2' in lines
    assert 'warren_subnet_blocks_used{network="acme/web",subnet="10.20.0.0/29"} 2' in lines
    assert 'warren_pool_subnets_used{pool="default",cidr="10.128.0.0/14"} 1' in lines
    assert any_site.nobody.get("/metrics").status_code == 401
