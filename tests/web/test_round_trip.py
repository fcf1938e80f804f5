"""What is exported, applied to an empty database, is exported again as the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from client import declared, steps
from client.manifests import Found
from db.changes import transaction
from db.tables import HostStatus
from tests.databases import SqliteTemplate
from tests.web.conftest import Site, site_on

Json = dict[str, Any]


class Rest:
    """The client's face on a site without a server."""

    def __init__(self, site: Site) -> None:
        self.call = site.admin

    def request(self, method: str, path: str, json: Json | None = None, headers: Any = None) -> Any:
        answer = self.call(method, path, json, headers=headers or {})
        assert answer.status_code < 400, (method, path, json, answer.text)
        return SimpleNamespace(body=answer.get_json())

    def get(self, path: str) -> Any:
        return self.request("GET", path)

    def items(self, path: str) -> Iterator[Json]:
        cursor = ""
        while True:
            page = self.get(f"{path}?limit=2{cursor}" if path != "/tokens" else path).body
            yield from page["items"]
            if page["next"] is None:
                return
            cursor = f"&cursor={page['next']}"


def found_in(documents: list[Json]) -> list[Found]:
    return [Found("all.yaml", number, document) for number, document in enumerate(documents)]


def applied(rest: Rest, documents: list[Json], prune: bool = False) -> int:
    """How many steps it took."""
    wished = declared.wanted(found_in(documents))
    kinds = declared.ORDER if prune else {one.kind for one in wished}
    found = steps.steps(wished, declared.present(rest, kinds), prune)  # type: ignore[arg-type]
    for step in found:
        for method, path, body, version in step.requests:
            rest.request(method, path, body, {"If-Match": f'"{version}"'} if version is not None else {})
    return len(found)


def exported(rest: Rest) -> list[Json]:
    return [declared.document(one) for one in declared.present(rest, declared.ORDER)]  # type: ignore[arg-type]


def of(kind: str, name: Any = None, namespace: Any = None, **spec: Any) -> Json:
    metadata = {"name": name, "namespace": namespace}
    filled = {key: value for key, value in metadata.items() if value is not None}
    return {"apiVersion": declared.API, "kind": kind, "metadata": filled, "spec": spec}


@st.composite
def clusters(draw: st.DrawFn) -> list[Json]:
    """Documents that fit together."""
    flag = st.booleans()
    found = [of("Pool", "second", cidr="10.200.0.0/16", **draw(st.sampled_from([{}, {"state": "draining"}])))]
    people = draw(st.lists(st.sampled_from(["ada", "bob", "eve"]), unique=True, max_size=3))
    found += [of("User", name) for name in people]
    members = draw(st.lists(st.sampled_from(people), unique=True)) if people else []
    found.append(of("Group", "netops", members=members))
    tenants = draw(st.lists(st.sampled_from(["acme", "beta", "shop"]), unique=True, min_size=1, max_size=3))
    for number, tenant in enumerate(tenants):
        quota = draw(st.sampled_from([{}, {"networks": 9}]))
        found.append(
            of("Tenant", tenant, quota=quota, trackAll=draw(flag), defaultDeny=draw(st.sampled_from([[], ["egress"]])))
        )
        found.append(of("RoleBinding", role=draw(st.sampled_from(["viewer", "admin"])), group="netops", tenant=tenant))
        for other in range(draw(st.integers(0, 2))):
            name, net = f"n{other}", f"10.{20 + 2 * number + other}.0"
            vlan = draw(st.sampled_from([None, 100 + 10 * number + other]))
            there: Json = {
                "subnets": [f"{net}.0/24"],
                "broadcast": draw(flag),
                "mtu": draw(st.sampled_from([None, 1400])),
            }
            if vlan is not None:
                there |= {"transport": "vlan", "physical": "seg", "vlan": vlan}
                there |= {"gateways": [f"{net}.1"]} if draw(flag) else {}
            there["outbound"] = draw(flag)
            found.append(of("Network", name, tenant, **there))
            if draw(flag):
                until = draw(st.sampled_from([{}, {"expiresAt": "2099-01-01T12:00:00Z"}]))
                found.append(of("Reservation", "db1", tenant, network=name, addresses=[f"{net}.50"], **until))
            if draw(flag):
                found.append(of("Record", "printer", tenant, network=name, addresses=[f"{net}.200", f"{net}.201"]))
        if draw(flag):
            found.append(of("Record", "mail", tenant, addresses=["192.0.2.9"]))
    if len(tenants) > 1 and draw(flag):
        found.append(of("Peering", tenants=tenants[:2]))
    standings: list[Json] = [{"global": tenants[:1]}, {"isolation": "flat"}]
    if len(tenants) > 1:
        standings += [{"joined": [tenants[:2]]}, {"joined": [tenants[-2:]], "global": tenants[:-2]}]
    found.append(of("Cluster", **draw(st.sampled_from(standings))))
    return draw(st.permutations(found))


