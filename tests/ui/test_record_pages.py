"""Static records and published ports on pages: listed, made, changed, taken back; what it does is told before."""

from __future__ import annotations

import re
from html import unescape

import pytest
from playwright.sync_api import expect
from sqlalchemy import update

from db.engine import writing
from db.tables import HostStatus
from tests.ui.conftest import DESK, PHONE, Stage, attach, enrolled, faults, live, log_in
from tests.ui.visitor import Visitor, member, words
from tests.ui.visitor import faults as beside
from tests.web.conftest import Json, Site


def record(site: Site, scope: str = "acme", name: str = "db") -> Json | None:
    answer = site.admin.get(f"/dns/records/{scope}/{name}")
    found: Json = answer.get_json()
    return found if answer.status_code == 200 else None


def published(site: Site) -> list[Json]:
    found: list[Json] = site.admin.get("/publications").get_json()["items"]
    return found


# ---- records ----


@pytest.mark.parametrize("scope", ["acme", "acme/web"])
def test_a_record_is_made_changed_and_deleted(two: Site, boss: Visitor, scope: str) -> None:
    full = ".".join(["db", *reversed(scope.split("/")), "warren.internal"])
    seen = words(boss.send("/new/record", scope=scope, name="db", addresses="198.18.5.1, fd00::1").text)
    assert f"{full} stands for 198.18.5.1, fd00::1." in seen and record(two, scope) is None
    went = boss.confirm("/new/record", scope=scope, name="db", addresses="198.18.5.1\nfd00::1")
    assert went == f"/changes/{two.revision()}?back=/records?tenant%3Dacme"
    assert (record(two, scope) or {})["addresses"] == ["198.18.5.1", "fd00::1"]
    assert full in boss.open("/records") and full in boss.open("/tenants/acme")
    assert f'href="/records/{scope}/db/edit"' in boss.open("/records?tenant=acme")
    assert full not in boss.open("/records?tenant=beta") and full not in boss.open("/records?q=other")
    page = boss.open(f"/records/{scope}/db/edit")
    assert "It stands for 198.18.5.1, fd00::1 now." in words(page)
    went = boss.confirm(f"/records/{scope}/db/edit", addresses="198.18.5.2")
    assert f"undo=/records/{scope}/db/edit" in went
    assert (record(two, scope) or {})["addresses"] == ["198.18.5.2"]
    page = words(boss.open(f"/records/{scope}/db/delete"))
    assert f"Who asks for {full} is told that there is no such name, not 198.18.5.2." in page
    assert f"{full} is not a name any more." in page
    went = boss.send(f"/records/{scope}/db/delete", 303, step="apply").headers["Location"]
    assert record(two, scope) is None
    undo = unescape(re.findall(r'href="(/new/record[^"]*)">Undo it', boss.open(went))[0])
    assert re.search(r'name="addresses"[^>]*>\s*198.18.5.2</textarea>', boss.open(undo))


def test_a_record_that_is_there_is_not_overwritten_by_a_new_one(two: Site, boss: Visitor) -> None:
    boss.confirm("/new/record", scope="acme", name="db", addresses="198.18.5.1")
    before = two.revision()
    answer = boss.send("/new/record", 409, scope="acme", name="db", addresses="198.18.5.9", step="apply")
    assert "exists already" in beside(answer)["name"]
    for values, field, said in (
        ({"scope": "acme", "name": "Not a name", "addresses": "198.18.5.1"}, "name", "lower-case"),
        ({"scope": "acme", "name": "x", "addresses": "198.18.5"}, "addresses", "not an address"),
        ({"scope": "acme", "name": "x", "addresses": ""}, "addresses", ""),
        ({"scope": "acme/none", "name": "x", "addresses": "198.18.5.1"}, "scope", "no network acme/none"),
        ({"scope": "nobody", "name": "x", "addresses": "198.18.5.1"}, "scope", "no tenant nobody"),
    ):
        answer = boss.send("/new/record", None, **values)
        assert 400 <= answer.status_code < 500
        assert said.lower() in beside(answer)[field].lower(), field
    (version,) = re.findall(r'name="version" value="(\d+)"', boss.open("/records/acme/db/edit"))
    assert two.revision() == before
    two.admin.put("/dns/records/acme/db", {"addresses": ["198.18.5.7"]})
    boss.send("/records/acme/db/edit", 412, version=version, addresses="198.18.5.2", step="apply")
    two.admin.delete("/dns/records/acme/db")
    boss.send("/records/acme/db/edit", 404, version=version, addresses="198.18.5.2", step="apply")
    assert record(two) is None


