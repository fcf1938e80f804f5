"""Who may call what: every operation of the API's description by every role, in its own tenant and in another.

What is expected is computed from the description alone (`x-roles`, `x-tenant-by`), so a new route is in here by itself;
one without a rule, or one whose rule cannot be tried, fails. What the rules are is written down once more below, for
the reviewer's eye.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from werkzeug.test import TestResponse

from db import bindings, tokens, users
from db.changes import transaction
from tests.web.conftest import Caller, Json, Site, site_on
from web.app import create_app

OWN, OTHER, NOWHERE = "acme", "globex", "nowhere"
TENANT_ROLES = ("tenant-admin", "tenant-operator", "tenant-viewer")
ROLES = ("admin", "viewer", *TENANT_ROLES, "nothing", "agent", "cni", "enrol")
PREFIX = "/api/v1"

# The contents of bodies, for operations that look at the tenant there. A route that is not here fails the test.
BODIES: dict[str, Any] = {
    "networks_create": lambda tenant: {"name": f"{tenant}/made", "subnets": ["10.65.0.0/25"]},
    "policies_apply": lambda tenant: {
        "documents": [
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": "p", "namespace": tenant},
                "spec": {"podSelector": {}},
            }
        ]
    },
    "explain_ask": lambda tenant: {"source": f"{tenant}/x", "destination": f"{tenant}/x", "protocol": "tcp", "port": 1},
    "publications_create": lambda tenant: {"endpoint": f"{tenant}/none", "port": 80},
    "tokens_create": lambda tenant: {"name": "t", "role": "viewer", "tenant": tenant},
    "people_grant": lambda tenant: {"role": "viewer", "user": "nobody", "tenant": tenant},
}
# Of both tenants one object each, whose name tells whose it is; no answer to the other's people may hold it.
TRACES = re.compile("globex|secret|10\\.66\\.|02:00:0a:42", re.IGNORECASE)
OWN_NAMES = re.compile(r'secret of acme|acme(/secret)+|(secret\.)+acme\.|secret 10\.65\.|"secret"')


class Operation(NamedTuple):
    id: str
    method: str
    path: str
    roles: frozenset[str]
    by: str
    parameters: frozenset[str]

    def at(self, tenant: str) -> str:
        """Its path, with the names of objects that the tenant has."""
        return re.sub(r"{(\w+)}", lambda name: str(self.names(tenant)[name[1]]), self.path)

    def names(self, tenant: str) -> Json:
        return {
            "tenant": tenant,
            "network": "secret",
            "endpoint": "secret",
            "policy": "secret",
            "name": "secret",
            "reservation": "none",
            "address": "10.65.0.0" if tenant == OWN else "10.66.0.0",
            "prefix": 24,
            "pool": "none",
            "peer": "nobody",
            "host": "h1",
            "container_id": "none",
            "ifname": "eth0",
            "trace": 99,
            "dump": 99,
            "revision": 0,
            "token": 10**6,
            "publication": 10**6,
            "binding": 10**6,
            "user": "nobody",
            "group": "nobody",
        }


def operations() -> Iterator[Operation]:
    for path, methods in create_app("sqlite:////nowhere/warren.db").spec["paths"].items():
        for method, found in methods.items():
            if path.startswith(PREFIX):
                roles, by = found.get("x-roles"), found.get("x-tenant-by", "")
                parameters = frozenset(one["name"] for one in found.get("parameters", ()))
                assert roles, f"{method} {path} does not say who may call it"
                yield Operation(
                    found["operationId"], method.upper(), path.removeprefix(PREFIX), frozenset(roles), by, parameters
                )


OPERATIONS = list(operations())
by_id = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)


class Cast(NamedTuple):
    site: Site
    callers: dict[str, Caller]


@pytest.fixture(scope="module")
def cast(sqlite_template: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    """Two tenants with the same objects in each, and a caller of each role, whose tenant is the first."""
    for site in site_on(sqlite_template.fresh(tmp_path_factory.mktemp("matrix"))):
        agent = site.enrolled("h1")
        for tenant, subnet in ((OWN, "10.65.0.0/24"), (OTHER, "10.66.0.0/24")):
            site.admin.made("/tenants", {"name": tenant})
            network = {"name": f"{tenant}/secret", "subnets": [subnet], "labels": {"warren/made-by-host": "h1"}}
            site.admin.made("/networks", network)
            site.admin.made(f"/networks/{tenant}/secret/reservations", {"name": "secret"})
            for scope in (tenant, f"{tenant}/secret"):
                record = {"addresses": [subnet.replace("0/24", "77")]}
                assert site.admin.put(f"/dns/records/{scope}/secret", record).status_code == 201
            attached = {"network": f"{tenant}/secret", "name": "secret", "netns": "/run/netns/x"}
            assert agent.put(f"/hosts/h1/attachments/{tenant}/eth0", attached).status_code == 201
            site.admin.made("/publications", {"endpoint": f"{tenant}/secret", "port": 80})
            policy = BODIES["policies_apply"](tenant)
            policy["documents"][0]["metadata"]["name"] = "secret"
            assert site.admin.post("/policies", policy).status_code == 200
            site.admin.made("/tokens", {"name": f"secret of {tenant}", "role": "viewer", "tenant": tenant})
        callers = {"admin": site.admin, "viewer": site.viewer, "agent": agent}
        with transaction(site.engine) as tx:
            texts = {}
            for role in (*TENANT_ROLES, "nothing"):
                user = users.create(tx, role)
                if role != "nothing":
                    bindings.grant(tx, role.removeprefix("tenant-"), user=role, tenant=OWN)
                texts[role] = tokens.create(tx, "admin", name=role, user_id=user.id)[1]
            users.create(tx, "stranger")
            bindings.grant(tx, "viewer", user="stranger", tenant=OTHER)
        callers |= {role: site.caller(text) for role, text in texts.items()}
        callers["cni"] = site.caller(site.admin.made("/tokens", {"name": "cni", "role": "cni", "host": "h1"})["token"])
        callers["enrol"] = site.caller(site.admin.made("/hosts", {"name": "h2"})["enrol_token"])
        yield Cast(site, callers)


def call(caller: Caller, operation: Operation, tenant: str) -> TestResponse:
    """Changes nothing: a version that nobody has seen, or a body that is refused after its tenant is looked at."""
    headers = {"If-Match": '"999999"'}
    if operation.method in ("GET", "DELETE"):
        return caller(operation.method, operation.at(tenant), headers=headers, buffered=False)
    body = BODIES[operation.id](tenant) if operation.by == "body" else {"nobody": "knows"}
    return caller(operation.method, operation.at(tenant) + _dry(operation), body, headers=headers)


def _dry(operation: Operation) -> str:
    return "?dry_run=true" if operation.id in ("policies_apply", "ipam_collect") else ""


REFUSED_FOR_ROLE = {401, 403}


def role_of_caller(role: str) -> str:
    """Whoever has roles in tenants only, or none at all, is a member."""
    return "member" if role in (*TENANT_ROLES, "nothing") else role


@by_id
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("tenant", [OWN, OTHER])
def test_every_route_by_every_role_in_its_own_and_in_another_tenant(
    cast: Cast, operation: Operation, role: str, tenant: str
) -> None:
    before = cast.site.revision()
    answer = call(cast.callers[role], operation, tenant)
    status = answer.status_code
    if operation.id == "events_stream":
        answer.close()
    member = role_of_caller(role) == "member"
    if role_of_caller(role) in operation.roles:
        assert status not in REFUSED_FOR_ROLE, answer.text
    elif member and "{tenant}" in operation.path and (tenant == OTHER or role == "nothing"):
        assert status == 404
    elif role not in operation.roles:
        assert status == 403
    elif operation.by == "body" and tenant == OTHER:
        assert status == 404
    else:
        assert status not in REFUSED_FOR_ROLE, answer.text
    assert status < 500
    assert cast.site.revision() == before or operation.id in CHANGES_ANYWAY


CHANGES_ANYWAY = {"tokens_create", "agents_report"}


@by_id
@pytest.mark.parametrize("role", [*TENANT_ROLES, "nothing"])
def test_another_tenants_objects_answer_as_if_there_were_none(cast: Cast, operation: Operation, role: str) -> None:
    """The same status, body and headers for what is another's as for what is not there at all."""
    if "{tenant}" not in operation.path and operation.by != "body":
        return
    there, not_there = (call(cast.callers[role], operation, tenant) for tenant in (OTHER, NOWHERE))
    assert there.status_code == not_there.status_code
    assert there.text.replace(OTHER, NOWHERE) == not_there.text
    assert dict(there.headers) == {**not_there.headers, "Content-Length": there.headers["Content-Length"]}


