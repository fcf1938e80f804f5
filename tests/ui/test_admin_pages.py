"""Pages of addresses, of the audit log and of settings: what they show is what there is, and what they do is done."""

from __future__ import annotations

import json
import re

import pytest
from sqlalchemy import update

from db import audit, groups
from db.changes import transaction
from db.engine import reading, writing
from db.tables import AuditRow
from tests.db.test_audit import unguard
from tests.ui.visitor import Visitor, faults, member, words
from tests.web.conftest import Site
from web.ui import audit as audit_pages


def test_addresses_show_how_full_everything_is(two: Site, boss: Visitor) -> None:
    page = words(boss.open("/addresses"))
    assert "There is room everywhere" in page or "do not agree" in page or "does not agree" in page
    assert "10.65.0.0/24 1 of 253" in page
    assert "acme/web" in boss.open("/addresses?q=10.65") and "beta/web" not in boss.open("/addresses?q=10.65")


def test_pools_are_made_drained_and_deleted(two: Site, boss: Visitor) -> None:
    boss.send("/new/pool", 303, name="second", cidr="10.132.0.0/14")
    assert two.admin.get("/pools/second").get_json()["prefix"] == 24
    boss.send("/pools/second/edit", 303, state="draining")
    assert two.admin.get("/pools/second").get_json()["state"] == "draining"
    assert "pigeon" in faults(boss.send("/pools/second/edit", 422, state="pigeon"))["state"]
    assert faults(boss.send("/new/pool", None, name="third", cidr="10.132.0.0/15"))
    boss.send("/pools/second/delete", 303)
    boss.open("/pools/second/delete", 404)


def test_addresses_of_a_network_are_reserved_and_subnets_come_and_go(two: Site) -> None:
    eve = member(two, "eve", acme="admin")
    at = "/networks/acme/web"
    eve.send(f"{at}/reserve", 303, name="db1", addresses="10.65.0.50", expires_at="2099-01-02")
    (found,) = two.admin.get(f"{at}/reservations").get_json()["items"]
    assert (found["addresses"], found["expires_at"][:10]) == (["10.65.0.50"], "2099-01-02")
    assert "10.65.0.50" in eve.open(f"{at}/addresses")
    assert "10.99.0.1" in faults(eve.send(f"{at}/reserve", None, name="x", addresses="10.99.0.1"))["addresses"]
    eve.send(f"{at}/reservations/db1/end", 303)
    assert two.admin.get(f"{at}/reservations").get_json()["items"] == []
    eve.confirm(f"{at}/extend", subnet="10.70.0.0/24", family="4")
    assert "10.70.0.0/24/remove" in eve.open(f"{at}/addresses")
    eve.open(f"{at}/subnets/10.70.0.0/24/remove")
    eve.send(f"{at}/subnets/10.70.0.0/24/remove", 303, step="apply")
    assert len(two.admin.get(at).get_json()["subnets"]) == 1
    for path in ("addresses", "reserve", "extend", "subnets/10.66.0.0/24/remove"):
        there, not_there = (eve.open(f"/networks/{name}/web/{path}", 404) for name in ("beta", "nowhere"))
        assert there.replace("beta", "nowhere") == not_there


def test_blocks_are_drawn_where_they_are(two: Site, boss: Visitor) -> None:
    network = {"name": "acme/blocks", "subnets": ["10.71.0.0/24"], "plan": "per-host"}
    two.admin.made("/networks", network)
    agent = two.enrolled("h2", "198.18.0.12")
    attached = {"network": "acme/blocks", "name": "b1", "netns": "/run/netns/x"}
    assert agent.put("/hosts/h2/attachments/b/eth0", attached).status_code == 201
    page = boss.open("/networks/acme/blocks/addresses")
    (at, width, said) = re.findall(r'x="([\d.]+)" width="([\d.]+)" height="6"><title>([^<]*)', page)[-1]
    block = two.admin.get("/ipam").get_json()["items"]
    (own,) = (one for item in block if item["network"] == "acme/blocks" for one in item["subnets"][0]["blocks"])
    assert said == f"{own['cidr']}, h2: {own['used']} of {own['size']} used"
    assert float(at) == 100 * int(own["cidr"].split(".")[3].split("/")[0]) / 256 and float(width) == 25.0


def test_what_does_not_agree_is_listed_and_repaired(two: Site, boss: Visitor) -> None:
    said = two.admin.get("/ipam/check").get_json()["items"]
    page = words(boss.open("/addresses/check"))
    assert all(one["subject"] in page for one in said)
    will = two.admin.post("/ipam/gc?dry_run=true").get_json()["items"]
    asked = words(boss.open("/addresses/repair"))
    assert all(one["subject"] in asked for one in will if one["repair"])
    boss.send("/addresses/repair", 303)