@pytest.fixture(scope="module")
def site(sqlite_template: SqliteTemplate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    for site in site_on(sqlite_template.fresh(tmp_path_factory.mktemp("declared"))):
        site.enrolled("h1")
        with transaction(site.engine) as tx:
            tx.session.execute(update(HostStatus).values(agent_report={"physical": ["seg"]}))
        yield site


@pytest.fixture
def rest(site: Site) -> Iterator[Rest]:
    """Whatever is made is gone afterwards."""
    rest = Rest(site)
    start = exported(rest)
    yield rest
    applied(rest, start, prune=True)


@given(clusters())
@settings(max_examples=8, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_an_export_makes_an_empty_database_the_same(rest: Rest, documents: list[Json]) -> None:
    start = exported(rest)
    try:
        applied(rest, documents)
        assert applied(rest, documents) == 0
        files = exported(rest)
        assert applied(rest, files, prune=True) == 0
        applied(rest, start, prune=True)
        assert exported(rest) == start
        applied(rest, files)
        assert exported(rest) == files
    finally:
        applied(rest, start, prune=True)


def standing(rest: Rest) -> tuple[str, Json, Json]:
    """The file, where each subnet is from, and how many of each pool are used."""
    file = yaml.safe_dump_all(exported(rest), sort_keys=False)
    networks = {one["name"]: [(s["cidr"], s["pool"]) for s in one["subnets"]] for one in rest.items("/networks")}
    return file, networks, {one["name"]: one["used"] for one in rest.items("/pools")}


def test_subnets_of_pools_are_rebuilt_to_the_byte(
    request: pytest.FixtureRequest, database_url: str, sqlite_template: SqliteTemplate, tmp_path: Path
) -> None:
    """Whatever the order in which they were made, and what was between them that is gone."""
    with contextmanager(site_on)(database_url) as site:
        rest = Rest(site)
        for name in ("red", "acme", "gone", "blue"):
            rest.request("POST", "/tenants", {"name": name, "labels": {"z": "1", "a": "2"}})
        for name in ("red/web", "acme/web", "acme/app"):
            rest.request("POST", "/networks", {"name": name})
        rest.request("POST", "/networks/acme/app/subnets", {"family": 4})
        rest.request("POST", "/networks/acme/app/subnets", {"subnet": "10.20.0.0/24"})
        for path in ("/tenants/gone", "/networks/red/default"):
            rest.request("DELETE", path)
        rest.request("POST", "/pools", {"name": "a-pool", "cidr": "10.200.0.0/16"})
        for name in ("default", "default6"):
            rest.request("PATCH", f"/pools/{name}", {"state": "draining"})
        rest.request("PUT", "/dns/records/red/zeta", {"addresses": ["192.0.2.9"]})
        rest.request("PUT", "/dns/records/acme/alpha", {"addresses": ["192.0.2.9"]})
        before = standing(rest)
        assert applied(rest, list(yaml.safe_load_all(before[0])), prune=True) == 0
    if database_url.startswith("sqlite"):
        (tmp_path / "empty").mkdir()
        empty = sqlite_template.fresh(tmp_path / "empty")
    else:
        empty = request.getfixturevalue("postgres_database").fresh()
    with contextmanager(site_on)(empty) as site:
        rest = Rest(site)
        documents = list(yaml.safe_load_all(before[0]))
        applied(rest, documents)
        assert standing(rest) == before
        assert applied(rest, documents, prune=True) == 0
        rest.request("PATCH", "/pools/default", {"state": "enabled"})
        fresh = rest.request("POST", "/networks", {"name": "blue/new"}).body["subnets"][0]["cidr"]
        assert fresh not in {cidr for subnets in before[1].values() for cidr, _ in subnets}
    names = [(one["kind"], one["metadata"].get("namespace"), one["metadata"].get("name")) for one in documents]
    assert [name for kind, *name in names if kind == "Tenant"] == [[None, "acme"], [None, "blue"], [None, "red"]]
    assert [name for kind, *name in names if kind == "Record"] == [["acme", "alpha"], ["red", "zeta"]]


def test_a_subnet_of_a_pool_is_had_once(rest: Rest) -> None:
    applied(rest, [of("Tenant", "acme", defaultNetwork=False), of("Tenant", "beta", defaultNetwork=False)])
    assert not [one for one in rest.items("/networks") if one["tenant"] in ("acme", "beta")]
    wanted = {"subnets": ["10.128.77.0/24"], "private": True, "of_pools": True}
    made = rest.request("POST", "/networks", {"name": "acme/web", **wanted}).body
    assert made["subnets"][0]["pool"] == "default"
    again = rest.call("POST", "/networks", {"name": "beta/web", **wanted})
    assert again.status_code == 409 and "10.128.77.0/24 is another network's" in again.get_json()["detail"]


def test_what_changes_is_changed_and_what_is_not_named_goes(rest: Rest) -> None:
    network = of("Network", "web", "acme", subnets=["10.20.0.0/24"], plan="per-host")
    before = [
        *(of("Tenant", "acme"), network, of("User", "ada"), of("User", "bob")),
        of("Group", "netops", members=["ada"]),
        of("Reservation", "db1", "acme", network="web", addresses=["10.20.0.50"]),
        of("Record", "mail", "acme", addresses=["192.0.2.9"]),
        of("Pool", "second", cidr="10.200.0.0/16"),
    ]
    applied(rest, before)
    after = [
        of("Group", "netops", members=["bob"]),
        of("Reservation", "db1", "acme", network="web", addresses=["10.20.0.51"]),
        of("Record", "mail", "acme", addresses=["192.0.2.10"]),
        of("Network", "web", "acme", ipRanges=["10.20.0.128/25"], excludes=["10.20.0.7"], strict=True, outbound=False),
        of("Pool", "second", cidr="10.200.0.0/16", state="draining"),
    ]
    assert applied(rest, after) == 5 and applied(rest, after) == 0
    found = {(one["kind"], one["metadata"].get("name")): one["spec"] for one in exported(rest)}
    assert found["Group", "netops"] == {"members": ["bob"]}
    assert found["Reservation", "db1"] == {"network": "web", "addresses": ["10.20.0.51"]}
    assert found["Record", "mail"] == {"addresses": ["192.0.2.10"]}
    assert found["Pool", "second"]["state"] == "draining"
    web = found["Network", "web"]
    assert (web["ipRanges"], web["strict"], web["outbound"]) == (["10.20.0.128/25"], True, False)
    kept = declared.wanted(found_in([of("Record", "other", "acme", addresses=["192.0.2.1"])]))
    there = declared.present(rest, {"Record"})  # type: ignore[arg-type]
    assert [str(step) for step in steps.steps(kept, there, prune=True)] == [
        *("+ Record acme/other", "- Record acme/mail"),
    ]


def pruned(rest: Rest, documents: list[Json]) -> list[str]:
    """What was done for these files, and to what is of their kinds."""
    wished = declared.wanted(found_in(documents))
    there = declared.alike(declared.present(rest, {one.kind for one in wished}), wished)  # type: ignore[arg-type]
    found = steps.steps(wished, there, prune=True)
    for step in found:
        for method, path, body, version in step.requests:
            rest.request(method, path, body, {"If-Match": f'"{version}"'} if version is not None else {})
    return [str(step).splitlines()[0] for step in found]


def test_what_was_just_made_is_not_removed_the_next_time(rest: Rest) -> None:
    web = of("Network", "web", "acme", subnets=["10.20.0.0/24"])
    files = [of("Tenant", "acme"), of("Tenant", "beta", defaultNetwork=True), web]
    assert pruned(rest, files) == ["+ Tenant acme", "+ Tenant beta", "+ Network acme/web"]
    assert {one["name"] for one in rest.items("/networks")} == {"acme/web", "beta/default"}
    assert pruned(rest, files) == []


def test_a_network_goes_in_the_same_turn_in_which_its_tenant_parts_from_others(rest: Rest) -> None:
    networks = [of("Network", name, "acme", subnets=[f"10.2{n}.0.0/24"]) for n, name in enumerate(("web", "db"))]
    tenants = [of("Tenant", name) for name in ("acme", "beta")]
    pruned(rest, [*tenants, *networks, of("Cluster", joined=[["acme", "beta"]])])
    done = pruned(rest, [*tenants, networks[0], of("Cluster", joined=[])])
    assert done == ["~ Cluster", "- Network acme/db"]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (of("Group", "netops", members=5), "members of Group is 5; write a list"),
        (of("Group", "netops", members=[5]), "members of Group is [5]; write names"),
        (of("Peering", tenants=5), "tenants of Peering is 5; write a list"),
        (of("Peering", tenants=[1, "a"]), "write names"),
        (of("Cluster", joined=[5]), "joined of Cluster is [5]; write names"),
        (of("Cluster", joined=[[1, 2]]), "write names"),
        (of("Cluster", **{"global": {}, "tunnelPorts": [1]}), "global of Cluster is {}; write a list"),
        (of("Cluster", tunnelPorts=[1]), "tunnelPorts of Cluster is [1]; write a mapping"),
        (of("Tenant", "acme", quota=[1]), "quota of Tenant is [1]; write a mapping"),
        (of("Network", "web", "acme", subnets=5), "subnets of Network is 5; write a list"),
        (of("Network", "web", 5), "namespace of Network is 5; write text"),
        (of("Reservation", "db1", "acme", network=5), "network of Reservation is 5; write text"),
        (of("Reservation", "db1", "acme", network="web", expiresAt=5), "expiresAt of Reservation is 5; write text"),
        (of("RoleBinding", role="viewer", user="ada", tenant=5), "tenant of RoleBinding is 5; write text"),
        ({"apiVersion": declared.API, "kind": ["Tenant"]}, "kind is ['Tenant']; write text"),
        ({**of("Tenant", "acme"), "metadata": {"name": "acme", "labels": [1]}}, "labels of Tenant is [1]; write a map"),
    ],
)
def test_a_value_of_another_shape_is_refused_with_its_place(document: Json, said: str) -> None:
    with pytest.raises(click.ClickException, match=r"all\.yaml, line 0: ") as refused:
        declared.wanted(found_in([document]))
    assert said in refused.value.message


