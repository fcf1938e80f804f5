"""Who may do what: nobody without a token, nobody with another's, a host's agent for its host only."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from db import tokens
from db.changes import transaction
from tests.web.conftest import Caller, Site
from tests.web.test_bad_input import assert_problem
from web.auth import access
from web.auth.access import rule_of
from web.auth.rate import Limits, Rates

PUBLIC = {
    "/ca.pem",
    "/healthz",
    "/openapi.json",
    "/login",
    "/login/oidc",
    "/login/oidc/callback",
    "/logout",
    "/static/<path:path>",
}


def test_only_what_must_be_is_public(site: Site) -> None:
    found = {
        rule.rule
        for rule in site.app.url_map.iter_rules()
        if (declared := rule_of(site.app.view_functions[rule.endpoint])) is not None and declared.roles is None
    }
    assert found == PUBLIC


def test_a_view_without_a_rule_stops_the_start(site: Site) -> None:
    app = Flask("forgetful")
    app.add_url_rule("/secrets", "secrets", lambda: "all of them")
    with pytest.raises(RuntimeError, match="secrets"):
        access.register(app, lambda: None, Limits(Rates()))


def test_nobody_gets_in_without_a_token(site: Site) -> None:
    for rule in site.app.url_map.iter_rules():
        if not rule.rule.startswith("/api/"):
            continue
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            path = re.sub("<int:[a-z]+>", "1", rule.rule)
            answer = site.browser().open(path.replace("<", "").replace(">", ""), method=method)
            assert_problem(answer, 401, "Authorization: Bearer")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "header",
    [
        "Bearer wrn_1_" + "0" * 64,
        "Bearer wrn_999_" + "0" * 64,
        "Bearer wrn_99999999999999999999_" + "0" * 64,
        "Bearer nonsense",
        "Bearer ",
        "Basic YWRtaW46YWRtaW4=",
        "wrn_1_" + "0" * 64,
        "Bearer wrn_1_" + "\x00" * 64,
    ],
)
def test_a_wrong_token_opens_nothing(any_site: Site, unchanged: None, header: str) -> None:
    answer = any_site.nobody.post("/tenants", {"name": "x"}, headers={"Authorization": header})
    assert_problem(answer, 401)


def test_a_revoked_token_opens_nothing(any_site: Site) -> None:
    made = any_site.admin.made("/tokens", {"name": "ci", "role": "viewer"})
    ci = any_site.caller(made["token"])
    assert ci.get("/tenants").status_code == 200
    assert made["token"] not in any_site.admin.get("/tokens").text
    assert any_site.admin.delete(f"/tokens/{made['id']}").status_code == 200
    assert_problem(ci.get("/tenants"), 401)


def test_an_expired_token_opens_nothing(any_site: Site) -> None:
    past = datetime.now(UTC) - timedelta(hours=1)
    with transaction(any_site.engine) as tx:
        row, text = tokens.create(tx, "viewer", name="old")
        row.expires_at = past
    assert_problem(any_site.caller(text).get("/tenants"), 401, "old", "expired")


def test_a_viewer_reads_and_changes_nothing(any_site: Site, unchanged: None) -> None:
    viewer = any_site.viewer
    for path in ("/tenants", "/networks", "/endpoints", "/hosts", "/revisions"):
        assert viewer.get(path).status_code == 200
    assert_problem(viewer.get("/tokens"), 403, "viewer", "admin")
    for method, path in (
        ("POST", "/tenants"),
        ("PATCH", "/tenants/acme"),
        ("DELETE", "/tenants/acme"),
        ("POST", "/networks"),
        ("POST", "/hosts"),
        ("POST", "/hosts/h1/token"),
        ("POST", "/tokens"),
        ("DELETE", "/tokens/1"),
        ("PUT", "/hosts/h1/report"),
        ("PUT", "/hosts/h1/attachments/c1/eth0"),
        ("POST", "/enrol"),
    ):
        assert_problem(viewer(method, path, {}), 403, "viewer")


NOBODY = {"kind": "token", "tenants": {}, "host": None}


def test_whoami_says_who(any_site: Site) -> None:
    assert any_site.admin.get("/whoami").get_json() == {
        "kind": "token",
        "name": "boss",
        "role": "admin",
        "tenants": {},
        "host": None,
    }
    agent = any_site.enrolled("h1")
    assert agent.get("/whoami").get_json() == {
        "kind": "token",
        "name": "agent h1",
        "role": "agent",
        "tenants": {},
        "host": "h1",
    }


# -- agents --


@pytest.fixture
def agents(any_site: Site) -> tuple[Caller, Caller]:
    any_site.admin.made("/tenants", {"name": "acme"})
    return any_site.enrolled("h1", "198.18.0.11"), any_site.enrolled("h2", "198.18.0.12")


ATTACHMENT = {"network": "acme/default", "name": "web1", "netns": "/run/netns/web1"}
REPORT = {"agent": {"version": "1", "pid": 1, "started_at": "now"}}


def test_an_agent_speaks_for_its_own_host_only(any_site: Site, agents: tuple[Caller, Caller]) -> None:
    first, second = agents
    path = "/attachments/c1/eth0"
    assert first.put(f"/hosts/h1{path}", ATTACHMENT).status_code == 201
    before = any_site.revision()
    for answer in (
        second.put(f"/hosts/h1{path}", ATTACHMENT),
        second.get(f"/hosts/h1{path}"),
        second.delete(f"/hosts/h1{path}"),
        second.get("/hosts/h1/wanted"),
        second.put("/hosts/h1/report", REPORT),
    ):
        assert_problem(answer, 403, "agent h2", "'h2' only", "'h1'")
    assert any_site.revision() == before
    assert any_site.admin.get("/endpoints/acme/web1").get_json()["host"] == "h1"


def test_an_agent_gives_its_own_hosts_endpoints_other_names(any_site: Site, agents: tuple[Caller, Caller]) -> None:
    first, second = agents
    path = "/attachments/c1/eth0"
    first.put(f"/hosts/h1{path}", ATTACHMENT)
    named = first.put(f"/hosts/h1{path}/aliases", {"aliases": ["front", "web1", "front"]})
    assert named.status_code == 200
    assert any_site.admin.get("/endpoints/acme/web1").get_json()["aliases"] == ["front"]
    assert named.get_json()["revision"] == any_site.revision()
    first.put(f"/hosts/h1{path}/aliases", {"aliases": ["front"]})
    assert first.put(f"/hosts/h1{path}", ATTACHMENT).status_code == 200, "it is what was attached still"
    assert any_site.revision() == named.get_json()["revision"]
    for answer, status, said in (
        (second.put(f"/hosts/h1{path}/aliases", {"aliases": []}), 403, "'h1'"),
        (first.put("/hosts/h1/attachments/c2/eth0/aliases", {"aliases": []}), 404, "c2"),
        (first.put(f"/hosts/h1{path}/aliases", {"aliases": ["No Name"]}), 422, "No Name"),
        (first.put(f"/hosts/h1{path}/aliases", {}), 422, "aliases"),
    ):
        assert_problem(answer, status, said)
    first.put(f"/hosts/h1{path}/aliases", {"aliases": []})
    assert any_site.admin.get("/endpoints/acme/web1").get_json()["aliases"] == []


def test_an_agent_makes_networks_only_where_a_tenant_allows_it(any_site: Site, agents: tuple[Caller, Caller]) -> None:
    first, second = agents
    path = "/networks/acme/web"
    body = {"subnets": ["10.20.0.0/24"], "ip_ranges": ["10.20.0.64/26"], "aux_addresses": {"printer": "10.20.0.70"}}
    assert_problem(first.put(f"/hosts/h1{path}", body), 403, "acme", "warren/engine-networks=create")
    any_site.admin.patch("/tenants/acme", {"labels": {"warren/engine-networks": "create"}})
    made = first.put(f"/hosts/h1{path}", body)
    assert made.status_code == 201
    assert made.get_json()["labels"] == {"warren/made-by-host": "h1"} and made.get_json()["private"]
    assert made.get_json()["subnets"][0]["aux_addresses"] == body["aux_addresses"]
    for same in ({}, body, {"aux_addresses": {"router": "10.20.0.70"}, "transport": "vxlan"}):
        assert second.put(f"/hosts/h2{path}", same).status_code == 200
    assert second.get(f"/hosts/h2{path}").get_json()["subnets"][0]["cidr"] == "10.20.0.0/24"

    before = any_site.revision()
    for wrong, said in (
        ({"subnets": ["10.21.0.0/24"]}, "10.20.0.0/24"),
        ({"gateways": ["10.20.0.9"]}, "10.20.0.1"),
        ({"isolated": True}, "not isolated"),
        ({"mtu": 1300}, "1450"),
        ({"ip_ranges": ["10.20.0.128/25"]}, "has IP range 10.20.0.64/26, not 10.20.0.128/25"),
        ({"aux_addresses": {"printer": "10.20.0.9"}}, "--exclude 10.20.0.9"),
        ({"transport": "geneve"}, "has transport vxlan, not geneve"),
        ({"physical": "lan"}, "has physical segment none, not lan"),
        ({"vlan": 7}, "has VLAN tag none, not 7"),
    ):
        assert_problem(second.put(f"/hosts/h2{path}", wrong), 409, said)
    for malformed, said in (
        ({"subnets": ["rubbish"]}, "'rubbish' is not a subnet"),
        ({"gateways": ["10.20.0"]}, "'10.20.0' is not an address"),
        ({"ip_ranges": ["10.20.0.65/26"]}, "did you mean 10.20.0.64/26?"),
        ({"aux_addresses": {"printer": "fd00::9%eth0"}}, "'fd00::9%eth0' is not an address"),
    ):
        assert_problem(second.put(f"/hosts/h2{path}", malformed), 422, said)
    assert_problem(second.put(f"/hosts/h1{path}", {}), 403, "'h2' only", "'h1'")
    assert_problem(second.delete(f"/hosts/h2{path}"), 403, "not made by host h2")
    assert_problem(first.delete("/hosts/h1/networks/acme/default"), 403, "not made by host h1")
    assert_problem(first.put("/hosts/h1/networks/nobody/web", {}), 404, "nobody")
    assert_problem(any_site.viewer.put(f"/hosts/h1{path}", {}), 403, "viewer")
    assert any_site.revision() == before

    for _ in range(2):
        assert first.delete(f"/hosts/h1{path}").status_code == 200
    assert_problem(first.get(f"/hosts/h1{path}"), 404, "acme/web")
    direct = first.put(
        "/hosts/h1/networks/acme/direct", {"subnets": ["10.22.0.0/24"], "transport": "host-gw"}
    ).get_json()
    assert direct["transport"] == "host-gw" and not direct["private"], "host-gw tells networks apart by addresses"
    on_segment = {"subnets": ["10.23.0.0/24"], "transport": "vlan"}
    assert_problem(first.put("/hosts/h1/networks/acme/lan", on_segment), 422, "physical segment")
    assert_problem(first.put("/hosts/h1/networks/acme/lan", {"transport": "ipvlan"}), 422, "ipvlan", "geneve")


def test_an_agent_does_not_learn_of_others(agents: tuple[Caller, Caller]) -> None:
    for path in ("/tenants", "/networks", "/hosts", "/endpoints", "/hosts/h2", "/tokens", "/events", "/revisions"):
        assert_problem(agents[0].get(path), 403, "agent")


def test_an_agent_does_not_learn_whether_another_host_exists(agents: tuple[Caller, Caller]) -> None:
    there, not_there = (agents[0].get(f"/hosts/{host}/wanted") for host in ("h2", "h9"))
    assert there.status_code == not_there.status_code == 403
    assert there.get_json()["detail"].replace("h2", "h9") == not_there.get_json()["detail"]


def test_an_enrolment_token_works_once(any_site: Site) -> None:
    once = any_site.caller(any_site.admin.made("/hosts", {"name": "h1"})["enrol_token"])
    enrolled = once.post("/enrol", {"address": "198.18.0.11", "facts": {"kernel": "6.1"}})
    assert enrolled.status_code == 201
    assert enrolled.get_json()["host"] == "h1"
    before = any_site.revision()
    again = once.post("/enrol", {"address": "198.18.0.66"})
    problem = assert_problem(again, 401, "h1", "warren host token h1")
    assert problem["type"] == "/problems/enrol-token-used"
    assert any_site.revision() == before
    assert any_site.admin.get("/hosts/h1").get_json()["address"] == "198.18.0.11"


def test_a_host_does_not_enrol_twice_with_tokens_from_before(any_site: Site) -> None:
    first = any_site.admin.made("/hosts", {"name": "h1"})["enrol_token"]
    second = any_site.admin.made("/hosts/h1/token")["enrol_token"]
    agent = any_site.caller(any_site.caller(first).made("/enrol", {})["token"])
    before = any_site.revision()
    assert_problem(any_site.caller(second).post("/enrol", {}), 409, "h1 is enrolled already", "warren host token h1")
    assert any_site.revision() == before
    assert agent.get("/hosts/h1/wanted").status_code == 200


def test_a_new_enrolment_takes_the_old_agents_token_away(any_site: Site) -> None:
    old = any_site.enrolled("h1")
    once = any_site.admin.made("/hosts/h1/token")["enrol_token"]
    new = any_site.caller(any_site.caller(once).made("/enrol", {})["token"])
    assert_problem(old.get("/hosts/h1/wanted"), 401)
    assert new.get("/hosts/h1/wanted").status_code == 200


def test_an_enrolment_token_opens_nothing_else(any_site: Site) -> None:
    once = any_site.caller(any_site.admin.made("/hosts", {"name": "h1"})["enrol_token"])
    assert_problem(once.get("/hosts/h1/wanted"), 403, "enrol")
    assert_problem(once.get("/whoami"), 403)


def test_the_agent_of_a_deleted_host_is_nobody(any_site: Site, agents: tuple[Caller, Caller]) -> None:
    assert any_site.admin.delete("/hosts/h1").status_code == 200
    assert_problem(agents[0].get("/hosts/h1/wanted"), 401)


def test_a_cni_token_attaches_on_its_host_only(any_site: Site, agents: tuple[Caller, Caller]) -> None:
    cni = any_site.caller(any_site.admin.made("/tokens", {"name": "cni", "role": "cni", "host": "h1"})["token"])
    assert cni.put("/hosts/h1/attachments/c1/eth0", ATTACHMENT).status_code == 201
    assert_problem(cni.put("/hosts/h2/attachments/c1/eth0", ATTACHMENT | {"name": "web2"}), 403, "'h1' only")
    assert_problem(cni.get("/tenants"), 403)
