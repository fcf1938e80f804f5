"""The command line can do what the API can: each operation has its command, and each of its parameters an option.

Computed from the description, so that what is new there fails here until it has one, or a reason to have none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click
import pytest

from client.root import COMMANDS, load
from tests.web.compatibility import Json
from tests.web.test_compatibility import described, released

CARRIED_OUT: dict[str, str | tuple[str, ...]] = {
    "audit_find": ("audit list", "audit export"),
    "audit_verify": "audit verify",
    "isolation_cluster": "cluster show",
    "isolation_set_cluster": "cluster set",
    "rules_denied": "policy denied",
    "dns_get": "dns domain",
    "dns_set_domain": "dns domain",
    "dns_find": "dns list",
    "dns_put_of_tenant": "dns add",
    "dns_put_of_network": "dns add",
    "dns_delete_of_tenant": "dns remove",
    "dns_delete_of_network": "dns remove",
    "endpoints_find": "endpoint list",
    "endpoints_get": "endpoint show",
    "endpoints_update": ("endpoint label", "endpoint set", "endpoint move"),
    "endpoints_delete": "endpoint delete",
    "traffic_endpoint": "endpoint stats",
    "explain_ask": "explain",
    "people_find_groups": "group list",
    "people_create_group": "group create",
    "people_get_group": "group show",
    "people_delete_group": "group delete",
    "people_add_member": "group add",
    "people_remove_member": "group remove",
    "hosts_find": "host list",
    "hosts_create": "host create",
    "hosts_get": "host show",
    "hosts_update": "host label",
    "hosts_delete": "host delete",
    "hosts_token": "host token",
    "traffic_host": "host stats",
    "ipam_usage": "ipam show",
    "ipam_check": "ipam check",
    "ipam_collect": "ipam gc",
    "ipam_warnings": ("ipam show", "status"),
    "names_find": "policy names",
    "networks_find": "network list",
    "networks_create": "network create",
    "networks_get": "network show",
    "networks_update": ("network update", "network label"),
    "networks_delete": "network delete",
    "networks_add_subnet": "network subnet add",
    "networks_remove_subnet": "network subnet remove",
    "traffic_network": "network stats",
    "pools_reserved": "reservation list",
    "pools_reserve": "reservation create",
    "pools_unreserve": "reservation delete",
    "policies_find": "policy list",
    "policies_apply": "policy apply",
    "policies_get": "policy get",
    "policies_get_of_cluster": "policy get",
    "policies_delete": "policy delete",
    "policies_delete_of_cluster": "policy delete",
    "pools_find": "pool list",
    "pools_create": "pool create",
    "pools_get": "pool show",
    "pools_update": ("pool enable", "pool disable", "pool drain"),
    "pools_delete": "pool delete",
    "publications_find": "published",
    "publications_create": "publish",
    "publications_delete": "unpublish",
    "revisions_find": "revision list",
    "revisions_get": ("revision show", "revision wait"),
    "people_find_bindings": "role list",
    "people_grant": "role grant",
    "people_revoke": "role revoke",
    "rules_find": ("policy rules", "policy unused"),
    "tenants_find": "tenant list",
    "tenants_create": "tenant create",
    "tenants_get": "tenant show",
    "tenants_update": ("tenant label", "tenant quota", "tenant deny"),
    "tenants_delete": "tenant delete",
    "isolation_make_global": "tenant global",
    "isolation_isolate": "tenant isolate",
    "isolation_join": "tenant join",
    "isolation_peer": "tenant peer",
    "isolation_unpeer": "tenant unpeer",
    "tokens_find": "token list",
    "tokens_create": "token create",
    "tokens_delete": "token revoke",
    "people_find_users": "user list",
    "people_create_user": "user create",
    "people_get_user": "user get",
    "people_delete_user": "user delete",
    "people_set_password": "user passwd",
    "meta_whoami": "login",
    "attachments_attach": "attach",
    "attachments_detach": "detach",
}
WITHOUT_COMMAND = {
    "agents_": "what agents say",
    "certificates_sign": "what agents say",
    "attachments_get": "what agents say",
    "attachments_rename": "what agents say",
    "publications_replace": "what agents say",
    "engine_networks_": "what agents say",
    "dns_names": "what agents say",
    "dns_known": "`dns add` and `remove` wait for it",
    "dns_get_of_tenant": "`dns list` shows all there is of it",
    "dns_get_of_network": "`dns list` shows all there is of it",
    "events_stream": "a stream, for programs",
    "ipam_prometheus": "metrics, for Prometheus",
    "health_healthz": "for load balancers",
}
WITHOUT_OPTION = {
    "cursor": "pages are followed",
    "oldest_first": "`--sort=created` says the same, and `audit export` has it so",
    "names_but": "for agents that wait for the other hosts",
    "unused": "`policy unused` is that",
    "policy of rules_find": "`policy rules` is of one",
}
SAID_BY = {"wait": ("--wait", "--timeout")}
"""Otherwise by an option of the parameter's name."""


