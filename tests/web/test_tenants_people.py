"""People of one tenant: what they can do there, and that they can neither reach nor learn more."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest
from werkzeug.test import TestResponse

from db import bindings, denials, hosts, tokens, users
from db.changes import transaction
from db.engine import writing
from db.tables import utcnow
from tests.web.conftest import PASSWORD, Caller, Json, Site
from tests.web.test_bad_input import assert_problem
from tests.web.test_work import watched


class People(NamedTuple):
    site: Site
    boss: Caller
    operator: Caller
    reader: Caller


@pytest.fixture
def acme(any_site: Site) -> People:
    """Tenants acme and globex, and the people of acme."""
    agent = any_site.enrolled("h1")
    for tenant, subnet in (("acme", "10.65.0.0/24"), ("globex", "10.66.0.0/24")):
        any_site.admin.made("/tenants", {"name": tenant})
        any_site.admin.made("/networks", {"name": f"{tenant}/web", "subnets": [subnet]})
        attached = {"network": f"{tenant}/web", "name": "web1", "netns": "/run/netns/x"}
        assert agent.put(f"/hosts/h1/attachments/{tenant}/eth0", attached).status_code == 201
    callers = []
    with transaction(any_site.engine) as tx:
        for name, role in (("boss", "admin"), ("op", "operator"), ("reader", "viewer")):
            user = users.create(tx, name, PASSWORD)
            bindings.grant(tx, role, user=name, tenant="acme")
            callers.append(any_site.caller(tokens.create(tx, "admin", name=name, user_id=user.id)[1]))
    return People(any_site, *callers)


def test_each_does_what_the_role_allows(acme: People) -> None:
    assert acme.reader.get("/endpoints/acme/web1").status_code == 200
    assert_problem(acme.reader.patch("/endpoints/acme/web1", {"labels": {"a": "b"}}), 403, "tenant-viewer of acme")
    assert acme.operator.patch("/endpoints/acme/web1", {"labels": {"a": "b"}}).get_json()["labels"] == {"a": "b"}
    assert_problem(acme.operator.post("/networks", {"name": "acme/db"}), 403, "tenant-operator of acme", "tenant-admin")
    assert acme.boss.made("/networks", {"name": "acme/db"})["tenant"] == "acme"
    assert_problem(acme.boss.patch("/tenants/acme", {"quota": {"networks": 9}}), 403)
    assert_problem(acme.boss.post("/tenants/acme/peer", {"with": "globex"}), 403)


def test_where_a_port_is_not_open_they_learn_of_hosts_with_endpoints_of_theirs(acme: People) -> None:
    acme.site.enrolled("h2", "198.18.0.12")
    made = acme.boss.made("/publications", {"endpoint": "acme/web1", "host_port": 8080, "port": 80, "mesh": True})
    assert made["problems"] == []
    with writing(acme.site.engine) as session:
        for number in (1, 2):
            hosts.report(session, number, {"closed": {str(made["id"]): f"reason {number}"}}, utcnow())

    def problems(caller: Caller) -> list[str]:
        (one,) = caller.get("/publications").get_json()["items"]
        found: list[str] = one["problems"]
        return found

    assert problems(acme.site.admin) == ["h1: reason 1", "h2: reason 2"]
    assert problems(acme.boss) == problems(acme.reader) == ["h1: reason 1"]


def test_a_collision_with_another_tenant_does_not_name_it(acme: People) -> None:
    asked = {"name": "acme/x", "subnets": ["10.66.0.0/25"]}
    told = assert_problem(acme.boss.post("/networks", asked), 409, "10.66.0.0/25 is in use elsewhere", "--private")
    for subnet in ("198.18.0.0/24", "198.18.0.0/28"):
        hosts_own = {"name": "acme/evil", "subnets": [subnet]}
        refused = assert_problem(
            acme.boss.post("/networks", hosts_own), 409, "overlaps the hosts' own network", "--private"
        )
        assert "198.18.0.1" not in str(refused) and "h1" not in str(refused)
    assert "globex" not in str(told) and "10.66.0.0/24" not in str(told)
    assert "globex/web" in acme.site.admin.post("/networks", asked).text
    assert "acme/web" in acme.boss.post("/networks", {"name": "acme/x", "subnets": ["10.65.0.0/25"]}).text
    more = {"subnet": "10.66.0.0/25"}
    told = assert_problem(acme.boss.post("/networks/acme/web/subnets", more), 409, "10.66.0.0/25 is in use elsewhere")
    assert "globex" not in str(told)


def test_what_is_taken_on_hosts_names_neither_tenants_nor_other_hosts(acme: People) -> None:
    agent = acme.site.enrolled("h2", "198.18.0.12")
    with writing(acme.site.engine) as session:
        hosts.report(session, 1, {"physical": ["lan"], "addresses": ["198.18.0.11"]}, utcnow())
        listening = [{"protocol": "tcp", "port": 9100, "address": "0.0.0.0"}]
        hosts.report(session, 2, {"physical": ["lan"], "listening": listening}, utcnow())
    attached = {"network": "globex/web", "name": "web2", "netns": "/run/netns/y"}
    assert agent.put("/hosts/h2/attachments/two/eth0", attached).status_code == 201
    admin = acme.site.admin
    admin.made("/publications", {"endpoint": "globex/web2", "host_port": 8080, "port": 80})
    publish = {"endpoint": "acme/web1", "port": 80, "mesh": True}
    for path, body, discreet, whole in (
        ("/publications", {**publish, "host_port": 8080}, "tcp/8080 of another host", "host h2"),
        ("/publications", {**publish, "host_port": 9100}, "tcp/9100 of another host", "host h2"),
    ):
        told = assert_problem(acme.boss.post(path, body), 409, discreet)
        assert "globex" not in str(told) and "h2" not in str(told)
        assert whole in admin.post(path, body).text
    elsewhere = {**publish, "mesh": False, "host_ip": "192.0.2.99"}
    told = assert_problem(acme.boss.post("/publications", elsewhere), 409, "no address 192.0.2.99: it has others")
    assert "198.18" not in str(told) and "it has 198.18.0.11;" in admin.post("/publications", elsewhere).text


def test_only_administrators_put_networks_on_physical_segments(acme: People) -> None:
    with writing(acme.site.engine) as session:
        hosts.report(session, 1, {"physical": ["lan"], "addresses": ["198.18.0.11"]}, utcnow())
    on_segment = {"transport": "vlan", "physical": "lan", "vlan": 50}
    asked = {"name": "acme/office", "subnets": ["10.68.0.0/24"], **on_segment}
    sentence = "Only administrators put networks on physical segments; ask one for such a network."
    assert_problem(acme.boss.post("/networks", asked), 403, sentence)
    assert_problem(acme.boss.patch("/networks/acme/web", on_segment), 403, sentence)
    acme.site.admin.made("/networks", asked)
    assert_problem(acme.boss.patch("/networks/acme/office", {"vlan": 51}), 403, sentence)
    assert acme.boss.patch("/networks/acme/office", {**on_segment, "labels": {"a": "b"}}).status_code == 200


def test_subnets_reservations_and_records_are_their_tenants(acme: People) -> None:
    acme.boss.made("/networks/acme/web/subnets", {"subnet": "10.65.1.0/24"})
    acme.boss.made("/networks/acme/web/reservations", {"name": "db", "addresses": ["10.65.0.9"]})
    assert acme.boss.put("/dns/records/acme/web/db", {"addresses": ["10.65.0.9"]}).status_code == 201
    acme.site.admin.put("/dns/records/globex/db", {"addresses": ["10.66.0.9"]})
    for caller in (acme.reader, acme.operator, acme.boss):
        assert [one["scope"] for one in caller.get("/dns/records").get_json()["items"]] == ["acme/web"]
        kept = caller.get("/networks/acme/web/reservations").get_json()["items"]
        assert [one["addresses"] for one in kept] == [["10.65.0.9"]]
        assert len(caller.get("/networks/acme/web").get_json()["subnets"]) == 2
        assert_problem(caller.get("/networks/globex/web/reservations"), 404)
        assert_problem(caller.get("/pools"), 403)
    assert_problem(acme.operator.put("/dns/records/acme/web/db", {"addresses": ["10.65.0.8"]}), 403)
    assert_problem(acme.boss.put("/dns/records/globex/db", {"addresses": ["10.65.0.8"]}), 404)
    told = acme.boss.get("/audit").get_json()["items"]
    assert {one["noun"] for one in told} >= {"record", "network"} and "globex" not in str(told)


def test_who_is_joined_or_peers_is_not_told(acme: People) -> None:
    acme.site.admin.post("/tenants/acme/peer", {"with": "globex"})
    assert acme.site.admin.get("/tenants/acme").get_json()["peers"] == ["globex"]
    assert acme.boss.get("/tenants/acme").get_json()["peers"] == []
    acme.site.admin.post("/tenants/acme/join", {"to": "globex"})
    joined = acme.boss.get("/tenants/acme")
    assert "globex" not in joined.text and joined.get_json()["joined"] == []
    assert joined.get_json()["isolation"] == "joined", "that somebody reaches it is told"
    assert [one["isolation"] for one in acme.boss.get("/tenants").get_json()["items"]] == ["joined"]
    browser = acme.site.browser()
    assert browser.post("/login", data={"user": "boss", "password": PASSWORD}).status_code == 303
    page = browser.get("/tenants/acme").text
    assert "others, whom you may not see" in page and "globex" not in page
    plan = acme.boss.patch("/networks/acme/web?dry_run=true", {"isolated": True})
    assert plan.status_code == 200 and "globex" not in plan.text
    assert "globex" in acme.site.admin.patch("/networks/acme/web?dry_run=true", {"isolated": True}).text


def test_why_is_not_told_of_another_tenants_endpoint(acme: People) -> None:
    asked = {"source": "acme/web1", "protocol": "tcp", "port": 80}
    there, not_there = (acme.reader.post("/explain", asked | {"destination": f"{t}/web1"}) for t in ("globex", "none"))
    assert_problem(there, 404)
    assert there.text.replace("globex", "none") == not_there.text


def test_where_another_tenants_networks_are_is_not_told(acme: People) -> None:
    """An address of theirs is answered as any outside, until one's own networks reach it."""
    site = acme.site
    site.admin.made("/networks", {"name": "globex/six", "subnets": ["fd00:66::/64"]})
    site.admin.made("/networks", {"name": "acme/six", "subnets": ["10.65.8.0/24", "fd00:65::/64"]})
    attached = {"network": "acme/six", "name": "web2", "netns": "/run/netns/y"}
    assert site.admin.put("/hosts/h1/attachments/two/eth0", attached).status_code == 201

    def told(caller: Caller, address: str, source: str = "acme/web1") -> TestResponse:
        return caller.post("/explain", {"source": source, "destination": address, "protocol": "tcp", "port": 80})

    for source, theirs, nobodys in (
        *(("acme/web1", "10.66.0.2", "10.99.0.2"), ("acme/web1", "10.66.0.9", "10.99.0.9")),
        *(("acme/web2", "fd00:66::2", "fd00:99::2"), ("acme/web1", "fd00:66::2", "fd00:99::2")),
    ):
        with watched(site.state().engine) as there_work:
            there = told(acme.reader, theirs, source)
        with watched(site.state().engine) as not_there_work:
            not_there = told(acme.reader, nobodys, source)
        assert there.status_code == not_there.status_code == 200
        assert there.text.replace(theirs, nobodys) == not_there.text
        assert there_work.statements == not_there_work.statements
        assert told(site.viewer, theirs, source).status_code == 422, "who looks at the cluster is told"
    assert "No switch was asked" in told(acme.reader, "10.66.0.2").text
    assert_problem(told(acme.reader, "10.65.0.77"), 422, "10.65.0.77", "one of Warren's networks")
    site.admin.post("/tenants/acme/peer", {"with": "globex"})
    assert_problem(told(acme.reader, "10.66.0.2"), 422, "10.66.0.2", "one of Warren's networks")
    assert site.admin.patch("/networks/globex/web", {"isolated": True}).status_code == 200
    assert told(acme.reader, "10.66.0.2").text.replace("10.66.0.2", "10.99.0.2") == told(acme.reader, "10.99.0.2").text