def test_tenants_people_see_and_change_their_own_names_only(two: Site) -> None:
    for tenant in ("acme", "beta"):
        assert two.admin.put(f"/dns/records/{tenant}/{tenant}db", {"addresses": ["198.18.5.1"]}).status_code == 201
    eve, dan = member(two, "eve", acme="admin"), member(two, "dan", acme="viewer")
    for one in (eve, dan):
        page = one.open("/records")
        assert "acmedb.acme" in page and "beta" not in page
        assert "betadb" not in one.open("/records?tenant=beta")
    assert "/records/acme/acmedb/edit" in eve.open("/records") and "/edit" not in dan.open("/records")
    assert "beta" not in eve.open("/new/record")
    before = two.revision()
    for name in ("beta", "nowhere"):
        answer = eve.send("/new/record", 404, scope=name, name="x", addresses="198.18.5.1", step="apply")
        assert "There is no tenant" in words(answer.text)
        eve.send(f"/records/{name}/{name}db/delete", 404, step="apply")
    dan.send("/new/record", 403, scope="acme", name="x", addresses="198.18.5.1", step="apply")
    dan.send("/records/acme/acmedb/delete", 403, step="apply")
    assert two.revision() == before


def test_what_names_end_in_is_changed(two: Site, boss: Visitor) -> None:
    assert "Full names end in warren.internal" in words(boss.open("/settings"))
    assert "two labels" in words(boss.open("/cluster/domain"))
    assert "single label" in beside(boss.send("/cluster/domain", 422, domain="x"))["domain"]
    went = boss.confirm("/cluster/domain", domain="lan.example")
    assert two.admin.get("/dns").get_json()["domain"] == "lan.example"
    assert "undo=/cluster/domain?domain%3Dwarren.internal" in went


# ---- published ports ----


def test_a_port_that_a_host_has_not_opened_says_why(two: Site, boss: Visitor) -> None:
    one = two.admin.made("/publications", {"endpoint": "acme/acme1", "port": 80, "host_port": 8080})
    with writing(two.engine) as session:
        session.execute(update(HostStatus).values(closed={str(one["id"]): "sshd listens at port 8080"}))
    for path in ("/publications", "/endpoints/acme/acme1"):
        assert "h1: sshd listens at port 8080" in words(boss.open(path))


def test_a_port_is_published_and_unpublished(two: Site, boss: Visitor) -> None:
    asked = {"endpoint": "acme/acme1", "protocol": "udp", "port": "80", "host_port": "8080", "count": "3"}
    seen = words(boss.send("/new/publication?endpoint=acme/acme1", **asked).text)
    assert "Whoever reaches UDP ports 8080 to 8082 of h1 reaches ports 80 to 82 of acme/acme1." in seen
    assert "Everybody gets in: no policy is about what comes to acme/acme1." in seen and not published(two)
    went = boss.confirm("/new/publication?endpoint=acme/acme1", **asked, host_ip="198.18.0.1")
    assert went.endswith("?back=/endpoints/acme/acme1")
    (one,) = published(two)
    assert (one["host_port"], one["port"], one["count"], one["protocol"]) == (8080, 80, 3, "udp")
    assert (one["host_ip"], one["mesh"], one["by_runtime"]) == ("198.18.0.1", False, False)
    end = f"/publications/acme/acme1/{one['id']}/end"
    for path in ("/publications", "/endpoints/acme/acme1", "/publications?host=h1", "/publications?tenant=acme"):
        assert end in boss.open(path)
        assert "udp/8080-8082" in words(boss.open(path))
    for path in ("/publications?host=h9", "/publications?tenant=beta", "/publications?q=beta"):
        assert end not in boss.open(path)
    page = words(boss.open(end))
    where = "UDP ports 8080 to 8082 of h1 by 198.18.0.1"
    assert f"Connections that came by {where} end at once" in page and f"{where} leads nowhere." in page
    went = boss.send(end, 303, step="apply").headers["Location"]
    assert published(two) == []
    (undo,) = re.findall(r'href="([^"]+)">Undo it', boss.open(went))
    page = boss.open(unescape(undo))
    for field, value in (("host_port", "8080"), ("count", "3"), ("host_ip", "198.18.0.1"), ("port", "80")):
        assert re.search(rf'name="{field}" value="{value}"', page), field
    boss.open(end, 404)