def test_the_audit_log_tells_who_what_when_and_from_where(two: Site, boss: Visitor) -> None:
    boss.confirm("/tenants/acme/edit", labels="team=web", quota_networks="9")
    page = words(boss.open("/audit?noun=tenant&tenant=acme"))
    assert "update tenant acme" in page and "token boss" in page and "127.0.0.1" in page
    assert "POST /tenants/acme/edit" in page
    assert re.search(r'quota \{\} \{ "networks": 9 \}', page)
    assert "beta" not in boss.open("/audit?tenant=acme")
    assert "No entry matches." in words(boss.open("/audit?actor=user%20nobody"))
    assert "No entry matches." in words(boss.open("/audit?until=2020-01-01"))
    boss.open("/audit?since=yesterday", 422)
    exported = [json.loads(line) for line in boss.open("/audit.jsonl").splitlines()]
    assert [entry["number"] for entry in exported] == list(range(1, len(exported) + 1))
    assert exported == two.admin.get("/audit?oldest_first=true&limit=1000").get_json()["items"]
    assert "entries are as they were written" in words(boss.open("/audit/verification"))
    with writing(two.engine) as session:
        unguard(session)
        session.execute(update(AuditRow).where(AuditRow.number == 2).values(entry='{"number": 2}'))
    assert "entry 2 was changed" in words(boss.open("/audit/verification"))


def test_a_long_log_is_verified_part_by_part(two: Site, boss: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_pages, "VERIFIED_AT_ONCE", 2)
    with reading(two.engine) as session:
        entries = audit.verify(session).entries
    page, steps = boss.open("/audit/verification"), 1
    first = re.search(r'hx-get="(/audit/verification\?known=[^"]+)" hx-trigger="load"', page)
    assert first is not None and "The first 2 entries are as they were written" in words(page)
    while (more := re.search(r'<a href="(/audit/verification\?known=[^"]+)">Go on', page)) is not None:
        page, steps = boss.open(more[1]), steps + 1
    assert f"All {entries} entries are as they were written" in words(page) and steps == entries // 2 + entries % 2
    made_up = first[1].replace("known=2.", f"known={entries}.")
    assert "The first 2 entries" in words(boss.open(made_up)), "it begins anew"
    with writing(two.engine) as session:
        unguard(session)
        session.execute(update(AuditRow).where(AuditRow.number == 4).values(entry='{"number": 4}'))
    assert "entry 4 was changed" in words(boss.open(first[1]))


def test_a_tenants_admin_sees_his_part_of_the_log(two: Site) -> None:
    eve = member(two, "eve", acme="admin")
    assert "acme/web" in eve.open("/audit")
    for path in ("/audit", "/audit.jsonl", "/audit?tenant=beta"):
        assert "beta/" not in eve.open(path)
    eve.open("/audit/verification", 403)
    member(two, "mia", acme="operator").open("/audit", 403)


def test_users_groups_and_roles(two: Site, boss: Visitor) -> None:
    went = boss.send("/new/user", 303, name="ada", password="correct horse").headers["Location"]
    assert went == "/new/role?user=ada" and 'value="ada"' in boss.open(went)
    boss.send("/new/group", 303, name="team")
    boss.send("/groups/team/members", 303, user="ada")
    boss.send("/new/role", 303, group="team", role="operator", tenant="acme")
    assert two.admin.get("/users/ada").get_json()["tenants"] == {"acme": "operator"}
    page = words(boss.open("/settings"))
    assert "operator of acme" in page and "team group operator acme" in page
    boss.send("/users/ada/password", 303, password="another horse")
    assert two.browser().post("/login", data={"user": "ada", "password": "another horse"}).status_code == 303
    short = boss.send("/users/ada/password", 422, password="short")
    assert "at least 8" in faults(short)["password"] and 'short"' not in short.text
    assert "team" in boss.open("/groups/team/members/ada/remove")
    boss.send("/groups/team/members/ada/remove", 303)
    assert "lose the roles that only the group gives" not in boss.open("/groups/team/delete")
    boss.send("/groups/team/delete", 303)
    boss.send("/users/ada/delete", 303)
    assert two.admin.get("/users/ada").status_code == 404


def test_what_is_revoked_is_named_with_what_ends(two: Site, boss: Visitor) -> None:
    boss.send("/new/token", 200, name="plug", role="cni", host="h1")
    told = {
        "agent": "The agent of h1 loses its access: h1 is silent until it is enrolled with a new token.",
        "cni": "No container on h1 is attached or detached with it any more.",
    }
    for one in two.admin.get("/tokens").get_json()["items"]:
        page = words(boss.open(f"/tokens/{one['id']}/revoke"))
        assert f"Revoke token {one['name']}" in page
        assert told.get(one["role"], "Whatever shows it is refused") in page
    boss.send("/new/user", 303, name="ada")
    boss.send("/new/group", 303, name="team")
    boss.send("/groups/team/members", 303, user="ada")
    boss.send("/new/role", 303, user="ada", role="operator", tenant="acme")
    boss.send("/new/role", 303, group="team", role="viewer", tenant="beta")
    given = {one["tenant"]: one["id"] for one in two.admin.get("/role-bindings").get_json()["items"] if one["tenant"]}
    page = words(boss.open(f"/roles/{given['acme']}/revoke"))
    assert "Take a role away from ada" in page and "ada is operator in acme." in page
    page = words(boss.open(f"/roles/{given['beta']}/revoke"))
    assert "group team is viewer in beta." in page and "group team, with ada in it, may no longer do in beta" in page
    eve = member(two, "eve", acme="admin")
    eve.open(f"/roles/{given['acme']}/revoke")
    eve.open(f"/roles/{given['beta']}/revoke", 404)