def test_denials_with_another_tenant_are_not_told(acme: People) -> None:
    with writing(acme.site.engine) as session:
        for source, destination in (("acme/web1", "globex/web1"), ("acme/web1", ""), ("globex/web1", "")):
            denials.record(session, {decision(source, destination): denials.Seen(1, utcnow(), utcnow())})
    assert len(acme.site.viewer.get("/denials").get_json()["items"]) == 3
    (seen,) = acme.reader.get("/denials").get_json()["items"]
    assert seen["source"] == "acme/web1" and seen["destination"] is None


def test_denials_of_a_tenant_that_had_the_name_before_are_not_told(acme: People) -> None:
    admin = acme.site.admin
    with writing(acme.site.engine) as session:
        denials.record(session, {decision("acme/web1", ""): denials.Seen(1, utcnow(), utcnow())})
    assert len(acme.reader.get("/denials").get_json()["items"]) == 1
    assert admin.delete("/hosts/h1?force=true").status_code == 200
    assert admin.delete("/tenants/acme").status_code == 200
    admin.made("/tenants", {"name": "acme"})
    admin.made("/role-bindings", {"role": "viewer", "user": "reader", "tenant": "acme"})
    assert acme.reader.get("/denials").get_json()["items"] == []
    assert len(acme.site.viewer.get("/denials").get_json()["items"]) == 1
    with writing(acme.site.engine) as session:
        denials.record(session, {decision("acme/web2", ""): denials.Seen(1, utcnow(), utcnow())})
    assert [one["source"] for one in acme.reader.get("/denials").get_json()["items"]] == ["acme/web2"]


