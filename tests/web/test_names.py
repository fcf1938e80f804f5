"""DNS names over HTTP: what they stand for, until when, and whose rules mean them."""

from __future__ import annotations

import ipaddress
from typing import Any

from controller.calc.names import Lifetime, Told
from db import resolved
from db.changes import transaction
from tests.web.conftest import Site


def learn(site: Site, *told: tuple[str, str]) -> int:
    with transaction(site.engine) as tx:
        addresses = [(name, ipaddress.ip_address(ip)) for name, ip in told]
        resolved.learn(tx, [Told(name, (ip.version, int(ip)), 100) for name, ip in addresses], Lifetime())
    return tx.revision


def firewall(site: Site, tenant: str, *names: str) -> None:
    site.admin.made("/tenants", {"name": tenant})
    document = {
        "apiVersion": "network.openshift.io/v1",
        "kind": "EgressNetworkPolicy",
        "metadata": {"name": "default", "namespace": tenant},
        "spec": {"egress": [{"type": "Allow", "to": {"dnsName": name}} for name in names]},
    }
    assert site.admin.post("/policies", {"documents": [document]}).status_code == 200


def body(answer: Any) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def test_names_are_listed_with_addresses_and_the_policies_that_mean_them(any_site: Site) -> None:
    firewall(any_site, "acme", "www.example.org")
    firewall(any_site, "beta", "*.Example.org.", "example.org")
    cluster = {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "out"},
        "spec": {
            "tier": "Admin",
            "priority": 5,
            "subject": {"namespaces": {}},
            "egress": [{"action": "Accept", "to": [{"domainNames": ["*.example.org"]}]}],
        },
    }
    assert any_site.admin.post("/policies", {"documents": [cluster]}).status_code == 200
    www, plain = "www.example.org", "example.org"
    revision = learn(any_site, (www, "2001:db8::7"), (www, "203.0.113.70"), (www, "203.0.113.8"), (plain, "192.0.2.1"))
    found = body(any_site.viewer.get("/names"))["items"]
    shown = [(item["name"], [one["address"] for one in item["addresses"]], item["policies"]) for item in found]
    assert shown == [
        (plain, ["192.0.2.1"], ["beta/default"]),
        (www, ["203.0.113.8", "203.0.113.70", "2001:db8::7"], ["acme/default", "beta/default", "out"]),
    ]
    assert {item["revision"] for item in found} == {revision}
    page = body(any_site.viewer.get("/names?limit=1"))
    (rest,) = body(any_site.viewer.get(f"/names?cursor={page['next']}"))["items"]
    assert (rest["name"], page["items"][0]["name"]) == (www, plain)


def test_a_name_that_comes_and_goes_is_in_the_log(any_site: Site) -> None:
    revision = learn(any_site, ("www.example.org", "203.0.113.7"))
    log = body(any_site.viewer.get(f"/revisions?after={revision - 1}"))["items"]
    assert [(change["noun"], change["op"]) for change in log] == [("name", "create")]