@pytest.mark.parametrize("role", [*TENANT_ROLES, "nothing"])
@pytest.mark.parametrize(
    "operation",
    [one for one in OPERATIONS if one.method == "GET" and one.id != "events_stream"],
    ids=lambda operation: operation.id,
)
def test_no_answer_holds_a_trace_of_another_tenant(cast: Cast, operation: Operation, role: str) -> None:
    answer = call(cast.callers[role], operation, OWN)
    if answer.status_code == 200:
        assert not TRACES.search(OWN_NAMES.sub("", answer.text)), answer.text
    names = {"tenant": OTHER, **dict.fromkeys(("network", "policy", "endpoint"), f"{OTHER}/secret")}
    for name in operation.parameters & names.keys() if "{" not in operation.path else ():
        asked = cast.callers[role].get(f"{operation.path}?{name}={names[name]}")
        if answer.status_code == 200:
            assert asked.get_json()["items"] == [], (name, asked.text)


def test_lists_show_what_is_ones_own(cast: Cast) -> None:
    """So that the tests above do not pass on empty lists."""
    operator, boss = cast.callers["tenant-operator"], cast.callers["tenant-admin"]
    assert [one["name"] for one in operator.get("/tenants").get_json()["items"]] == [OWN]
    for path, name in (("/networks", "acme/secret"), ("/endpoints", "acme/secret"), ("/policies", "acme/secret")):
        found = {one["name"] for one in operator.get(path).get_json()["items"]}
        assert name in found and not any(other.startswith(OTHER) for other in found)
        assert {one["name"] for one in cast.site.viewer.get(path).get_json()["items"]} >= {name, "globex/secret"}
    scopes = {one["scope"] for one in operator.get("/dns/records").get_json()["items"]}
    assert scopes == {OWN, f"{OWN}/secret"}
    assert [one["endpoint"] for one in operator.get("/publications").get_json()["items"]] == [f"{OWN}/secret"]
    assert len(cast.site.viewer.get("/dns/records").get_json()["items"]) == 4
    reserved = operator.get(f"/networks/{OWN}/secret/reservations").get_json()["items"]
    assert [one["name"] for one in reserved] == ["secret"]
    assert {one["tenant"] for one in boss.get("/tokens").get_json()["items"]} == {OWN}
    assert {one["tenant"] for one in boss.get("/role-bindings").get_json()["items"]} == {OWN}
    assert {one["tenant"] for one in boss.get("/audit").get_json()["items"]} == {OWN}


def test_the_rules_are_these() -> None:
    """What tenants' people may change: a new line here is for a reviewer to agree with."""
    may = {role: {one.id for one in OPERATIONS if role in one.roles and one.method != "GET"} for role in TENANT_ROLES}
    assert may["tenant-viewer"] == {"explain_ask"}
    assert may["tenant-operator"] == may["tenant-viewer"] | {"endpoints_update", "endpoints_delete"}
    assert may["tenant-admin"] == may["tenant-operator"] | {
        *("networks_create", "networks_update", "networks_delete", "networks_add_subnet", "networks_remove_subnet"),
        *("pools_reserve", "pools_unreserve", "publications_create", "publications_delete"),
        *("dns_put_of_tenant", "dns_delete_of_tenant", "dns_put_of_network", "dns_delete_of_network"),
        *("policies_apply", "policies_delete", "tokens_create", "tokens_delete", "people_grant", "people_revoke"),
    }
    assert {one.id for one in OPERATIONS if "viewer" in one.roles and one.method != "GET"} == {"explain_ask"}
