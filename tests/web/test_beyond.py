"""Dry runs of what cuts off the outside or the host do not say that nothing changes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web.conftest import Site

NOTHING = "Nothing changes in who reaches whom among endpoints."
FIREWALL = {
    "apiVersion": "network.openshift.io/v1",
    "kind": "EgressNetworkPolicy",
    "metadata": {"name": "default", "namespace": "acme"},
    "spec": {"egress": [{"type": "Deny", "to": {"cidrSelector": "0.0.0.0/0"}}]},
}


def policy(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "p", "namespace": "acme"},
        "spec": {"podSelector": {}, **spec},
    }


EXCEPT = {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["198.51.100.0/24"]}}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (FIREWALL, "egress firewall acme/default may change what endpoints of acme reach outside and of the hosts"),
        (
            policy(policyTypes=["Ingress"], ingress=[{"from": [{"podSelector": {}}]}]),
            "policy acme/p may change what comes from hosts and the outside",
        ),
        (
            policy(policyTypes=["Egress"], egress=[{"to": [{"podSelector": {}}, EXCEPT]}]),
            "policy acme/p may change what goes to the outside and the hosts",
        ),
    ],
)
def test_a_policy_that_says_something_of_the_outside_is_told(site: Site, document: dict[str, Any], words: str) -> None:
    site.admin.made("/tenants", {"name": "acme"})
    told = site.admin.post("/policies?dry_run=true", {"documents": [document]}).get_json()
    assert told["words"] == [NOTHING, f"Beyond endpoints: {words}."]


def test_a_network_that_closes_is_told(site: Site) -> None:
    site.admin.made("/tenants", {"name": "acme"})
    told = site.admin.patch("/networks/acme/default?dry_run=true", {"outbound": False}).get_json()
    closes = "network acme/default closes to the outside: published ports and its hosts' own way, too"
    assert told["words"] == [NOTHING, f"Beyond endpoints: {closes}."]
    told = site.admin.patch("/networks/acme/default?dry_run=true", {"labels": {"a": "b"}}).get_json()
    assert told["words"] == [NOTHING]