def decision(source: str, destination: str) -> denials.Decision:
    return denials.Decision(
        host="h1",
        action="deny",
        direction="egress",
        policies=("acme/p",),
        rule=None,
        rule_name="",
        source=source,
        source_address="10.0.0.1",
        destination=destination,
        destination_address="10.0.0.2",
        protocol="tcp",
        port=80,
        icmp_type=None,
        icmp_code=None,
    )


def test_the_cluster_is_not_theirs_to_name(acme: People) -> None:
    cluster = {"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy"}
    cluster |= {"metadata": {"name": "all"}}
    spec: Json = {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}}
    answer = acme.boss.post("/policies", {"documents": [cluster | {"spec": spec}]})
    assert_problem(answer, 403, "admin")
    assert_problem(acme.boss.post("/role-bindings", {"role": "admin", "user": "boss"}), 403)
    assert_problem(acme.boss.post("/tokens", {"name": "x", "role": "admin"}), 403)
    assert_problem(acme.boss.post("/tokens", {"name": "x", "role": "cni", "host": "h1"}), 403)


def test_a_member_is_let_in_and_out_by_the_tenants_admin(acme: People) -> None:
    with transaction(acme.site.engine) as tx:
        text = tokens.create(tx, "admin", name="new", user_id=users.create(tx, "new").id)[1]
    new = acme.site.caller(text)
    assert_problem(new.get("/networks/acme/web"), 404, "no tenant acme that you may see")
    binding = acme.boss.made("/role-bindings", {"role": "viewer", "user": "new", "tenant": "acme"})
    assert new.get("/networks/acme/web").status_code == 200
    assert new.get("/whoami").get_json()["tenants"] == {"acme": "viewer"}
    assert acme.boss.delete(f"/role-bindings/{binding['id']}").status_code == 200
    assert_problem(new.get("/networks/acme/web"), 404)
    for caller in (acme.boss, acme.site.admin):
        assert_problem(caller.delete(f"/role-bindings/{binding['id']}"), 404)


