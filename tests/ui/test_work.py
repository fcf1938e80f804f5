"""Pages that change something: asked, previewed, confirmed; what is refused stands beside its field."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest

from tests.ui.visitor import Visitor, faults, member, words
from tests.web.conftest import Json, Site


def tenant(site: Site, name: str = "acme") -> Json:
    found: Json = site.admin.get(f"/tenants/{name}").get_json()
    return found


def test_a_tenant_is_made_edited_and_deleted(site: Site, boss: Visitor) -> None:
    assert "Create" not in boss.open("/new/tenant")
    asked = {"name": "acme", "labels": "team=web\ntier=front", "deny_ingress": "on", "quota_networks": "7"}
    went = boss.confirm("/new/tenant", **asked)
    assert went == f"/changes/{site.revision()}?back=/tenants/acme"
    made = tenant(site)
    assert made["labels"] == {"kubernetes.io/metadata.name": "acme", "team": "web", "tier": "front"}
    assert (made["default_deny"], made["quota"], made["track_all"]) == (["ingress"], {"networks": 7}, False)
    assert "team=web" in boss.open("/tenants/acme/edit")
    boss.confirm("/tenants/acme/edit", labels="team=shop", track_all="on")
    made = tenant(site)
    assert made["labels"] == {"kubernetes.io/metadata.name": "acme", "team": "shop"}
    assert (made["default_deny"], made["quota"], made["track_all"]) == ([], {}, True)
    page = boss.open("/tenants/acme/delete")
    assert "Its 1 network, its policies and the roles in it go, too." in page
    assert boss.send("/tenants/acme/delete", 303, step="apply").headers["Location"].endswith("back=/tenants")
    assert site.admin.get("/tenants/acme").status_code == 404


def test_a_network_is_made_edited_and_deleted(two: Site, boss: Visitor) -> None:
    asked = {"tenant": "acme", "name": "db", "subnets": "10.67.0.0/24, fd00:67::/64", "transport": "geneve"}
    went = boss.confirm("/new/network", **asked, isolated="on", broadcast="on", labels="a=b", gateways="10.67.0.254")
    assert went.endswith("back=/networks/acme/db")
    made = two.admin.get("/networks/acme/db").get_json()
    assert [one["cidr"] for one in made["subnets"]] == ["10.67.0.0/24", "fd00:67::/64"]
    assert made["subnets"][0]["gateway"] == "10.67.0.254"
    assert (made["isolated"], made["broadcast"], made["transport"], made["own_mtu"]) == (True, True, "geneve", None)
    boss.confirm("/networks/acme/db/edit", labels="c=d", mtu="1400", transport="vxlan")
    made = two.admin.get("/networks/acme/db").get_json()
    assert (made["isolated"], made["broadcast"], made["transport"], made["own_mtu"]) == (False, False, "vxlan", 1400)
    assert made["labels"] == {"c": "d"}
    boss.confirm("/networks/acme/db/edit", transport="vxlan")
    assert two.admin.get("/networks/acme/db").get_json()["own_mtu"] is None
    assert "10.67.0.0/24, fd00:67::/64 and the reservations" in boss.open("/networks/acme/db/delete")
    boss.send("/networks/acme/db/delete", 303, step="apply")
    assert two.admin.get("/networks/acme/db").status_code == 404


def test_who_reaches_whom_is_told_before_it_is_done(two: Site, boss: Visitor) -> None:
    before = two.revision()
    seen = words(boss.send("/tenants/acme/join", to="beta").text)
    assert "acme/* to beta/* denied → allowed acme and beta are joined" in seen
    assert two.revision() == before
    went = boss.confirm("/tenants/acme/join", to="beta")
    assert tenant(two)["joined"] == ["beta"]
    assert went == f"/changes/{two.revision()}?back=/tenants/acme&undo=/tenants/acme/isolate"
    seen = words(boss.open("/tenants/acme/isolate"))
    assert "It leaves beta: their connections stop." in seen
    assert "acme/* to beta/* allowed → denied" in seen
    boss.send("/tenants/acme/isolate", 303, step="apply")
    assert tenant(two)["joined"] == []


def test_peers_and_globals(two: Site, boss: Visitor) -> None:
    boss.confirm("/tenants/acme/peer", **{"with": "beta"})
    assert tenant(two)["peers"] == ["beta"]
    assert 'href="/tenants/acme/peers/beta/end"' in boss.open("/tenants/acme")
    boss.open("/tenants/acme/peers/beta/end")
    boss.send("/tenants/acme/peers/beta/end", 303, step="apply")
    assert tenant(two)["peers"] == []
    boss.open("/tenants/acme/global")
    boss.send("/tenants/acme/global", 303, step="apply")
    assert tenant(two)["isolation"] == "global"


def test_an_endpoint_is_labelled_and_deleted(two: Site, boss: Visitor) -> None:
    boss.confirm("/endpoints/acme/acme1/edit", labels="app=web", ports="http=80/tcp\ndns=53/udp")
    found = two.admin.get("/endpoints/acme/acme1").get_json()
    assert found["labels"] == {"app": "web"}
    assert [(port["name"], port["port"], port["protocol"]) for port in found["ports"]] == [
        ("http", 80, "tcp"),
        ("dns", 53, "udp"),
    ]
    page = boss.open("/endpoints/acme/acme1/delete")
    assert "10.65.0.2/24 are free for others" in page
    assert "What goes acme/acme1 : nobody reaches it now" in words(page)
    assert "Nothing changes in who reaches whom" not in page
    boss.send("/tenants/acme/join", 303, to="beta", step="apply")
    assert "acme/acme1 : 1 endpoint reaches it now" in words(boss.open("/endpoints/acme/acme1/delete"))
    page = words(boss.open("/hosts/h1/delete"))
    assert "acme/acme1 : 1 endpoint reaches it now beta/beta1 : 1 endpoint reaches it now" in page
    boss.send("/endpoints/acme/acme1/delete", 303, step="apply")
    assert two.admin.get("/endpoints/acme/acme1").status_code == 404


@pytest.mark.parametrize(
    ("path", "values", "field", "said"),
    [
        ("/new/tenant", {"name": "Not a name"}, "name", "lower-case"),
        ("/new/tenant", {"name": "acme"}, "name", "exists already"),
        ("/new/tenant", {"name": "x", "labels": "nonsense"}, "labels", "write it like app=web"),
        ("/new/tenant", {"name": "x", "labels": "a=1 a=2"}, "labels", "stands there twice"),
        ("/tenants/acme/join", {"to": "acme"}, "to", "cannot join itself"),
        ("/tenants/acme/join", {"to": "nobody"}, "to", "there is no tenant nobody"),
        ("/tenants/acme/peer", {"with": "nobody"}, "with", "there is no tenant nobody"),
        ("/new/network", {"tenant": "acme", "name": "x", "transport": "vxlan", "subnets": "10.0.0.1/8"}, "subnets", ""),
        ("/new/network", {"tenant": "acme", "name": "x", "transport": "vxlan", "mtu": "much"}, "mtu", "a whole number"),
        ("/new/network", {"tenant": "acme", "name": "x", "transport": "pigeon"}, "transport", "pigeon"),
        ("/endpoints/acme/acme1/edit", {"ports": "http=eighty"}, "ports", "a whole number"),
    ],
)
def test_what_is_refused_stands_beside_its_field(
    two: Site, boss: Visitor, path: str, values: dict[str, str], field: str, said: str, unchanged_two: None
) -> None:
    answer = boss.send(path, None, **values)
    assert 400 <= answer.status_code < 500
    assert said.lower() in faults(answer)[field].lower()
    for value in values.values():
        assert value in unescape(answer.text)  # what was typed is still there


@pytest.fixture
def unchanged_two(two: Site) -> Any:
    before = two.revision()
    yield
    assert two.revision() == before


def test_what_belongs_to_no_field_is_said_on_top(two: Site, boss: Visitor) -> None:
    page = boss.open("/tenants/acme/delete")
    assert "Tenant acme has endpoints in acme/web; remove the endpoints first." in words(page)
    assert 'value="apply"' not in page
    boss.send("/tenants/acme/delete", 409, step="apply")


def test_what_somebody_else_changed_meanwhile_is_not_overwritten(two: Site, boss: Visitor) -> None:
    (version,) = re.findall(r'name="version" value="(\d+)"', boss.open("/tenants/acme/edit"))
    two.admin.patch("/tenants/acme", {"labels": {"team": "other"}})
    answer = boss.send("/tenants/acme/edit", 412, version=version, labels="team=mine", step="apply")
    assert 'role="alert"' in answer.text and "team=mine" in answer.text
    assert tenant(two)["labels"]["team"] == "other"


@pytest.mark.parametrize(
    ("path", "api", "typed"),
    [
        ("/tenants/acme/edit", "/tenants/acme", {"labels": "ui=1"}),
        ("/networks/acme/web/edit", "/networks/acme/web", {"labels": "ui=1", "transport": "vxlan"}),
        ("/endpoints/acme/acme1/edit", "/endpoints/acme/acme1", {"labels": "ui=1"}),
        ("/hosts/h1/edit", "/hosts/h1", {"labels": "ui=1"}),
    ],
)
def test_a_refused_form_stays_refused_and_tells_what_is_there_now(
    two: Site, boss: Visitor, path: str, api: str, typed: dict[str, str]
) -> None:
    """The page of a refusal had the new version in it: sent again, it overwrote what it had been refused for."""
    sent = typed | {"version": version_in(boss.open(path))}
    assert two.admin.patch(api, {"labels": {"other": "1"}}).status_code == 200
    for step in ("preview", "preview", "apply"):
        refused = boss.send(path, 412, **sent, step=step).text
        assert version_in(refused) == sent["version"]
        assert "ui=1" in refused
        assert "What it is now" in refused and "Labels other=1" in words(refused)
        assert f'href="{path}">Open it again' in refused
        assert 'name="step"' not in refused
    assert two.admin.get(api).get_json()["labels"].get("other") == "1"
    boss.send(path, 303, **typed | {"labels": "ui=1 other=1", "version": version_in(boss.open(path)), "step": "apply"})
    assert two.admin.get(api).get_json()["labels"].items() >= {"ui": "1", "other": "1"}.items()


def test_a_preview_is_of_the_version_that_the_form_was_opened_with(two: Site, boss: Visitor) -> None:
    version = version_in(boss.open("/tenants/acme/edit"))
    previewed = boss.send("/tenants/acme/edit", version=version, labels="ui=1").text
    two.admin.patch("/tenants/acme", {"labels": {"other": "1"}})
    again = boss.send("/tenants/acme/edit", version=version_in(previewed), labels="ui=1", again="1").text
    assert version_in(again) == version
    boss.send("/tenants/acme/edit", 412, version=version_in(again), labels="ui=1", step="apply")
    assert tenant(two)["labels"]["other"] == "1"


def version_in(page: str) -> str:
    (version,) = re.findall(r'name="version" value="(\d+)"', page)
    return str(version)


def test_a_change_tells_how_far_it_has_come(two: Site, boss: Visitor) -> None:
    page = words(boss.open(f"/changes/{two.revision()}?back=/tenants/acme"))
    assert f"Change {two.revision()} is applying, 0 of 1 host done." in page
    assert "h1 not connected" in page
    for elsewhere in ("//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"):
        assert 'href="/"' in boss.open(f"/changes/1?back={elsewhere}")
        assert "evil" not in re.sub(r"hx-get=\S+", "", boss.open(f"/changes/1?back={elsewhere}&undo={elsewhere}"))


def test_a_tenants_admin_changes_only_his_own(two: Site) -> None:
    eve = member(two, "eve", acme="admin")
    before = two.revision()
    for path in ("/networks/beta/web/edit", "/networks/beta/web/delete", "/endpoints/beta/beta1/delete"):
        there, not_there = (eve.open(path.replace("beta/", f"{name}/"), 404) for name in ("beta", "nowhere"))
        assert there.replace("beta", "nowhere") == not_there
        eve.send(path, 404, step="apply")
    for name in ("beta", "nowhere"):
        answer = eve.send("/new/network", 404, tenant=name, name="mine", transport="vxlan", step="apply")
        assert "There is no tenant" in words(answer.text)
    assert "beta" not in eve.open("/new/network")
    for path in ("/new/tenant", "/tenants/acme/edit", "/tenants/acme/join", "/tenants/acme/delete"):
        eve.open(path, 403)
        eve.send(path, 403, to="beta", name="mine", step="apply")
    assert two.revision() == before
    eve.confirm("/new/network", tenant="acme", name="mine", transport="vxlan")
    assert two.admin.get("/networks/acme/mine").status_code == 200


def test_fields_that_a_page_does_not_have_count_for_nothing(two: Site) -> None:
    eve = member(two, "eve", acme="admin")
    extra = {"tenant_id": "2", "zone": "0", "vni": "1", "name": "beta/other", "private": "on", "version": ""}
    eve.send("/networks/acme/web/edit", 303, transport="vxlan", labels="a=b", step="apply", **extra)
    found = two.admin.get("/networks/acme/web").get_json()
    assert found["labels"] == {"a": "b"}
    assert (found["private"], found["name"], found["zone"]) == (False, "acme/web", tenant(two)["zone"])


def test_other_sites_change_nothing(two: Site, boss: Visitor) -> None:
    before = two.revision()
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        boss.headers = {"Authorization": boss.headers["Authorization"], **headers}
        for path in ("/new/tenant", "/tenants/acme/join", "/endpoints/acme/acme1/delete"):
            boss.send(path, 403, name="x", to="beta", step="apply")
    assert two.revision() == before


def test_a_host_is_made_edited_given_a_token_and_deleted(site: Site, boss: Visitor) -> None:
    made = boss.send("/new/host", name="h7", address="198.18.0.17", mtu="1600", labels="rack=b")
    (token,) = re.findall(r"--token (wrn_\w+)<", unescape(made.text))
    agent = site.caller(site.caller(token).made("/enrol", {})["token"])
    found = site.admin.get("/hosts/h7").get_json()
    assert (found["address"], found["labels"], found["state"]) == ("198.18.0.17", {"rack": "b"}, "enrolled")
    assert 'value="1600"' in boss.open("/hosts/h7/edit")
    boss.confirm("/hosts/h7/edit", address="198.18.0.18", labels="rack=c")
    found = site.admin.get("/hosts/h7").get_json()
    assert (found["address"], found["labels"]) == ("198.18.0.18", {"rack": "c"})
    assert 'value="1600"' not in boss.open("/hosts/h7/edit"), "as its agent finds it"
    again = re.findall(r"--token (wrn_\w+)<", unescape(boss.send("/hosts/h7/token").text))
    assert len(again) == 1 and again != [token]
    site.admin.made("/tenants", {"name": "acme"})
    attached = {"network": "acme/default", "name": "one", "netns": "/run/netns/x"}
    assert agent.put("/hosts/h7/attachments/one/eth0", attached).status_code == 201
    assert "Its 1 endpoint and their addresses go, too." in words(boss.open("/hosts/h7/delete"))
    boss.send("/hosts/h7/delete", 303, step="apply")
    assert site.admin.get("/hosts/h7").status_code == 404
    assert site.admin.get("/endpoints/acme/one").status_code == 404


def test_only_who_may_change_the_cluster_changes_hosts(two: Site) -> None:
    for somebody in (Visitor(two, two.viewer.token), member(two, "eve", acme="admin")):
        for path in ("/new/host", "/hosts/h1/edit", "/hosts/h1/token", "/hosts/h1/delete"):
            somebody.open(path, 403)
            somebody.send(path, 403, name="h9", step="apply")
    assert "Edit" not in Visitor(two, two.viewer.token).open("/hosts/h1")
    assert [host["name"] for host in two.admin.get("/hosts").get_json()["items"]] == ["h1"]
