"""Isolation over HTTP: every call says what changed and where it is live, or, when asked, what it would change."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.web.conftest import Caller, Json, Site
from tests.web.test_waiting import SOON_SECONDS, Progress, attach, confirm, waiting

NAME = "kubernetes.io/metadata.name"


@pytest.fixture
def tenants(any_site: Site) -> Site:
    """Tenants acme and beta with an endpoint each on h1, and gamma with one on h2."""
    for name in ("acme", "beta", "gamma"):
        any_site.admin.made("/tenants", {"name": name})
    agents = [any_site.enrolled(name, f"198.18.0.1{number}") for number, name in enumerate(("h1", "h2"), 1)]
    for tenant, number in (("acme", 0), ("beta", 0), ("gamma", 1)):
        attach(agents[number], f"h{number + 1}", tenant, f"{tenant}/default")
    return any_site


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


def ok(answer: Any) -> Json:
    assert answer.status_code == 200, answer.text
    body: Json = answer.get_json()
    return body


def standing(site: Site, tenant: str) -> tuple[str, list[str], list[str]]:
    found = ok(site.viewer.get(f"/tenants/{tenant}"))
    return found["isolation"], found["joined"], found["peers"]


def test_a_joined_tenant_shows_whom_it_is_joined_with(tenants: Site) -> None:
    reply = ok(tenants.admin.post("/tenants/acme/join", {"to": "beta"}))
    assert (reply["isolation"], reply["joined"], reply["peers"]) == ("joined", ["beta"], [])
    assert reply["revision"] == tenants.revision()
    assert reply["zone"] == ok(tenants.viewer.get("/tenants/beta"))["zone"]
    assert standing(tenants, "beta") == ("joined", ["acme"], [])
    listed = {one["name"]: one["isolation"] for one in ok(tenants.viewer.get("/tenants"))["items"]}
    assert listed == {"acme": "joined", "beta": "joined", "gamma": "own"}
    assert ok(tenants.admin.post("/tenants/acme/isolate"))["isolation"] == "own"
    assert standing(tenants, "beta") == ("own", [], [])


def test_a_global_tenant_is_in_zone_0(tenants: Site) -> None:
    reply = ok(tenants.admin.post("/tenants/acme/global"))
    assert (reply["zone"], reply["isolation"], reply["joined"]) == (0, "global", [])
    assert ok(tenants.viewer.get("/networks/acme/default"))["zone"] == 0


def test_peers_are_named_on_both_sides_until_either_ends_it(tenants: Site) -> None:
    ok(tenants.admin.post("/tenants/acme/peer", {"with": "gamma"}))
    ok(tenants.admin.post("/tenants/acme/peer", {"with": "beta"}))
    assert standing(tenants, "acme") == ("own", [], ["beta", "gamma"])
    assert standing(tenants, "beta") == ("own", [], ["acme"])
    assert ok(tenants.admin.delete("/tenants/beta/peers/acme"))["peers"] == []
    assert standing(tenants, "acme") == ("own", [], ["gamma"])


def test_the_cluster_is_flat_or_not(tenants: Site) -> None:
    seen = tenants.viewer.get("/cluster")
    ports = {"vxlan": 4789, "geneve": 6081}
    assert ok(seen) == {
        "isolation": "multitenant",
        "tunnel_ports": ports,
        "version": 1,
        "revision": tenants.revision(),
    }
    reply = tenants.admin.patch("/cluster", {"isolation": "flat"}, headers={"If-Match": seen.headers["ETag"]})
    assert ok(reply)["isolation"] == "flat" and reply.headers["ETag"] == '"2"'
    late = tenants.admin.patch("/cluster", {"isolation": "multitenant"}, headers={"If-Match": seen.headers["ETag"]})
    assert late.status_code == 412


def test_a_network_is_set_apart_and_back(tenants: Site) -> None:
    web = tenants.admin.made("/networks", {"name": "acme/web"})
    apart = ok(tenants.admin.patch("/networks/acme/web", {"isolated": True}))
    assert apart["isolated"] and apart["zone"] != web["zone"]
    labelled = ok(tenants.admin.patch("/networks/acme/web", {"labels": {"a": "b"}}))
    assert labelled["isolated"], "what is not named stays"
    assert not labelled["broadcast"], "off by default"
    assert ok(tenants.admin.patch("/networks/acme/web", {"broadcast": True}))["broadcast"]
    back = ok(tenants.admin.patch("/networks/acme/web", {"isolated": False}))
    assert back["broadcast"], "what is not named stays"
    assert not back["isolated"] and back["zone"] == web["zone"]


def test_doing_what_is_done_already_takes_no_revision(tenants: Site) -> None:
    calls: list[tuple[str, str, Json | None]] = [
        ("POST", "/tenants/acme/join", {"to": "beta"}),
        ("POST", "/tenants/acme/peer", {"with": "gamma"}),
        ("POST", "/tenants/gamma/global", None),
        ("PATCH", "/cluster", {"isolation": "flat"}),
        ("PATCH", "/networks/beta/default", {"isolated": True}),
    ]
    for method, path, body in calls:
        first = ok(tenants.admin(method, path, body))
        again = ok(tenants.admin(method, path, body))
        assert first["revision"] == again["revision"] == tenants.revision()


# -- where it is live --


def test_the_answer_names_each_host_concerned_and_what_it_says(tenants: Site) -> None:
    confirm(tenants, tenants.revision(), h1=Progress(), h2=Progress())
    reply = ok(tenants.admin.post("/tenants/acme/join", {"to": "gamma"}))
    assert (reply["state"], [host["state"] for host in reply["hosts"]]) == ("pending", ["pending", "pending"])
    revision = tenants.revision()
    confirm(
        tenants,
        revision,
        h1=Progress(wanted=revision, confirmed=revision),
        h2=Progress(wanted=revision, error="table full"),
    )
    again = ok(tenants.admin.post("/tenants/acme/join", {"to": "gamma"}))
    assert again["state"] == "failed"
    assert again["hosts"] == [
        {"host": "h1", "state": "applied", "error": ""},
        {"host": "h2", "state": "failed", "error": "table full"},
    ]


def test_who_waits_hears_when_every_host_concerned_has_confirmed(tenants: Site, pool: ThreadPoolExecutor) -> None:
    confirm(tenants, tenants.revision(), h1=Progress(), h2=Progress())
    before = tenants.revision()
    asked = waiting(tenants, pool, lambda: tenants.admin.post("/tenants/acme/peer?wait=58", {"with": "beta"}))
    assert tenants.revision() == before + 1
    confirm(tenants, before + 1, h1=Progress(wanted=before + 1))
    confirm(tenants, before + 1, h1=Progress(wanted=before + 1, confirmed=before + 1))
    reply = ok(asked.result(SOON_SECONDS))
    assert (reply["state"], reply["hosts"]) == ("applied", [{"host": "h1", "state": "applied", "error": ""}])


# -- dry run --


def everything(site: Site) -> list[Json]:
    """All that the API shows of tenants, networks and the cluster."""
    paths = ("/tenants", "/networks", "/cluster", "/tenants/acme", "/tenants/beta", "/tenants/gamma")
    return [ok(site.viewer.get(path)) for path in paths]


@pytest.mark.parametrize(
    ("method", "path", "body", "words"),
    [
        (
            *("POST", "/tenants/acme/join", {"to": "beta"}),
            [
                "acme/* -> beta/*: denied -> allowed, acme and beta are joined",
                "beta/* -> acme/*: denied -> allowed, acme and beta are joined",
            ],
        ),
        (
            *("POST", "/tenants/acme/peer", {"with": "beta"}),
            [
                "acme/* -> beta/*: denied -> allowed, acme and beta peer",
                "beta/* -> acme/*: denied -> allowed, acme and beta peer",
            ],
        ),
        (
            *("POST", "/tenants/gamma/global", None),
            [
                "acme/* -> gamma/*: denied -> allowed, gamma is global",
                "beta/* -> gamma/*: denied -> allowed, gamma is global",
                "gamma/* -> acme/*: denied -> allowed, gamma is global",
                "gamma/* -> beta/*: denied -> allowed, gamma is global",
            ],
        ),
        ("POST", "/tenants/acme/isolate", None, ["Nothing changes in who reaches whom among endpoints."]),
        (
            *("PATCH", "/networks/acme/default", {"isolated": True}),
            ["Nothing changes in who reaches whom among endpoints."],
        ),
    ],
)
def test_a_dry_run_tells_what_would_change_and_changes_nothing(
    tenants: Site, method: str, path: str, body: Json | None, words: list[str]
) -> None:
    before = everything(tenants)
    told = ok(tenants.admin(method, f"{path}?dry_run=true", body))
    assert everything(tenants) == before
    assert told["dry_run"] is True and told["revision"] == tenants.revision()
    assert told["words"] == words
    if "denied" in words[0]:
        assert [
            f"{c['from']} -> {c['to']}: {c['before']} -> {c['after']}, {c['reason']}" for c in told["changes"]
        ] == words
        assert told["hosts"] and all(host["gained"] > 0 for host in told["hosts"])
    assert not told["more"]


def test_a_dry_run_of_the_flat_mode_names_every_two_tenants(tenants: Site) -> None:
    told = ok(tenants.admin.patch("/cluster?dry_run=true", {"isolation": "flat"}))
    assert len(told["changes"]) == 6 and {change["reason"] for change in told["changes"]} == {"the cluster is flat"}
    assert [host["host"] for host in told["hosts"]] == ["h1", "h2"]
    assert ok(tenants.viewer.get("/cluster"))["isolation"] == "multitenant"


def test_a_dry_run_of_the_end_of_a_peering_tells_what_would_be_denied(tenants: Site) -> None:
    ok(tenants.admin.post("/tenants/acme/peer", {"with": "beta"}))
    told = ok(tenants.admin.delete("/tenants/acme/peers/beta?dry_run=true"))
    assert told["words"][0] == "acme/* -> beta/*: allowed -> denied, acme and beta neither share a zone nor peer"
    assert [(host["host"], host["gained"], host["lost"]) for host in told["hosts"]] == [("h1", 0, 2)]
    assert standing(tenants, "acme") == ("own", [], ["beta"])


def test_a_dry_run_does_not_promise_what_a_policy_denies(tenants: Site) -> None:
    lock = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "lock", "namespace": "beta"},
        "spec": {"ingress": [{"ports": [{"port": 80}]}]},
    }
    ok(tenants.admin.post("/policies", {"documents": [lock]}))
    told = ok(tenants.admin.post("/tenants/acme/join?dry_run=true", {"to": "beta"}))
    assert told["words"] == [
        "acme/* -> beta/* tcp/80: denied -> allowed, acme and beta are joined",
        "beta/* -> acme/*: denied -> allowed, acme and beta are joined",
    ]
    assert [change["service"] for change in told["changes"]] == ["tcp/80", None]


def test_what_a_dry_run_foretells_is_what_then_happens(tenants: Site) -> None:
    told = ok(tenants.admin.post("/tenants/acme/join?dry_run=true", {"to": "beta"}))
    ok(tenants.admin.post("/tenants/acme/join", {"to": "beta"}))
    undone = ok(tenants.admin.post("/tenants/acme/isolate?dry_run=true"))
    assert [(c["from"], c["to"]) for c in told["changes"]] == [(c["from"], c["to"]) for c in undone["changes"]]
    assert {host["host"] for host in told["hosts"]} == {"h1"}


def test_a_dry_run_is_refused_as_the_change_would_be(tenants: Site) -> None:
    before = tenants.revision()
    for path, body, status in (
        ("/tenants/acme/join", {"to": "acme"}, 422),
        ("/tenants/acme/join", {"to": "nobody"}, 404),
        ("/tenants/nobody/isolate", None, 404),
    ):
        for query in ("", "?dry_run=true"):
            answer = tenants.admin.post(path + query, body)
            assert answer.status_code == status
            assert answer.mimetype == "application/problem+json"
    assert tenants.revision() == before


# -- what is refused --


def test_networks_that_collide_are_named(tenants: Site) -> None:
    for tenant in ("acme", "beta"):
        lan = {"name": f"{tenant}/lan", "subnets": ["10.20.0.0/24"], "private": True}
        tenants.admin.made("/networks", lan)
    answer = tenants.admin.post("/tenants/acme/join", {"to": "beta"})
    assert answer.status_code == 409
    assert answer.get_json()["detail"].startswith(
        "Tenant acme cannot join beta: 10.20.0.0/24 of network acme/lan overlaps 10.20.0.0/24 of network beta/lan"
    )


def test_only_admins_change_isolation_and_versions_are_honoured(tenants: Site) -> None:
    seen = tenants.admin.get("/tenants/acme").headers["ETag"]
    calls: list[tuple[str, str, Json | None]] = [
        ("POST", "/tenants/acme/join", {"to": "beta"}),
        ("POST", "/tenants/acme/isolate", None),
        ("POST", "/tenants/acme/global", None),
        ("POST", "/tenants/acme/peer", {"with": "beta"}),
        ("DELETE", "/tenants/acme/peers/beta", None),
        ("PATCH", "/cluster", {"isolation": "flat"}),
    ]
    tenants.admin.patch("/tenants/acme", {"labels": {"a": "1"}})
    ok(tenants.admin.patch("/cluster", {"isolation": "flat"}))
    before = tenants.revision()
    for method, path, body in calls:
        for query in ("", "?dry_run=true"):
            assert tenants.viewer(method, path + query, body).status_code == 403
            assert tenants.nobody(method, path + query, body).status_code == 401
            assert tenants.admin(method, path + query, body, headers={"If-Match": seen}).status_code == 412
    assert tenants.revision() == before


def test_a_tenants_own_label_can_be_asked_for_and_not_changed(tenants: Site) -> None:
    found = ok(tenants.viewer.get(f"/tenants?label={NAME}=beta"))["items"]
    assert [(one["name"], one["labels"]) for one in found] == [("beta", {NAME: "beta"})]
    refused = tenants.admin.patch("/tenants/beta", {"labels": {NAME: None}})
    assert refused.status_code == 422
    assert f"label {NAME} of tenant beta is beta and cannot be changed" in refused.get_json()["detail"].lower()


def test_two_dry_runs_and_a_change_at_once_do_not_disturb_each_other(tenants: Site, pool: ThreadPoolExecutor) -> None:
    def dry(number: int) -> Json:
        caller = Caller(tenants.app.test_client(), tenants.admin.token)
        return ok(caller.post("/tenants/acme/join?dry_run=true", {"to": "beta"}))

    told = pool.map(dry, range(6))
    for _ in range(3):
        ok(tenants.admin.post("/tenants/gamma/global"))
        ok(tenants.admin.post("/tenants/gamma/isolate"))
    assert all(len(one["changes"]) == 2 for one in told)
    assert standing(tenants, "acme") == ("own", [], [])