def test_what_is_there_is_compared_with_what_the_api_will_refuse_or_leave(rest: Rest) -> None:
    files = [of("Tenant", "acme"), of("Network", "web", "acme", subnets=["10.20.0.0/24"])]
    kept = of("Reservation", "db1", "acme", network="web", addresses=["10.20.0.50"], expiresAt="2099-01-01T12:00:00Z")
    applied(rest, [*files, kept])
    unsaid = [of("Tenant", "acme", quota=None, defaultDeny=None), of("Cluster", tunnelPorts=None)]
    unsaid.append(of("Network", "web", "acme", subnets=None, excludes=None))
    assert applied(rest, unsaid) == 0
    kept["spec"]["expiresAt"] = "tomorrow"
    wished = declared.wanted(found_in([kept]))
    (step,) = steps.steps(wished, declared.present(rest, {"Reservation"}), prune=False)  # type: ignore[arg-type]
    assert rest.call(*step.requests[-1][:3]).status_code == 422


def test_policies_of_a_kind_that_is_in_no_file_stay(rest: Rest) -> None:
    all_tenants: Json = {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}}
    guard = {"apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy"}
    guard |= {"metadata": {"name": "guard"}, "spec": all_tenants}
    one, other = (
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": {"podSelector": {}}}
        | {"metadata": {"name": name, "namespace": "acme"}}
        for name in ("one", "other")
    )
    applied(rest, [of("Tenant", "acme"), guard, one, other])
    assert pruned(rest, [one]) == ["- NetworkPolicy acme/other"]
    assert pruned(rest, [one, guard]) == []
    assert pruned(rest, [guard]) == []
    assert pruned(rest, [one | {"metadata": {"name": "new", "namespace": "acme"}}]) == [
        *("+ NetworkPolicy acme/new", "- NetworkPolicy acme/one"),
    ]


