"""Policies over HTTP: applied all or none, shown as they were given, and foretold when asked."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from controller.calc.decision import Decision
from controller.calc.tally import Count, Place
from controller.model import Direction
from db import counters, denials, policies
from db.engine import writing
from tests.web.conftest import Json, Site
from tests.web.test_waiting import SOON_SECONDS, Progress, attach, confirm, waiting
from web.api.schemas.policy import EXAMPLE

ADMIN: Json = {
    "kind": "ClusterNetworkPolicy",
    "apiVersion": "policy.networking.k8s.io/v1alpha2",
    "metadata": {"name": "no-metadata.service"},
    "spec": {
        "tier": "Admin",
        "priority": 5,
        "subject": {"namespaces": {"matchLabels": {"team": "shop"}}},
        "egress": [{"action": "Deny", "to": [{"networks": ["169.254.0.0/16"]}], "log": True}],
    },
}


@pytest.fixture
def tenants(any_site: Site) -> Site:
    """Tenants acme and beta with an endpoint each on h1 and h2."""
    for name in ("acme", "beta"):
        any_site.admin.made("/tenants", {"name": name})
    for number, tenant in enumerate(("acme", "beta"), 1):
        agent = any_site.enrolled(f"h{number}", f"198.18.0.1{number}")
        attach(agent, f"h{number}", tenant, f"{tenant}/default")
    return any_site


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


def ok(answer: Any) -> Json:
    assert answer.status_code == 200, answer.text
    body: Json = answer.get_json()
    return body


def apply(site: Site, *documents: Any, query: str = "") -> Json:
    return ok(site.admin.post(f"/policies{query}", {"documents": list(documents)}))


def named(name: str, tenant: str = "acme", **spec: Any) -> Json:
    return {**EXAMPLE, "metadata": {"name": name, "namespace": tenant}, "spec": spec}


def listed(site: Site, query: str = "") -> list[str]:
    return [item["name"] for item in ok(site.viewer.get(f"/policies{query}"))["items"]]


def test_what_is_applied_is_shown_as_it_was_given_and_in_short(tenants: Site) -> None:
    reply = apply(tenants, EXAMPLE, ADMIN)
    assert reply["revision"] == tenants.revision() and reply["state"] in ("pending", "applied")
    mine, admins = reply["policies"]
    assert ok(tenants.viewer.get("/policies/acme/db-lockdown")) == mine
    assert ok(tenants.viewer.get("/policies/no-metadata.service")) == admins
    del mine["created_at"], admins["created_at"]
    assert mine == {
        "name": "acme/db-lockdown",
        "tenant": "acme",
        "kind": "NetworkPolicy",
        "tier": "tenant",
        "priority": None,
        "subject": "endpoints app=db",
        "ingress": 1,
        "egress": None,
        "document": EXAMPLE,
        "version": 1,
        "revision": reply["revision"],
    }
    assert admins == {
        "name": "no-metadata.service",
        "tenant": None,
        "kind": "ClusterNetworkPolicy",
        "tier": "admin",
        "priority": 5,
        "subject": "all endpoints in tenants team=shop",
        "ingress": None,
        "egress": 1,
        "document": ADMIN,
        "version": 1,
        "revision": reply["revision"],
    }
    assert list(ok(tenants.viewer.get("/policies/no-metadata.service"))["document"]) == list(ADMIN)


def test_applying_again_changes_nothing_and_another_document_replaces(tenants: Site) -> None:
    before = apply(tenants, EXAMPLE, ADMIN)["revision"]
    assert apply(tenants, ADMIN, EXAMPLE)["revision"] == before == tenants.revision()
    reply = apply(tenants, {**EXAMPLE, "spec": {}})
    assert (reply["revision"], reply["policies"][0]["version"], reply["policies"][0]["ingress"]) == (before + 1, 2, 0)


def test_a_list_is_in_pages_and_may_be_one_tenants(tenants: Site) -> None:
    apply(tenants, named("b"), named("a"), named("a", "beta"), ADMIN)
    everything = ["no-metadata.service", "acme/a", "acme/b", "beta/a"]
    assert listed(tenants) == everything
    assert listed(tenants, "?tenant=acme") == ["acme/a", "acme/b"]
    seen, query = [], "?limit=1"
    while True:
        page = ok(tenants.viewer.get(f"/policies{query}"))
        seen += [item["name"] for item in page["items"]]
        if page["next"] is None:
            break
        query = f"?limit=1&cursor={page['next']}"
    assert seen == everything


def test_one_bad_document_of_many_refuses_all_and_is_named(tenants: Site) -> None:
    before = tenants.revision()
    bad = named("b", ingress=[{"ports": [{"port": 80}, {"port": 70000}]}])
    for query in ("", "?dry_run=true"):
        answer = tenants.admin.post(f"/policies{query}", {"documents": [EXAMPLE, bad]})
        problem = answer.get_json()
        assert (answer.status_code, answer.mimetype) == (422, "application/problem+json")
        assert problem["detail"] == (
            "NetworkPolicy acme/b: spec.ingress[0].ports[1].port: 70000 is not a port; "
            "use 1 to 65535 or the name of a port."
        )
        assert problem["errors"][0]["field"] == "documents.1.spec.ingress.0.ports.1.port"
    assert listed(tenants) == [] and tenants.revision() == before


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 422, "'documents' is missing"),
        ({"documents": []}, 422, "'documents'"),
        ({"documents": [[]]}, 422, "'documents.0' is []; it must be"),
        ({"documents": [named("a", "nobody")]}, 404, "There is no tenant nobody"),
        ({"documents": [named("a"), named("a")]}, 422, "in the same request"),
        ({"documents": [{**EXAMPLE, "kind": "Pod"}]}, 422, '"Pod" is not a kind of policy'),
        ({"documents": [{**EXAMPLE, "status": {"a": 2**64}}]}, 422, "more than 64 bits"),
        ({"documents": [named("b")], "tenant": "acme"}, 422, "'tenant' is not known here"),
    ],
)
def test_what_is_not_acceptable(tenants: Site, body: Json, status: int, words: str) -> None:
    answer = tenants.admin.post("/policies", body)
    assert answer.status_code == status
    assert words.lower() in answer.get_json()["detail"].lower()


@pytest.mark.parametrize("text", ["[" * 40 + "]" * 40, "1e999", "NaN"])
def test_a_document_that_no_database_would_take_is_refused(tenants: Site, text: str) -> None:
    body = f'{{"documents": [{{"kind": "NetworkPolicy", "status": {text}}}]}}'
    answer = tenants.admin.post("/policies", data=body, content_type="application/json")
    assert answer.status_code in (400, 422), answer.text


def test_a_deleted_policy_is_gone(tenants: Site) -> None:
    apply(tenants, EXAMPLE, ADMIN)
    for path in ("/policies/acme/db-lockdown", "/policies/no-metadata.service"):
        seen = tenants.viewer.get(path).headers["ETag"]
        assert tenants.admin.delete(path, headers={"If-Match": '"9"'}).status_code == 412
        reply = ok(tenants.admin.delete(path, headers={"If-Match": seen}))
        assert reply["revision"] == tenants.revision() and "hosts" in reply
        for method in ("GET", "DELETE"):
            answer = tenants.admin(method, path)
            assert answer.status_code == 404
            name = path.removeprefix("/policies/")
            assert answer.get_json()["detail"] == (f"There is no policy {name}; list them with `warren policy list`.")
    assert listed(tenants) == []


def test_who_waits_hears_when_the_hosts_concerned_have_confirmed(tenants: Site, pool: ThreadPoolExecutor) -> None:
    confirm(tenants, tenants.revision(), h1=Progress(), h2=Progress())
    before = tenants.revision()
    body = {"documents": [EXAMPLE]}
    asked = waiting(tenants, pool, lambda: tenants.admin.post("/policies?wait=58", body))
    confirm(tenants, before + 1, h1=Progress(wanted=before + 1))
    confirm(tenants, before + 1, h1=Progress(wanted=before + 1, confirmed=before + 1))
    reply = ok(asked.result(SOON_SECONDS))
    assert (reply["state"], reply["hosts"]) == ("applied", [{"host": "h1", "state": "applied", "error": ""}])


def test_a_dry_run_changes_nothing_and_tells_the_flows(tenants: Site) -> None:
    before = tenants.revision()
    # It selects nobody's labels in particular, so the one endpoint of acme is under it.
    told = apply(tenants, named("all"), query="?dry_run=true")
    assert told["dry_run"] is True and told["revision"] == before == tenants.revision()
    assert [host["host"] for host in told["hosts"]] == ["h1"] and told["hosts"][0]["gained"] > 0
    assert listed(tenants) == []
    apply(tenants, named("all"))
    undone = ok(tenants.admin.delete("/policies/acme/all?dry_run=true"))
    assert [host["host"] for host in undone["hosts"]] == ["h1"] and undone["hosts"][0]["lost"] > 0
    assert listed(tenants) == ["acme/all"]


def test_a_dry_run_tells_which_connections_would_turn_and_why(tenants: Site) -> None:
    attach(tenants.enrolled("h3", "198.18.0.13"), "h3", "web1", "acme/default")
    only_80 = {"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]}
    told = apply(tenants, named("lock", **only_80), query="?dry_run=true")
    reason = "by policy acme/lock: no ingress rule allows it"
    assert {change["from"] for change in told["changes"]} == {"acme/acme", "acme/web1"}
    assert told["changes"][0] == {
        "from": "acme/acme",
        "to": "acme/web1",
        "service": "tcp/0-79",
        "before": "allowed",
        "after": "denied",
        "reason": reason,
    }
    assert f"acme/acme -> acme/web1 udp: allowed -> denied {reason}" in told["words"]
    assert not any("tcp/80:" in line for line in told["words"])
    assert not told["more"]
    apply(tenants, named("lock", **only_80))
    undone = ok(tenants.admin.delete("/policies/acme/lock?dry_run=true"))
    assert "acme/acme -> acme/web1 udp: denied -> allowed as no ingress policy decides" in undone["words"]


def test_only_admins_change_policies_and_viewers_see_them(tenants: Site) -> None:
    apply(tenants, EXAMPLE, ADMIN)
    before = tenants.revision()
    calls: list[tuple[str, str, Json | None]] = [
        ("POST", "/policies", {"documents": [EXAMPLE]}),
        ("DELETE", "/policies/acme/db-lockdown", None),
        ("DELETE", "/policies/no-metadata.service", None),
    ]
    for method, path, body in calls:
        for query in ("", "?dry_run=true"):
            assert tenants.viewer(method, path + query, body).status_code == 403
            assert tenants.nobody(method, path + query, body).status_code == 401
    for path in ("/policies", "/policies/acme/db-lockdown", "/policies/no-metadata.service"):
        ok(tenants.viewer.get(path))
        assert tenants.nobody.get(path).status_code == 401
    assert tenants.revision() == before


def test_a_tenant_denies_by_default(tenants: Site) -> None:
    assert tenants.admin.made("/tenants", {"name": "shut", "default_deny": ["egress", "ingress"]})["default_deny"] == [
        "ingress",
        "egress",
    ]
    told = ok(tenants.admin.patch("/tenants/acme?dry_run=true", {"default_deny": ["ingress"]}))
    assert told["dry_run"] is True and [host["host"] for host in told["hosts"]] == ["h1"]
    assert ok(tenants.viewer.get("/tenants/acme"))["default_deny"] == []
    reply = ok(tenants.admin.patch("/tenants/acme", {"default_deny": ["ingress"]}))
    assert reply["default_deny"] == ["ingress"] and "hosts" in reply
    assert ok(tenants.admin.patch("/tenants/acme", {"labels": {"a": "b"}}))["default_deny"] == ["ingress"]
    assert ok(tenants.admin.patch("/tenants/acme", {"default_deny": []}))["default_deny"] == []
    for wrong in (["all"], "ingress", ["ingress", "egress", "ingress"]):
        assert tenants.admin.patch("/tenants/acme", {"default_deny": wrong}).status_code == 422


def test_policies_are_in_the_log_of_changes(tenants: Site) -> None:
    before = tenants.revision()
    apply(tenants, EXAMPLE)
    log = ok(tenants.viewer.get(f"/revisions?after={before}"))
    assert "policy" in str(log)


NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_rules_tell_what_they_counted_and_unused_ones_are_listed(tenants: Site) -> None:
    apply(tenants, EXAMPLE, ADMIN)
    with writing(tenants.engine) as session:
        place = Place(policies.get(session, "acme/db-lockdown").id, Direction.INGRESS, 0, 1)
        counters.record(session, {place: Count(1, 42, 4116, 42, 4116, NOW)})
    (rule,) = ok(tenants.viewer.get("/rules?policy=acme/db-lockdown"))["items"]
    assert rule == {
        "policy": "acme/db-lockdown",
        "direction": "ingress",
        "number": 1,
        "name": "",
        "action": "accept",
        "packets": 42,
        "bytes": 4116,
        "last_hit": "2026-11-24T12:00:00Z",
        "connections": 0,
        "revision": tenants.revision(),
    }
    unused = ok(tenants.viewer.get("/rules?unused=true"))["items"]
    assert [(rule["policy"], rule["direction"], rule["action"]) for rule in unused] == [
        ("no-metadata.service", "egress", "deny")
    ]
    page = ok(tenants.viewer.get("/rules?limit=1"))
    assert [rule["policy"] for rule in page["items"]] == ["no-metadata.service"]
    rest = ok(tenants.viewer.get(f"/rules?limit=1&cursor={page['next']}"))
    assert [rule["policy"] for rule in rest["items"]] == ["acme/db-lockdown"]
    assert ok(tenants.viewer.get("/rules?policy=acme/nothing"))["items"] == []


def test_denials_tell_who_was_denied_what_and_by_whom(tenants: Site) -> None:
    made = Decision(
        *("h1", "deny", "ingress", ("acme/db",), None, "", "", "10.20.0.9", "acme/db1", "10.20.0.10"),
        *("tcp", 81, None, None),
    )
    with writing(tenants.engine) as session:
        denials.record(session, {made: denials.Seen(3, NOW, NOW)})
    assert ok(tenants.viewer.get("/denials"))["items"] == [
        made._asdict()
        | {"policies": ["acme/db"], "source": None, "count": 3}
        | {"first_at": "2026-11-24T12:00:00Z", "last_at": "2026-11-24T12:00:00Z"}
    ]
    for query, found in (
        *(("tenant=acme", 1), ("tenant=beta", 0), ("endpoint=acme/db1", 1), ("endpoint=acme/web1", 0)),
        *(("policy=acme/db", 1), ("policy=db", 0), ("action=accept", 0), ("action=deny&limit=1", 1)),
    ):
        assert len(ok(tenants.viewer.get(f"/denials?{query}"))["items"]) == found, query
    for wrong in ("tenant=ac!me", "endpoint=acme", "action=none", "limit=0", "since=yesterday"):
        assert tenants.viewer.get(f"/denials?{wrong}").status_code == 422, wrong


@pytest.mark.parametrize("path", ["/rules", "/denials"])
def test_only_who_may_look_sees_what_rules_did(tenants: Site, path: str) -> None:
    ok(tenants.admin.get(path))
    ok(tenants.viewer.get(path))
    assert tenants.nobody.get(path).status_code == 401