def test_the_pages_of_a_deletion_and_of_a_network_that_closes_name_the_ports(two: Site, boss: Visitor) -> None:
    two.admin.made("/publications", {"endpoint": "acme/acme1", "port": 80, "host_port": 8080})
    goes = "Beyond endpoints: TCP port 8080 of h1 leads nowhere any more, as acme/acme1 goes."
    assert goes in words(boss.open("/endpoints/acme/acme1/delete"))
    assert goes in words(boss.open("/hosts/h1/delete"))
    network = two.admin.get("/endpoints/acme/acme1").get_json()["network"]
    two.admin.patch(f"/networks/{network}", {"outbound": False})
    assert f"network {network} is closed to the outside" in words(boss.open("/publications"))


def test_a_port_of_all_hosts_and_one_that_is_chosen(two: Site, boss: Visitor) -> None:
    asked = {"endpoint": "acme/acme1", "protocol": "tcp", "port": "443"}
    seen = words(boss.send("/new/publication", **asked, mesh="on").text)
    assert "of all hosts reaches port 443 of acme/acme1" in seen and "A free one is chosen" in seen
    went = boss.confirm("/new/publication", **asked, mesh="on")
    assert went.endswith("?back=/publications")
    (one,) = published(two)
    assert one["mesh"] and one["host_port"] >= 32768
    assert "all hosts" in words(boss.open("/publications"))


def test_who_decides_who_gets_in_is_told(two: Site, boss: Visitor) -> None:
    asked = {"endpoint": "acme/acme1", "protocol": "tcp", "port": "80", "host_port": "80"}
    two.admin.patch("/tenants/acme", {"default_deny": ["ingress"]})
    assert "acme denies ingress by default" in words(boss.send("/new/publication", **asked).text)
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "front", "namespace": "acme"},
        "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]},
    }
    assert two.admin.post("/policies", {"documents": [policy]}).status_code == 200
    assert "by the address that the client has: by acme/front." in words(boss.send("/new/publication", **asked).text)


def test_what_cannot_be_published_says_why_beside_its_field(two: Site, boss: Visitor) -> None:
    two.admin.made("/publications", {"endpoint": "beta/beta1", "port": 80, "host_port": 8080})
    before = two.revision()
    good = {"endpoint": "acme/acme1", "protocol": "tcp", "port": "80"}
    for values, field, said in (
        ({"host_port": "8080"}, "host_port", "is published for beta/beta1"),
        ({"port": "99999"}, "port", ""),
        ({"port": ""}, "port", ""),
        ({"port": "http"}, "port", "whole number"),
        ({"count": "2000"}, "count", ""),
        ({"host_ip": "nowhere"}, "host_ip", "not an address"),
        ({"host_ip": "198.18.0.1", "mesh": "on"}, "host_ip", "address of one host"),
        ({"endpoint": "acme/none"}, "endpoint", "no endpoint acme/none"),
    ):
        answer = boss.send("/new/publication", None, **{**good, **values})
        assert 400 <= answer.status_code < 500
        assert said in beside(answer)[field], (field, beside(answer))
    eve = member(two, "eve", acme="admin")
    answer = eve.send("/new/publication", 409, **good, host_port="8080")
    assert "published for another tenant" in beside(answer)["host_port"] and "beta" not in answer.text
    assert two.revision() == before


