"""Whatever people may change by the API they may change on a page: of each operation of the description there is a form
that the same roles may send, with a place for everything that its body may say.

An operation that is added, or a field, fails here until it has one, or stands below with the reason why not.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from werkzeug.routing import Rule as Route

from tests.ui.test_tenants_people import APP, OWN, Cast, address, cast, rule  # noqa: F401
from tests.web.test_matrix import OPERATIONS, Operation

FORMS = {
    "dns_delete_of_network": "delete_record",
    "dns_delete_of_tenant": "delete_record",
    "dns_put_of_network": "edit_record",
    "dns_put_of_tenant": "edit_record",
    "dns_set_domain": "edit_domain",
    "endpoints_delete": "delete_endpoint",
    "endpoints_update": "edit_endpoint",
    "explain_ask": "trace",
    "hosts_create": "new_host",
    "hosts_delete": "delete_host",
    "hosts_token": "host_token",
    "hosts_update": "edit_host",
    "ipam_collect": "repair_addresses",
    "isolation_isolate": "isolate_tenant",
    "isolation_join": "join_tenant",
    "isolation_make_global": "globalise_tenant",
    "isolation_peer": "peer_tenant",
    "isolation_set_cluster": "cluster_isolation",
    "isolation_unpeer": "unpeer_tenant",
    "networks_add_subnet": "extend",
    "networks_create": "new_network",
    "networks_delete": "delete_network",
    "networks_remove_subnet": "shrink",
    "networks_update": "edit_network",
    "people_add_member": "add_member",
    "people_create_group": "new_group",
    "people_create_user": "new_user",
    "people_delete_group": "delete_group",
    "people_delete_user": "delete_user",
    "people_grant": "new_role",
    "people_remove_member": "remove_member",
    "people_revoke": "revoke_role",
    "people_set_password": "new_password",
    "policies_apply": "new_policy",
    "policies_delete": "delete_policy",
    "policies_delete_of_cluster": "delete_cluster_policy",
    "pools_create": "new_pool",
    "pools_delete": "delete_pool",
    "pools_reserve": "reserve",
    "pools_unreserve": "unreserve",
    "pools_update": "edit_pool",
    "publications_create": "new_publication",
    "publications_delete": "unpublish",
    "tenants_create": "new_tenant",
    "tenants_delete": "delete_tenant",
    "tenants_update": "edit_tenant",
    "tokens_create": "new_token",
    "tokens_delete": "revoke_token",
}
ON_THE_MACHINE = "it needs the container's network namespace: who may log in there runs `warren attach`"
BY_ITS_RUNTIME = "what a container's runtime asks for; people publish by hand beside it"
BY_ITS_ENGINE = "a network of a host's Docker or Podman; people make networks of tenants"
WITHOUT = {
    "attachments_attach": ON_THE_MACHINE,
    "attachments_detach": ON_THE_MACHINE,
    "attachments_rename": ON_THE_MACHINE,
    "engine_networks_provide": BY_ITS_ENGINE,
    "engine_networks_withdraw": BY_ITS_ENGINE,
    "publications_replace": BY_ITS_RUNTIME,
}
ELSEWHERE = {"default_deny": "deny_ingress", "default_network": "without_network", "quota": "quota_networks"}
"""What has another name on a page."""
PEOPLE = {"admin", "viewer", "tenant-admin", "tenant-operator", "tenant-viewer"}
WRITES = [one for one in OPERATIONS if one.method != "GET" and one.roles & PEOPLE]
BY_VIEW: dict[str, list[Route]] = {}
for route in APP.url_map.iter_rules():
    BY_VIEW.setdefault(route.endpoint.removeprefix("ui."), []).append(route)


def body(operation: Operation) -> set[str]:
    """The names of all that its body may say."""
    found: Any = APP.spec["paths"][f"/api/v1{operation.path}"][operation.method.lower()]
    if "requestBody" not in found:
        return set()
    name = found["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    return set(APP.spec["components"]["schemas"][name]["properties"])


def test_every_operation_that_people_may_call_has_a_form_or_a_reason() -> None:
    assert {one.id for one in WRITES} == FORMS.keys() | WITHOUT.keys()
    assert not FORMS.keys() & WITHOUT.keys()


@pytest.mark.parametrize("operation", [one for one in WRITES if one.id in FORMS], ids=lambda operation: operation.id)
def test_the_form_is_for_the_same_people_and_has_all_fields(cast: Cast, operation: Operation) -> None:  # noqa: F811
    routes = BY_VIEW[FORMS[operation.id]]
    for found in routes:
        assert "POST" in (found.methods or ()) or operation.id == "explain_ask"
        assert rule(found).roles == operation.roles, found.rule
    # Of a record there is one route for a tenant's and one for a network's.
    named = [one for one in routes if ("network" in one.arguments) == ("{network}" in operation.path)] or routes
    who = "admin" if "admin" in operation.roles else "viewer"
    answer = cast.browsers[who].get(address(named[0], OWN))
    assert answer.status_code == 200, answer.text
    there = set(re.findall(r'<(?:input|select|textarea)[^>]* name="(\w+)"', answer.text))
    wanted = {ELSEWHERE.get(name, name) for name in body(operation)}
    assert wanted <= there, f"{FORMS[operation.id]} has no place for {', '.join(sorted(wanted - there))}"