def operations() -> Iterator[tuple[str, str, Json]]:
    """Of the API as it is and as it was released: id, method, description."""
    seen: set[str] = set()
    for document in (described(), json.loads(released().read_text())):
        for methods in document["paths"].values():
            for method, operation in methods.items():
                if operation["operationId"] not in seen:
                    seen.add(operation["operationId"])
                    yield operation["operationId"], method, operation


OPERATIONS = {id: (method, operation) for id, method, operation in operations()}
WITH_COMMAND = [id for id in OPERATIONS if not id.startswith(tuple(WITHOUT_COMMAND))]


def commands(id: str) -> list[click.Command]:
    names = CARRIED_OUT[id]
    return [command(name) for name in ([names] if isinstance(names, str) else names)]


def command(name: str) -> click.Command:
    first, *rest = name.split()
    found = load(first, COMMANDS[first].target)
    for part in rest:
        assert isinstance(found, click.Group)
        sub = found.get_command(click.Context(found), part)
        assert sub is not None, f"there is no `warren {name}`"
        found = sub
    assert not isinstance(found, click.Group)
    return found


def options(of: click.Command) -> dict[str, click.Option]:
    return {name: one for one in of.params if isinstance(one, click.Option) for name in one.opts}


def parameters(id: str) -> list[Json]:
    return [
        one
        for one in OPERATIONS[id][1].get("parameters", ())
        if one["in"] == "query" and not {one["name"], f"{one['name']} of {id}"} & WITHOUT_OPTION.keys()
    ]


def test_every_operation_has_a_command_or_a_reason_to_have_none() -> None:
    assert sorted(CARRIED_OUT) == sorted(WITH_COMMAND)
    assert all(any(id.startswith(one) for id in OPERATIONS) for one in WITHOUT_COMMAND)


@pytest.mark.parametrize("id", sorted(CARRIED_OUT))
def test_every_parameter_has_an_option(id: str) -> None:
    """Of a change, each command has all; of what is asked, one of them."""
    changes = OPERATIONS[id][0] != "get"
    has = [options(one) for one in commands(id)]
    for parameter in parameters(id):
        name = parameter["name"]
        for option in SAID_BY.get(name, (f"--{name.replace('_', '-')}",)):
            found = [option in own for own in has]
            if name == "wait" and not changes:
                continue  # `revision wait` waits by what it is
            assert all(found) if changes else any(found), f"{CARRIED_OUT[id]} lacks {option}"


@pytest.mark.parametrize("id", sorted(CARRIED_OUT))
def test_every_value_is_taken_and_no_other(id: str) -> None:
    for parameter in parameters(id):
        values = parameter["schema"].get("enum")
        found = [
            own[f"--{parameter['name']}"].type
            for one in commands(id)
            if f"--{parameter['name']}" in (own := options(one))
        ]
        for kind in found:
            if isinstance(kind, click.Choice):
                assert sorted(kind.choices) == sorted(values or ()), f"{CARRIED_OUT[id]} --{parameter['name']}"
            elif values is not None:
                assert parameter["name"] == "noun", "a choice of a few"


@pytest.mark.parametrize("id", [id for id in sorted(CARRIED_OUT) if OPERATIONS[id][0] != "get"])
def test_every_change_may_be_tried_and_waited_for(id: str) -> None:
    """What the API lets be tried; the others are for agents, and `explain` changes nothing."""
    asked = {one["name"] for one in parameters(id)}
    for one in commands(id):
        has = options(one)
        if "dry_run" in asked:
            assert {"--dry-run", "--wait", "--timeout", "--output"} <= has.keys(), f"{CARRIED_OUT[id]}"
            assert has["--wait"].secondary_opts == ["--no-wait"]
        else:
            assert "--dry-run" not in has


def test_every_list_has_a_limit() -> None:
    lists = [
        id for id in CARRIED_OUT if OPERATIONS[id][0] == "get" and any(p["name"] == "limit" for p in parameters(id))
    ]
    assert len(lists) > 15
    for id in lists:
        assert any("--limit" in options(one) for one in commands(id)), CARRIED_OUT[id]


def test_a_new_parameter_would_be_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the test itself can fail."""
    method, operation = OPERATIONS["tenants_find"]
    colour: Any = {"in": "query", "name": "colour", "schema": {"type": "string"}}
    monkeypatch.setitem(OPERATIONS, "tenants_find", (method, {**operation, "parameters": [colour]}))
    with pytest.raises(AssertionError, match="tenant list lacks --colour"):
        test_every_parameter_has_an_option("tenants_find")