def test_that_no_port_is_free_is_said_beside_the_port(
    two: Site, boss: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.publications.CHOSEN", range(40000, 40001))
    two.admin.made("/publications", {"endpoint": "beta/beta1", "port": 80})
    answer = boss.send("/new/publication", 409, endpoint="acme/acme1", protocol="tcp", port="80")
    assert "no port of 40000 to 40000 of host h1 is free for tcp" in beside(answer)["host_port"].lower()
    answer = two.admin.post("/publications", {"endpoint": "acme/acme1", "port": 80})
    assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (409, "host_port")


def test_tenants_people_publish_their_own_only(two: Site) -> None:
    made = {
        tenant: two.admin.made("/publications", {"endpoint": f"{tenant}/{tenant}1", "port": 80})["id"]
        for tenant in ("acme", "beta")
    }
    eve, dan = member(two, "eve", acme="admin"), member(two, "dan", acme="operator")
    for one in (eve, dan):
        page = one.open("/publications")
        assert "acme/acme1" in page and "beta" not in page and 'href="/hosts' not in page
    assert "beta" not in eve.open("/new/publication") and "Unpublish" not in dan.open("/publications")
    before = two.revision()
    asked = {"protocol": "tcp", "port": "81", "step": "apply"}
    for name in ("beta", "nowhere"):
        eve.send("/new/publication", 404, endpoint=f"{name}/{name}1", **asked)
        eve.send(f"/publications/{name}/{name}1/{made['beta']}/end", 404, step="apply")
    eve.send(f"/publications/acme/acme1/{made['beta']}/end", 404, step="apply")
    dan.send("/new/publication", 403, endpoint="acme/acme1", **asked)
    dan.send(f"/publications/acme/acme1/{made['acme']}/end", 403, step="apply")
    assert two.revision() == before
    eve.send(f"/publications/acme/acme1/{made['acme']}/end", 303, step="apply")
    assert [one["id"] for one in published(two)] == [made["beta"]]


# ---- what networks and endpoints can have, too ----


def test_a_network_is_laid_out_and_closed_on_its_page(two: Site, boss: Visitor) -> None:
    asked = {"tenant": "acme", "name": "lab", "subnets": "10.68.0.0/24", "transport": "vxlan", "plan": "per-host"}
    asked |= {"ip_ranges": "10.68.0.128/25", "excludes": "10.68.0.200-10.68.0.203", "block_sizes": "28", "strict": "on"}
    boss.confirm("/new/network", **asked, aux_addresses="router=10.68.0.254")
    found = two.admin.get("/networks/acme/lab").get_json()
    (subnet,) = found["subnets"]
    assert (found["plan"], found["strict"], found["outbound"]) == ("per-host", True, False)
    assert (subnet["ip_range"], subnet["block_size"]) == ("10.68.0.128/25", 28)
    assert subnet["aux_addresses"] == {"router": "10.68.0.254"} and subnet["excludes"]
    page = boss.open("/networks/acme/lab/edit")
    assert '<details class="rare" open>' in page and "10.68.0.128/25" in page
    assert '<details class="rare">' in boss.open("/new/record") or "rare" not in boss.open("/new/record")
    boss.confirm("/networks/acme/lab/edit", transport="vxlan", outbound="on", excludes="10.68.0.9")
    found = two.admin.get("/networks/acme/lab").get_json()
    (subnet,) = found["subnets"]
    assert (found["outbound"], found["strict"], subnet["ip_range"]) == (True, False, None)
    assert [one.removesuffix("/32") for one in subnet["excludes"]] == ["10.68.0.9"]
    more = {"subnet": "10.69.0.0/24", "family": "4", "excludes": "10.69.0.7", "gateways": "10.69.0.254"}
    boss.confirm("/networks/acme/web/extend", **more)
    added = two.admin.get("/networks/acme/web").get_json()["subnets"][-1]
    assert added["gateway"] == "10.69.0.254" and added["excludes"]


def test_an_endpoint_gets_further_addresses_and_may_move(two: Site, boss: Visitor) -> None:
    two.enrolled("h2", "198.18.0.12")
    path = "/endpoints/acme/acme1"
    boss.confirm(f"{path}/edit", allowed="10.65.0.100\n10.65.0.96/30 06:00:00:00:00:09", move_to="h2")
    found = two.admin.get(path).get_json()
    assert {one["address"]: one["mac"] for one in found["allowed"]} == {
        "10.65.0.100": found["mac"],
        "10.65.0.96/30": "06:00:00:00:00:09",
    }
    assert found["move_to"] == "h2"
    page = boss.open(f"{path}/edit")
    assert "10.65.0.96/30 06:00:00:00:00:09" in page and 'value="h2"' in page
    assert "too many words" in beside(boss.send(f"{path}/edit", 422, allowed="10.65.0.1 a b"))["allowed"]
    assert beside(boss.send(f"{path}/edit", None, allowed="10.99.0.1"))["allowed"] != ""
    boss.confirm(f"{path}/edit", allowed="10.65.0.100")
    found = two.admin.get(path).get_json()
    assert [one["address"] for one in found["allowed"]] == ["10.65.0.100"] and found["move_to"] is None


def test_ports_of_tunnels_are_changed(two: Site, boss: Visitor) -> None:
    boss.confirm("/cluster/isolation", isolation="multitenant", tunnel_ports="vxlan=4790")
    assert two.admin.get("/cluster").get_json()["tunnel_ports"]["vxlan"] == 4790
    assert "4790 (vxlan)" in words(boss.open("/settings"))
    answer = boss.send("/cluster/isolation", None, isolation="multitenant", tunnel_ports="vxlan=many")
    assert beside(answer)["tunnel_ports"]


# ---- in a browser ----


def test_names_and_ports_in_a_browser(stage: Stage) -> None:
    page = stage.page
    stage.admin.post("/tenants", {"name": "acme"})
    attach(enrolled(stage, "h1", "198.18.0.11"), "h1", "acme/default", "web1")
    log_in(page)
    live(page)
    page.keyboard.type("gd")
    expect(page).to_have_url(f"{stage.server.url}/records")
    expect(page.locator(".empty")).to_contain_text("No records yet")
    assert faults(page) == []
    page.get_by_role("link", name="New record").click()
    page.get_by_label("Where").fill("acme/default")
    page.get_by_label("Name", exact=True).fill("db")
    page.get_by_label("Addresses").fill("198.18.5.1")
    assert faults(page) == []
    page.get_by_role("button", name="Show what changes").click()
    expect(page.locator(".preview")).to_contain_text("db.default.acme.warren.internal stands for 198.18.5.1.")
    assert faults(page) == []
    page.get_by_role("button", name="Create").click()
    expect(page.locator(".lead")).to_contain_text("Change")
    page.get_by_role("link", name="Go on").click()
    row = page.locator("#record-acme-in-default-db")
    expect(row).to_contain_text("198.18.5.1")
    live(page)
    stage.admin.put("/dns/records/acme/default/db", {"addresses": ["198.18.5.9"]})
    expect(row).to_contain_text("198.18.5.9")  # by itself
    page.goto("/endpoints/acme/web1")
    page.get_by_role("link", name="Publish a port").first.click()
    page.get_by_label("Port of the endpoint").fill("80")
    page.get_by_label("Port of the host").fill("8080")
    page.get_by_role("button", name="Show what changes").click()
    expect(page.locator(".preview")).to_contain_text(
        "Whoever reaches TCP port 8080 of h1 reaches port 80 of acme/web1."
    )
    page.get_by_role("button", name="Publish").click()
    page.get_by_role("link", name="Go on").click()
    expect(page.locator("table.publications")).to_contain_text("tcp/8080")
    for size in (PHONE, DESK):
        page.set_viewport_size(size)
        for path in ("/records", "/publications", "/endpoints/acme/web1", "/new/publication", "/new/network"):
            page.goto(path)
            live(page)
            assert faults(page) == [], path
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], path
    page.goto("/publications")
    page.get_by_role("link", name="Unpublish").click()
    expect(page.locator(".breaks")).to_contain_text("end at once")
    page.get_by_role("button", name="Unpublish").click()
    expect(page).to_have_url(re.compile("/changes/"))
    page.goto("/publications")
    expect(page.locator(".empty")).to_contain_text("No port is published yet")