def test_history_says_what_changed_or_nothing(two: Site, boss: Visitor) -> None:
    boss.send("/new/user", 303, name="ada", password="correct horse")
    boss.send("/new/group", 303, name="team")
    boss.send("/users/ada/password", 303, password="another horse")
    two.admin.patch("/tenants/acme", {"labels": {"a": "b"}})
    with transaction(two.engine) as tx:
        tx.note("group", groups.get(tx.session, "team").id, "update")
    page = words(boss.open("/"))
    assert "changed user ada : password" in page and "changed tenant acme : labels" in page
    assert "created group team" in page and "changed group team" not in page
    page = words(boss.open("/audit"))
    assert not re.search(r"\b0 fields", page)
    assert re.search(r"update user ada .{,60} password Field|update user ada .{,80} password", page)


@pytest.mark.parametrize("password", ["hunter2", 5551234, ["hunter2"], {"x": "hunter2"}])
def test_no_answer_repeats_a_password(two: Site, boss: Visitor, password: object) -> None:
    secret = "5551234" if password == 5551234 else "hunter2"
    boss.send("/new/user", 303, name="ada", password="correct horse")
    refused = [
        two.admin.post("/users", {"name": "eve", "password": password}),
        two.admin.post("/users", [{"name": "eve", "password": password}]),
        two.admin.put("/users/ada/password", {"password": password}),
    ]
    if isinstance(password, str):
        refused += [
            boss.send(path, 422, name="eve", password=password) for path in ("/new/user", "/users/ada/password")
        ]
    for answer in refused:
        assert answer.status_code == 422, answer.text
        assert secret not in answer.text
        assert "not acceptable" in answer.text
    assert secret not in two.admin.get("/audit").text


def test_a_token_is_shown_once_and_revoked(two: Site, boss: Visitor) -> None:
    page = boss.send("/new/token", 200, name="ci", role="viewer", expires_at="2099-01-01").text
    (text,) = re.findall(r"wrn_\w+", page)
    assert two.caller(text).get("/whoami").get_json()["role"] == "viewer"
    assert text not in boss.open("/settings")
    (token,) = (one["id"] for one in two.admin.get("/tokens").get_json()["items"] if one["name"] == "ci")
    page = words(boss.open(f"/tokens/{token}/revoke"))
    assert "Revoke token ci" in page and "Its role is viewer" in page and "reaches the whole cluster" in page
    boss.send(f"/tokens/{token}/revoke", 303)
    boss.open(f"/tokens/{token}/revoke", 404)
    assert two.caller(text).get("/whoami").status_code == 401
    assert "role" in faults(boss.send("/new/token", 422, name="x", role="emperor"))


def test_a_tenants_admin_gives_roles_and_tokens_in_his_tenant_only(two: Site, boss: Visitor) -> None:
    eve = member(two, "eve", acme="admin")
    boss.send("/new/user", 303, name="ada", password="correct horse")
    boss.send("/new/role", 303, user="ada", role="viewer", tenant="beta")
    boss.send("/new/token", 200, name="theirs", role="viewer", tenant="beta")
    page = eve.open("/settings")
    assert "beta" not in page and "theirs" not in page and "Backup" not in page and "/new/user" not in page
    eve.send("/new/role", 303, user="ada", role="viewer", tenant="acme")
    bindings = {one["tenant"]: one["id"] for one in two.admin.get("/role-bindings?user=ada").get_json()["items"]}
    for tenant, status in (("beta", 404), ("nowhere", 404), ("", 403)):
        eve.send("/new/role", status, user="ada", role="admin", tenant=tenant)
        eve.send("/new/token", status, name="x", role="admin", tenant=tenant)
    eve.send(f"/roles/{bindings['beta']}/revoke", 404)
    eve.send(f"/roles/{bindings['acme']}/revoke", 303)
    theirs = next(one["id"] for one in two.admin.get("/tokens").get_json()["items"] if one["name"] == "theirs")
    for token in (theirs, 10**7, 10**30):
        eve.send(f"/tokens/{token}/revoke", 404)
    assert any(one["id"] == theirs for one in two.admin.get("/tokens").get_json()["items"])


def test_the_cluster_becomes_flat_after_a_look(two: Site, boss: Visitor) -> None:
    seen = words(boss.send("/cluster/isolation", isolation="flat").text)
    assert "acme/* to beta/* denied → allowed the cluster is flat" in seen
    boss.confirm("/cluster/isolation", isolation="flat")
    assert two.admin.get("/cluster").get_json()["isolation"] == "flat"
    assert "the cluster is flat" in words(boss.open("/settings"))


@pytest.mark.parametrize("path", ["/settings", "/addresses", "/audit", "/policies", "/trace", "/policies/matrix"])
def test_an_empty_installation_has_all_its_pages(boss: Visitor, path: str) -> None:
    boss.open(path)
