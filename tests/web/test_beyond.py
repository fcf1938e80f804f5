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


@pytest.fixture
def open_port(site: Site) -> Site:
    """TCP port 8080 of h1, and 443 of all hosts, lead to acme/web1."""
    site.admin.made("/tenants", {"name": "acme"})
    site.admin.made("/networks", {"name": "acme/web", "subnets": ["10.20.0.0/24"]})
    asked = {"network": "acme/web", "name": "web1", "netns": "/run/netns/web1"}
    assert site.enrolled("h1").put("/hosts/h1/attachments/c1/eth0", asked).status_code == 201
    site.admin.made("/publications", {"endpoint": "acme/web1", "port": 80, "host_port": 8080})
    site.admin.made("/publications", {"endpoint": "acme/web1", "port": 443, "host_port": 443, "mesh": True})
    return site


PORTS = ("TCP port 8080 of h1", "TCP port 443 of all hosts")


def test_the_ports_of_a_network_that_closes_are_named_and_say_so_while_it_is_closed(open_port: Site) -> None:
    def problems() -> list[list[str]]:
        return [one["problems"] for one in open_port.admin.get("/publications").get_json()["items"]]

    def beyond(outbound: bool) -> list[str]:
        told = open_port.admin.patch("/networks/acme/web?dry_run=true", {"outbound": outbound}).get_json()
        assert [word for word in told["words"] if word.startswith("Beyond")] == [
            f"Beyond endpoints: {one}." for one in told["beyond"]
        ]
        found: list[str] = told["beyond"][1:]
        return found

    assert problems() == [[], []]
    assert beyond(False) == [f"{port} leads nowhere while network acme/web is closed to the outside" for port in PORTS]
    assert beyond(True) == []
    assert open_port.admin.patch("/networks/acme/web", {"outbound": False}).status_code == 200
    assert problems() == [["network acme/web is closed to the outside"]] * 2
    assert beyond(True) == [
        "TCP port 8080 of h1 leads to port 80 of acme/web1 again",
        "TCP port 443 of all hosts leads to port 443 of acme/web1 again",
    ]
    assert open_port.admin.patch("/networks/acme/web", {"outbound": True}).status_code == 200
    assert problems() == [[], []]


@pytest.mark.parametrize("path", ["/endpoints/acme/web1?", "/hosts/h1?force=true&"])
def test_the_ports_that_go_with_an_endpoint_are_named(open_port: Site, path: str) -> None:
    told = open_port.admin.delete(f"{path}dry_run=true")
    assert told.status_code == 200, told.text
    assert told.get_json()["beyond"] == [f"{port} leads nowhere any more, as acme/web1 goes" for port in PORTS]


def test_a_port_is_said_to_open_and_to_close(open_port: Site) -> None:
    asked = {"endpoint": "acme/web1", "port": 22, "host_port": 2222}
    told = open_port.admin.post("/publications?dry_run=true", asked).get_json()
    assert told["words"] == [
        "Whoever reaches TCP port 2222 of h1 reaches port 22 of acme/web1.",
        "Everybody gets in: no policy is about what comes to acme/web1.",
        NOTHING,
    ]
    one = open_port.admin.get("/publications").get_json()["items"][0]
    told = open_port.admin.delete(f"/publications/acme/web1/{one['id']}?dry_run=true").get_json()
    assert told["words"] == ["TCP port 8080 of h1 leads nowhere.", NOTHING]


@pytest.mark.parametrize(("scope", "full"), [("acme", "db.acme"), ("acme/web", "db.web.acme")])
def test_a_name_is_said_to_stand_and_to_end(open_port: Site, scope: str, full: str) -> None:
    path, body = f"/dns/records/{scope}/db", {"addresses": ["192.0.2.9"]}
    told = open_port.admin.put(f"{path}?dry_run=true", body).get_json()
    assert told["words"] == [f"{full}.warren.internal stands for 192.0.2.9.", NOTHING]
    assert open_port.admin.put(path, body).status_code == 201
    told = open_port.admin.delete(f"{path}?dry_run=true").get_json()
    assert told["words"] == [f"{full}.warren.internal is not a name any more.", NOTHING]