def test_tenants_change_their_standing(rest: Rest) -> None:
    applied(rest, [of("Tenant", name) for name in "abcd"])
    for joined, apart in (
        ([["a", "b", "c"]], ["d"]),
        ([["a", "d"], ["b", "c"]], []),
        ([], ["a", "b"]),
        ([["a", "c"]], ["b"]),
        ([], []),
    ):
        asked = of("Cluster", **{"joined": joined, "global": apart})
        assert applied(rest, [asked]) == 1 and applied(rest, [asked]) == 0
        (found,) = [one["spec"] for one in exported(rest) if one["kind"] == "Cluster"]
        assert (found["joined"], found["global"]) == (joined, apart)


@st.composite
def standings(draw: st.DrawFn) -> tuple[list[list[str]], list[str]]:
    where = draw(st.fixed_dictionaries({name: st.sampled_from(["own", "global", "x", "y"]) for name in "abcdef"}))
    zones = [sorted(name for name in where if where[name] == zone) for zone in "xy"]
    return sorted(zone for zone in zones if len(zone) > 1), [name for name in where if where[name] == "global"]


@given(standings(), standings())
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_on_the_way_nobody_is_joined_with_whom_they_were_not_and_will_not_be(
    has: tuple[list[list[str]], list[str]], asked: tuple[list[list[str]], list[str]]
) -> None:
    def pairs(zone: dict[str, object]) -> set[tuple[str, str]]:
        return {(a, b) for a in zone for b in zone if a < b and (zone[a] == zone[b] or "global" in (zone[a], zone[b]))}

    def placed(zones: list[list[str]], apart: list[str]) -> dict[str, object]:
        there = {name: number for number, zone in enumerate(zones) for name in zone}
        return {name: "global" if name in apart else there.get(name, f"own {name}") for name in "abcdef"}

    zone, wished = placed(*has), placed(*asked)
    allowed = pairs(zone) | pairs(wished)
    for number, move in enumerate(steps.moves(has, asked)):
        _, _, name, how = move.path.split("/")
        alone = f"moved {number}"
        zone[name] = {"isolate": alone, "global": "global"}.get(how) or zone[(move.body or {})["to"]]
        assert pairs(zone) <= allowed
    assert pairs(zone) == pairs(wished)