def test_another_tenants_bindings_and_tokens_are_not_there(acme: People) -> None:
    binding = acme.site.admin.made("/role-bindings", {"role": "viewer", "user": "op", "tenant": "globex"})
    token = acme.site.admin.made("/tokens", {"name": "g", "tenant": "globex"})
    for path in (f"/role-bindings/{binding['id']}", f"/tokens/{token['id']}"):
        there, not_there = acme.boss.delete(path), acme.boss.delete(path.rpartition("/")[0] + "/99999")
        assert there.status_code == not_there.status_code == 404
        id = path.rpartition("/")[2]
        assert re.sub(rf"\b{id}\b", "99999", there.text) == not_there.text
    assert acme.site.caller(token["token"]).get("/tenants").get_json()["items"][0]["name"] == "globex"


def test_a_group_gives_its_members_its_role(acme: People) -> None:
    admin = acme.site.admin
    admin.made("/groups", {"name": "team"})
    admin.made("/role-bindings", {"role": "admin", "group": "team", "tenant": "globex"})
    assert_problem(acme.operator.get("/networks/globex/web"), 404)
    assert admin.put("/groups/team/members/op").get_json()["members"] == ["op"]
    assert acme.operator.get("/networks/globex/web").status_code == 200
    assert admin.get("/users/op").get_json()["tenants"] == {"acme": "operator", "globex": "admin"}
    assert admin.delete("/groups/team/members/op").status_code == 200
    assert_problem(acme.operator.get("/networks/globex/web"), 404)
    assert admin.delete("/groups/team").status_code == 200
    assert acme.site.admin.get("/role-bindings?tenant=globex").get_json()["items"] == []


def test_a_token_reaches_no_further_than_its_owner_and_goes_with_it(acme: People) -> None:
    made = acme.boss.made("/tokens", {"name": "ci", "role": "admin", "tenant": "acme"})
    assert made["user"] == "boss"
    ci = acme.site.caller(made["token"])
    assert ci.made("/networks", {"name": "acme/ci"})
    acme.site.admin.made("/role-bindings", {"role": "viewer", "user": "boss", "tenant": "acme"})
    assert_problem(ci.post("/networks", {"name": "acme/more"}), 403)
    assert ci.get("/networks/acme/ci").status_code == 200
    again = acme.site.caller(acme.site.admin.made("/tokens", {"name": "x", "tenant": "acme"})["token"])
    assert acme.site.admin.delete("/users/boss").status_code == 200
    assert_problem(ci.get("/networks/acme/ci"), 401)
    assert again.get("/networks/acme/ci").status_code == 200  # it is nobody's


