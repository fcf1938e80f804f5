"""Creates and deletes tell what they would do, and where they are live, as changes do."""

from __future__ import annotations

import pytest

from db import bindings, tokens, users
from db.changes import transaction
from tests.web.conftest import Caller, Json, Site

KEY = {"Idempotency-Key": "once"}


@pytest.fixture
def filled(any_site: Site) -> Site:
    any_site.admin.made("/tenants", {"name": "acme"})
    any_site.admin.made("/networks", {"name": "acme/web", "subnets": ["10.20.0.0/24", "fd00:20::/64"]})
    return any_site


CHANGES = [
    ("POST", "/tenants", {"name": "beta"}, "/tenants/beta"),
    ("POST", "/networks", {"name": "acme/db"}, "/networks/acme/db"),
    ("POST", "/networks/acme/web/subnets", {"subnet": "10.21.0.0/24"}, None),
    ("DELETE", "/networks/acme/web/subnets/10.20.0.0/24", None, None),
    ("DELETE", "/networks/acme/web", None, "/networks/acme/web"),
    ("DELETE", "/tenants/acme", None, "/tenants/acme"),
]


@pytest.mark.parametrize(("method", "path", "body", "object"), CHANGES)
def test_a_dry_run_changes_nothing_and_the_change_tells_where_it_is_live(
    filled: Site, method: str, path: str, body: object, object: str | None
) -> None:
    before, web = filled.revision(), filled.admin.get("/networks/acme/web").get_json()
    there = object and filled.admin.get(object).status_code
    told = filled.admin(method, f"{path}?dry_run=true", body, headers=KEY)
    assert told.status_code == 200, told.text
    assert told.get_json()["dry_run"] is True and told.get_json()["revision"] == before
    assert told.get_json()["words"] == ["Nothing changes in who reaches whom among endpoints."]
    assert filled.revision() == before
    assert filled.admin.get("/networks/acme/web").get_json() == web
    assert not object or filled.admin.get(object).status_code == there
    done = filled.admin(method, f"{path}?wait=1", body, headers=KEY)
    assert done.status_code == (201 if method == "POST" else 200), done.text
    found = done.get_json()
    assert found["revision"] == filled.revision() == before + 1
    progress = filled.admin.get(f"/revisions/{found['revision']}").get_json()
    assert (found["state"], found["hosts"]) == (progress["state"], progress["hosts"])
    assert not object or filled.admin.get(object).status_code == {200: 404, 404: 200}[there or 0]
    if method == "POST":
        again = filled.admin(method, path, body, headers=KEY)
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.get_json() == found and filled.revision() == before + 1


def test_a_dry_run_is_refused_as_the_change_would_be(filled: Site) -> None:
    agent = filled.enrolled("h1")
    asked = {"network": "acme/web", "name": "web1", "netns": "/run/netns/web1"}
    assert agent.put("/hosts/h1/attachments/c1/eth0", asked).status_code == 201
    before = filled.revision()
    for method, path, body, status in (
        ("POST", "/tenants", {"name": "acme"}, 409),
        ("POST", "/networks", {"name": "none/web"}, 404),
        ("POST", "/networks", {"name": "acme/db", "subnets": ["10.20.0.0/25"]}, 409),
        ("DELETE", "/networks/acme/web", None, 409),
        ("DELETE", "/tenants/acme", None, 409),
        ("DELETE", "/tenants/none", None, 404),
    ):
        told = filled.admin(method, f"{path}?dry_run=true", body)
        done = filled.admin(method, path, body)
        assert told.status_code == done.status_code == status, told.text
        assert told.get_json()["detail"] == done.get_json()["detail"]
    stale = filled.admin.delete("/tenants/acme?dry_run=true", headers={"If-Match": '"99"'})
    assert stale.status_code == 412
    assert filled.revision() == before


def test_a_viewer_is_told_nothing(filled: Site) -> None:
    for method, path, body, _ in CHANGES:
        assert filled.viewer(method, f"{path}?dry_run=true", body).status_code == 403


def attached(agent: Caller, host: str, name: str, network: str = "acme/web") -> None:
    asked = {"network": network, "name": name, "netns": f"/run/netns/{name}"}
    assert agent.put(f"/hosts/{host}/attachments/{name}/eth0", asked).status_code == 201


def gone(caller: Caller, path: str) -> Json:
    told = caller.delete(path)
    assert told.status_code == 200, told.text
    document: Json = told.get_json()
    return document


def test_a_deletion_tells_which_endpoints_go_and_how_many_reach_them(filled: Site) -> None:
    one, two = filled.enrolled("h1"), filled.enrolled("h2", "198.18.0.12")
    attached(two, "h2", "web1")
    told = gone(filled.admin, "/endpoints/acme/web1?dry_run=true")
    assert told["words"] == ["acme/web1 goes: nobody reaches it now."]
    for name in ("web2", "web3"):
        attached(one, "h1", name)
    attached(two, "h2", "web4")
    told = gone(filled.admin, "/endpoints/acme/web1?dry_run=true")
    assert told["words"] == ["acme/web1 goes: 3 endpoints reach it now."] and told["gone_more"] == 0
    web1 = {"endpoint": "acme/web1", "reached_by": 3, "at_most": False, "words": "3 endpoints reach it now"}
    assert told["gone"] == [web1] and told["hosts"]
    told = gone(filled.admin, "/hosts/h2?force=true&dry_run=true")
    assert told["gone"] == [web1, web1 | {"endpoint": "acme/web4"}]
    filled.admin.patch("/tenants/acme", {"default_deny": ["ingress"]})
    told = gone(filled.admin, "/endpoints/acme/web1?dry_run=true")
    assert told["words"] == ["acme/web1 goes: nobody reaches it now."]
    assert filled.admin.get("/endpoints/acme/web1").status_code == 200


def test_of_very_many_the_first_are_told_and_how_many_more(filled: Site) -> None:
    agent = filled.enrolled("h1")
    for number in range(22):
        attached(agent, "h1", f"web{number:02}")
    told = gone(filled.admin, "/hosts/h1?force=true&dry_run=true")
    assert [one["endpoint"] for one in told["gone"]] == [f"acme/web{number:02}" for number in range(20)]
    assert {one["reached_by"] for one in told["gone"]} == {21}
    assert told["gone_more"] == 2 and told["words"][20:] == ["2 more endpoints go."]


def test_to_a_tenants_people_only_their_own_are_counted(filled: Site) -> None:
    agent = filled.enrolled("h1")
    filled.admin.made("/tenants", {"name": "beta"})
    filled.admin.made("/networks", {"name": "beta/web", "subnets": ["10.30.0.0/24"]})
    assert filled.admin.post("/tenants/acme/peer", {"with": "beta"}).status_code == 200
    attached(agent, "h1", "web1")
    attached(agent, "h1", "shop", "beta/web")
    with transaction(filled.engine) as tx:
        user = users.create(tx, "op")
        bindings.grant(tx, "operator", user="op", tenant="acme")
        operator = filled.caller(tokens.create(tx, "admin", name="op", user_id=user.id)[1])
    assert gone(filled.admin, "/endpoints/acme/web1?dry_run=true")["gone"][0]["reached_by"] == 1
    told = gone(operator, "/endpoints/acme/web1?dry_run=true")
    assert told["words"] == ["acme/web1 goes: none of yours reaches it now."]
    assert "beta" not in str(told)
