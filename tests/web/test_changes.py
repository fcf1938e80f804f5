"""Objects are made, shown, changed and deleted: once even when sent twice, never blindly; pages lose nothing."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import pytest
from sqlalchemy import select

from db.engine import reading
from db.tables import KeptReply
from tests.web.conftest import PREFIX, Caller, Site


def test_a_new_tenant_has_a_network_of_its_own(any_site: Site) -> None:
    tenant = any_site.admin.made("/tenants", {"name": "acme", "labels": {"team": "web"}})
    assert tenant["name"] == "acme"
    assert tenant["labels"] == {"kubernetes.io/metadata.name": "acme", "team": "web"}
    assert tenant["networks"] == 1
    assert tenant["revision"] == any_site.revision()
    network = any_site.admin.get("/networks/acme/default").get_json()
    assert network["tenant"] == "acme"
    assert network["zone"] == tenant["zone"]
    assert [subnet["cidr"].partition("/")[2] for subnet in network["subnets"]] == ["24", "64"]


def test_a_network_shows_how_full_it_is(any_site: Site) -> None:
    any_site.admin.made("/tenants", {"name": "acme"})
    network = any_site.admin.made("/networks", {"name": "acme/web", "subnets": ["10.20.0.0/24"]})
    assert [{key: one[key] for key in ("cidr", "gateway", "size", "used", "pool")} for one in network["subnets"]] == [
        {"cidr": "10.20.0.0/24", "gateway": "10.20.0.1", "size": 253, "used": 0, "pool": None}
    ]
    agent = any_site.enrolled("h1")
    agent.put("/hosts/h1/attachments/c1/eth0", {"network": "acme/web", "name": "web1", "netns": "/run/netns/web1"})
    network = any_site.admin.get("/networks/acme/web").get_json()
    assert network["subnets"][0]["used"] == 1
    assert network["endpoints"] == 1


def test_an_attached_interface_is_an_endpoint(any_site: Site) -> None:
    any_site.admin.made("/tenants", {"name": "acme"})
    any_site.admin.made("/networks", {"name": "acme/web", "subnets": ["10.20.0.0/24", "fd00:20::/64"]})
    agent = any_site.enrolled("h1")
    path = "/hosts/h1/attachments/c1/eth0"
    asked = {
        "network": "acme/web",
        "name": "web1",
        "netns": "/run/netns/web1",
        "addresses": ["10.20.0.9"],
        "labels": {"app": "web"},
        "ports": [{"name": "http", "port": 80}],
    }
    attached = agent.put(path, asked)
    assert attached.status_code == 201
    wanted = attached.get_json()
    assert wanted["addresses"][0] == "10.20.0.9/24"
    assert wanted["mac"] == "02:00:0a:14:00:09"
    assert wanted["gateways"] == ["10.20.0.1", "fd00:20::1"]
    again = agent.put(path, asked)
    assert again.status_code == 200
    assert again.get_json() == wanted
    endpoint = any_site.admin.get("/endpoints/acme/web1").get_json()
    assert endpoint["host"] == "h1"
    assert endpoint["network"] == "acme/web"
    assert endpoint["addresses"] == wanted["addresses"]
    assert endpoint["state"] == "pending"
    assert endpoint["ports"] == [{"name": "http", "port": 80, "protocol": "tcp"}]
    report = {"agent": {"version": "1", "pid": 1, "started_at": "now"}, "ports": {str(wanted["id"]): "up"}}
    assert agent.put("/hosts/h1/report", report).status_code == 200
    assert any_site.admin.get("/endpoints/acme/web1").get_json()["state"] == "up"


def test_detaching_is_done_once_and_may_be_asked_for_again(any_site: Site) -> None:
    any_site.admin.made("/tenants", {"name": "acme"})
    agent = any_site.enrolled("h1")
    path = "/hosts/h1/attachments/c1/eth0"
    agent.put(path, {"network": "acme/default", "name": "web1", "netns": "/run/netns/web1"})
    assert agent.delete(path).status_code == 200
    gone = any_site.revision()
    again = agent.delete(path)
    assert (again.status_code, again.get_json()["revision"]) == (200, gone)
    assert any_site.revision() == gone


def test_labels_are_laid_over_those_there_are(any_site: Site) -> None:
    any_site.admin.made("/tenants", {"name": "acme", "labels": {"a": "1", "b": "2"}})
    changed = any_site.admin.patch("/tenants/acme", {"labels": {"b": None, "c": "3"}})
    assert changed.get_json()["labels"] == {"a": "1", "c": "3", "kubernetes.io/metadata.name": "acme"}


def test_a_change_that_changes_nothing_takes_no_revision(any_site: Site, unchanged_tenant: int) -> None:
    any_site.admin.patch("/tenants/acme", {"labels": {"a": "1"}})
    assert any_site.revision() == unchanged_tenant


@pytest.fixture
def unchanged_tenant(any_site: Site) -> int:
    any_site.admin.made("/tenants", {"name": "acme", "labels": {"a": "1"}})
    return any_site.revision()


def test_an_mtu_of_its_own_can_be_taken_away(any_site: Site) -> None:
    any_site.admin.made("/tenants", {"name": "acme"})
    any_site.admin.made("/networks", {"name": "acme/web", "mtu": 1300})
    kept = any_site.admin.patch("/networks/acme/web", {"labels": {"a": "b"}}).get_json()
    assert kept["mtu"] == 1300
    assert any_site.admin.patch("/networks/acme/web", {"mtu": None}).get_json()["mtu"] == 1450


def test_what_was_deleted_is_gone(any_site: Site) -> None:
    any_site.admin.made("/tenants", {"name": "acme"})
    answer = any_site.admin.delete("/tenants/acme")
    assert answer.status_code == 200
    live = {"state": "pending", "hosts": []}
    assert answer.get_json() == {"revision": any_site.revision(), **live, "live": live}
    assert any_site.admin.get("/tenants/acme").status_code == 404


# -- nobody overwrites blindly --


def test_a_change_to_what_somebody_else_changed_is_refused(any_site: Site) -> None:
    any_site.admin.made("/tenants", {"name": "acme"})
    seen = any_site.admin.get("/tenants/acme").headers["ETag"]
    changed = any_site.admin.patch("/tenants/acme", {"labels": {"a": "1"}}, headers={"If-Match": seen})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != seen
    before = any_site.revision()
    for late in (
        any_site.admin.patch("/tenants/acme", {"labels": {"a": "2"}}, headers={"If-Match": seen}),
        any_site.admin.delete("/tenants/acme", headers={"If-Match": seen}),
    ):
        assert late.status_code == 412
        assert late.get_json()["type"] == "/problems/stale-version"
        assert "read it again" in late.get_json()["detail"]
    assert any_site.revision() == before
    assert any_site.admin.delete("/tenants/acme", headers={"If-Match": changed.headers["ETag"]}).status_code == 200


@pytest.mark.parametrize("path", ["/tenants/acme", "/networks/acme/web", "/hosts/h1", "/endpoints/acme/web1"])
def test_every_noun_has_an_etag_that_is_honoured(any_site: Site, path: str) -> None:
    any_site.admin.made("/tenants", {"name": "acme"})
    any_site.admin.made("/networks", {"name": "acme/web"})
    agent = any_site.enrolled("h1")
    agent.put("/hosts/h1/attachments/c1/eth0", {"network": "acme/web", "name": "web1", "netns": "/run/netns/web1"})
    seen = any_site.admin.get(path).headers["ETag"]
    assert any_site.admin.patch(path, {"labels": {"a": "1"}}, headers={"If-Match": seen}).status_code == 200
    assert any_site.admin.patch(path, {"labels": {"a": "2"}}, headers={"If-Match": seen}).status_code == 412
    assert any_site.admin.patch(path, {"labels": {"a": "2"}}, headers={"If-Match": "*"}).status_code == 200


def test_an_etag_that_is_none_never_matches(any_site: Site) -> None:
    any_site.admin.made("/tenants", {"name": "acme"})
    for tag, status in (('"soon"', 412), ('W/"1"', 412), ("1", 400), ("", 400)):
        answer = any_site.admin.delete("/tenants/acme", headers={"If-Match": tag})
        assert answer.status_code == status


# -- sending twice does it once --


def test_the_same_request_with_the_same_key_is_answered_again(any_site: Site) -> None:
    key = {"Idempotency-Key": "3f2a"}
    first = any_site.admin.post("/tenants", {"name": "acme"}, headers=key)
    before = any_site.revision()
    again = any_site.admin.post("/tenants", {"name": "acme"}, headers=key)
    assert again.status_code == first.status_code == 201
    assert again.get_json() == first.get_json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert any_site.revision() == before


def test_another_request_with_the_same_key_is_refused(any_site: Site) -> None:
    key = {"Idempotency-Key": "3f2a"}
    any_site.admin.post("/tenants", {"name": "acme"}, headers=key)
    before = any_site.revision()
    other = any_site.admin.post("/tenants", {"name": "globex"}, headers=key)
    assert other.status_code == 422
    assert "3f2a" in other.get_json()["detail"]
    assert any_site.revision() == before


def test_a_key_belongs_to_who_sent_it(any_site: Site) -> None:
    key = {"Idempotency-Key": "3f2a"}
    other = any_site.caller(any_site.admin.made("/tokens", {"name": "second", "role": "admin"})["token"])
    assert any_site.admin.post("/tenants", {"name": "acme"}, headers=key).status_code == 201
    assert other.post("/tenants", {"name": "globex"}, headers=key).status_code == 201


def test_a_refused_request_leaves_its_key_free(any_site: Site) -> None:
    key = {"Idempotency-Key": "3f2a"}
    body = {"name": "acme/web"}
    assert any_site.admin.post("/networks", body, headers=key).status_code == 404
    any_site.admin.made("/tenants", {"name": "acme"})
    assert any_site.admin.post("/networks", body, headers=key).status_code == 201


def test_a_secret_is_shown_once_even_to_who_asks_twice(any_site: Site) -> None:
    key = {"Idempotency-Key": "3f2a"}
    first = any_site.admin.post("/hosts", {"name": "h1"}, headers=key).get_json()
    again = any_site.admin.post("/hosts", {"name": "h1"}, headers=key).get_json()
    assert first["enrol_token"].startswith("wrn_")
    assert again == first | {"enrol_token": None}


def test_a_password_is_not_kept_in_what_is_quick_to_guess_by(any_site: Site) -> None:
    key, body = {"Idempotency-Key": "3f2a"}, {"name": "ada", "password": "correct horse"}
    assert any_site.admin.post("/users", body, headers=key).status_code == 201
    with reading(any_site.engine) as session:
        (kept,) = session.execute(select(KeptReply.fingerprint)).scalars()
    assert kept != sha256(f"POST {PREFIX}/users\n{json.dumps(body, sort_keys=True)}".encode()).hexdigest()
    again = any_site.admin.post("/users", body, headers=key)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert any_site.admin.post("/users", body | {"password": "another horse"}, headers=key).status_code == 422
    plain = {"name": "bob", "password": None}
    for _ in range(2):
        assert any_site.admin.post("/users", plain, headers={"Idempotency-Key": "bob"}).status_code == 201


def test_the_same_request_sent_at_the_same_time_is_done_once(any_site: Site) -> None:
    token = any_site.admin.token
    assert token is not None
    key = {"Idempotency-Key": "3f2a"}

    def send(_: int) -> int:
        return any_site.caller(token).post("/tenants", {"name": "acme"}, headers=key).status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(send, range(6)))
    # On PostgreSQL the loser of a race is told to try again, and then gets the reply of the winner.
    assert statuses.count(201) >= 1
    assert set(statuses) <= {201, 409}
    assert send(0) == 201
    assert len(any_site.admin.get("/tenants").get_json()["items"]) == 1


# -- lists --


def test_pages_hold_every_item_once(any_site: Site) -> None:
    names = [f"t{number:02}" for number in range(7)]
    for name in names:
        any_site.admin.made("/tenants", {"name": name})
    seen: list[str] = []
    cursor = None
    for _ in range(10):
        page = any_site.admin.get("/tenants", query_string={"limit": 3} | ({"cursor": cursor} if cursor else {}))
        body = page.get_json()
        assert len(body["items"]) <= 3
        seen += [item["name"] for item in body["items"]]
        cursor = body["next"]
        if cursor is None:
            break
    assert seen == names


def test_a_page_turned_while_items_go_and_come_misses_none_that_stayed(any_site: Site) -> None:
    for name in ("a", "c", "e", "g"):
        any_site.admin.made("/tenants", {"name": name})
    first = any_site.admin.get("/tenants?limit=2").get_json()
    any_site.admin.delete("/tenants/a")
    any_site.admin.delete("/tenants/c")
    any_site.admin.made("/tenants", {"name": "b"})
    rest = any_site.admin.get("/tenants", query_string={"limit": 2, "cursor": first["next"]}).get_json()
    assert [item["name"] for item in rest["items"]] == ["e", "g"]


def names_at(caller: Caller, path: str) -> list[str]:
    return [item["name"] for item in caller.get(path).get_json()["items"]]


def test_lists_are_filtered(any_site: Site) -> None:
    admin = any_site.admin
    for tenant, team in (("acme", "shop"), ("globex", "lab")):
        admin.made("/tenants", {"name": tenant, "labels": {"team": team, "all": "yes"}})
        admin.made("/networks", {"name": f"{tenant}/web"})
    for number, host in enumerate(("h1", "h2")):
        agent = any_site.enrolled(host, f"198.18.0.{11 + number}")
        for tenant in ("acme", "globex"):
            body = {"network": f"{tenant}/web", "name": f"on-{host}", "netns": "/run/netns/x", "labels": {"host": host}}
            assert agent.put(f"/hosts/{host}/attachments/{tenant}/eth0", body).status_code == 201
    assert names_at(admin, "/tenants?label=team=shop") == ["acme"]
    assert names_at(admin, "/tenants?label=team=shop&label=all=yes") == ["acme"]
    assert names_at(admin, "/tenants?label=team=shop&label=all=no") == []
    assert names_at(admin, "/networks?tenant=acme") == ["acme/default", "acme/web"]
    assert names_at(admin, "/endpoints?tenant=acme") == ["acme/on-h1", "acme/on-h2"]
    assert names_at(admin, "/endpoints?network=globex/web") == ["globex/on-h1", "globex/on-h2"]
    assert names_at(admin, "/endpoints?host=h2") == ["acme/on-h2", "globex/on-h2"]
    assert names_at(admin, "/endpoints?host=h2&tenant=acme&label=host=h2") == ["acme/on-h2"]


def test_revisions_tell_what_changed(any_site: Site) -> None:
    before = any_site.revision()
    any_site.admin.made("/tenants", {"name": "acme"})
    log = any_site.admin.get(f"/revisions?after={before}").get_json()
    assert log["revision"] == any_site.revision()
    assert {(item["noun"], item["op"]) for item in log["items"]} == {("tenant", "create"), ("network", "create")}
    assert any_site.admin.get("/revisions").get_json() == log


def test_an_endpoint_is_allowed_further_addresses_and_moves_with_them(any_site: Site) -> None:
    any_site.admin.made("/tenants", {"name": "acme"})
    any_site.admin.made("/networks", {"name": "acme/web", "subnets": ["10.20.0.0/24"]})
    h1, h2 = any_site.enrolled("h1"), any_site.enrolled("h2", "198.18.0.12")
    asked = {"network": "acme/web", "name": "lb1", "netns": "/run/netns/lb1"}
    h1.put("/hosts/h1/attachments/c1/eth0", asked)
    pairs = [{"address": "10.20.0.100"}, {"address": "10.20.0.96/28", "mac": "06:00:00:00:00:01"}]
    changed = any_site.admin.patch("/endpoints/acme/lb1", {"allowed": pairs})
    assert changed.status_code == 200
    assert changed.get_json()["allowed"] == [
        {"address": "10.20.0.100", "mac": "02:00:0a:14:00:02", "active": True},
        {"address": "10.20.0.96/28", "mac": "06:00:00:00:00:01", "active": True},
    ]
    refused = h2.put("/hosts/h2/attachments/c2/eth0", {**asked, "move": True})
    assert refused.status_code == 403, "an agent's token alone draws nothing to its host"
    assert "allow it with `warren endpoint move acme/lb1 --to h2`" in refused.get_json()["detail"]
    assert any_site.admin.patch("/endpoints/acme/lb1", {"move_to": "h2"}).get_json()["move_to"] == "h2"
    moved = h2.put("/hosts/h2/attachments/c2/eth0", {**asked, "move": True})
    assert moved.status_code == 200
    after = any_site.admin.get("/endpoints/acme/lb1").get_json()
    assert (after["host"], after["container_id"], after["interface"]) == ("h2", "c2", "")
    assert after["allowed"] == changed.get_json()["allowed"]
    refused = any_site.admin.patch("/endpoints/acme/lb1", {"allowed": [{"address": "10.99.0.1"}]})
    assert refused.status_code == 422 and "10.99.0.1 is outside of network acme/web" in refused.get_json()["detail"]
    emptied = any_site.admin.patch("/endpoints/acme/lb1", {"allowed": []})
    assert emptied.get_json()["allowed"] == [] and emptied.get_json()["revision"] == any_site.revision()


def test_an_interface_of_the_hosts_own_is_an_endpoint(any_site: Site) -> None:
    any_site.admin.made("/tenants", {"name": "acme"})
    agent = any_site.enrolled("h1")
    asked = {"network": "acme/default", "name": "vm1", "netns": "", "interface": "tap0", "mac": "52:54:00:00:00:01"}
    attached = agent.put("/hosts/h1/attachments/interface:tap0/tap0", asked)
    assert attached.status_code == 201 and attached.get_json()["port_name"] == "tap0"
    assert any_site.admin.get("/endpoints/acme/vm1").get_json()["interface"] == "tap0"