def test_a_token_that_ends_makes_none_that_lasts_longer(acme: People) -> None:
    end, later = "2999-01-01T00:00:00Z", "2999-01-01T00:00:01Z"
    made = acme.boss.made("/tokens", {"name": "ci", "role": "admin", "tenant": "acme", "expires_at": end})
    nobodys = acme.site.admin.made("/tokens", {"name": "no", "role": "admin", "tenant": "acme", "expires_at": end})
    for one in (made, nobodys):
        ci = acme.site.caller(one["token"])
        for asked in ({}, {"expires_at": later}):
            refused = ci.post("/tokens", {"name": "x", "tenant": "acme", **asked})
            assert_problem(refused, 422, "2999-01-01T00:00:00", "lasts longer")
        assert ci.made("/tokens", {"name": "x", "tenant": "acme", "expires_at": end})["expires_at"] == end


def test_a_tokens_scope_narrows_what_its_owner_may(acme: People) -> None:
    acme.site.admin.made("/role-bindings", {"role": "admin", "user": "boss"})
    made = acme.boss.made("/tokens", {"name": "narrow", "role": "operator", "tenant": "globex"})
    narrow = acme.site.caller(made["token"])
    assert narrow.get("/whoami").get_json()["tenants"] == {"globex": "operator"}
    assert [one["name"] for one in narrow.get("/tenants").get_json()["items"]] == ["globex"]
    assert_problem(narrow.get("/networks/acme/web"), 404)
    assert_problem(narrow.post("/networks", {"name": "globex/x"}), 403)


def test_somebody_always_administers_the_cluster(acme: People) -> None:
    admin = acme.site.admin
    first = admin.made("/role-bindings", {"role": "admin", "user": "boss"})
    for answer in (
        admin.delete(f"/role-bindings/{first['id']}"),
        admin.delete("/users/boss"),
        admin.post("/role-bindings", {"role": "viewer", "user": "boss"}),
    ):
        assert_problem(answer, 409, "would be left without an admin", "another user")
    admin.made("/groups", {"name": "admins"})
    admin.put("/groups/admins/members/op")
    admin.made("/role-bindings", {"role": "admin", "group": "admins"})
    assert admin.delete(f"/role-bindings/{first['id']}").status_code == 200
    assert_problem(admin.delete("/groups/admins/members/op"), 409, "would be left without an admin")
    assert_problem(admin.delete("/groups/admins"), 409, "would be left without an admin")


def test_a_new_password_ends_the_sessions(acme: People) -> None:
    browser = acme.site.browser()
    assert browser.post("/login", data={"user": "boss", "password": PASSWORD}).status_code == 303
    assert browser.get("/api/v1/networks").status_code == 200
    assert acme.site.admin.put("/users/boss/password", {"password": "another password"}).status_code == 200
    assert_problem(browser.get("/api/v1/networks"), 401)
    assert browser.post("/login", data={"user": "boss", "password": PASSWORD}).status_code == 401


def test_what_people_do_is_in_the_audit_log_as_theirs(acme: People) -> None:
    acme.boss.made("/networks", {"name": "acme/db"})
    acme.site.admin.made("/networks", {"name": "globex/db"})
    newest = acme.boss.get("/audit").get_json()["items"][0]
    assert newest["actor"] == {"kind": "token", "name": "boss"} and newest["name"] == "acme/db"
    assert newest["address"] == "127.0.0.1" and newest["request"] == "POST /api/v1/networks"
    assert "globex" not in acme.boss.get("/audit").text
    assert "globex" in acme.site.viewer.get("/audit").text
    assert acme.site.viewer.get("/audit/verification").get_json()["intact"] is True
    assert_problem(acme.operator.get("/audit"), 403)


def test_what_may_be_said_of_oneself_is_not_more(acme: People) -> None:
    """Mass assignment: fields that decide over rights are not taken from a body."""
    for body in (
        {"name": "x", "role": "viewer", "tenant": "acme", "user": "admin"},
        {"name": "x", "role": "viewer", "tenant": "acme", "user_id": 1},
    ):
        assert_problem(acme.boss.post("/tokens", body), 422, "not known")
    assert_problem(acme.site.admin.post("/users", {"name": "eve", "role": "admin"}), 422, "not known")
