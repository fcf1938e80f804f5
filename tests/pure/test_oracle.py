"""The reference oracle on cases whose answer everybody knows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.oracle import EGRESS, INGRESS, Answer, Document, Endpoint, Port, Question, Site, Tenant, judge

EVERYBODY: Document = {}


def tenant(name: str, *default_deny: str, **labels: str) -> Tenant:
    return Tenant(name, {"kubernetes.io/metadata.name": name, **labels}, frozenset(default_deny))


def endpoint(name: str, number: int, port: int = 80) -> Endpoint:
    """`acme/web`: tenant and app, with a port called http."""
    owner, _, app = name.partition("/")
    addresses = (f"10.0.0.{number}", f"fd00::{number:x}")
    return Endpoint(name, owner, {"app": app}, (Port("http", "tcp", port),), addresses)


ENDPOINTS = [endpoint("acme/web", 1), endpoint("acme/db", 2, port=5432), endpoint("beta/web", 3, port=8080)]


def site(*tenants: Tenant, acquainted: bool = True) -> Site:
    chosen = {one.name: one for one in (tenant("acme", team="red"), tenant("beta", team="blue"), *tenants)}
    pairs = frozenset({frozenset({"acme", "beta"})} if acquainted else ())
    return Site(chosen, {one.name: one for one in ENDPOINTS}, pairs)


def network_policy(name: str = "p", selector: Document = EVERYBODY, namespace: str = "acme", **spec: Any) -> Document:
    metadata = {"name": name, "namespace": namespace}
    return {"kind": "NetworkPolicy", "metadata": metadata, "spec": {"podSelector": selector, **spec}}


def cluster_policy(tier: str, priority: int, action: str, name: str = "c", **ingress: Any) -> Document:
    """About ingress of everybody, from everybody unless it says otherwise."""
    rule = {"action": action, "from": [{"namespaces": {}}], **ingress}
    spec = {"tier": tier, "priority": priority, "subject": {"namespaces": {}}, "ingress": [rule]}
    return {"kind": "ClusterNetworkPolicy", "metadata": {"name": name}, "spec": spec}


def ask(
    documents: list[Document],
    source: str = "acme/web",
    destination: str = "acme/db",
    protocol: str = "tcp",
    port: int = 80,
    code: int = 0,
    version: int = 4,
    at: Site | None = None,
) -> Answer:
    return judge(at or site(), documents, Question(source, destination, protocol, port, code, version))


def app(name: str) -> Document:
    return {"matchLabels": {"app": name}}


def test_without_policies_everybody_who_may_talk_talks() -> None:
    assert ask([]).allowed
    assert ask([], destination="beta/web").allowed
    assert ask([], destination="beta/web", at=site(acquainted=False)) == Answer(False, "tenant isolation")


def test_no_policy_opens_what_tenant_isolation_closes() -> None:
    accept = cluster_policy("Admin", 0, "Accept")
    assert ask([accept], destination="beta/web", at=site(acquainted=False)).why == "tenant isolation"


def test_a_policy_without_rules_denies_all_ingress_and_no_egress() -> None:
    deny = network_policy(selector=app("db"))
    assert ask([deny]) == Answer(False, "Ingress no rule of acme/p")
    assert ask([deny], source="acme/db", destination="acme/web").allowed
    assert ask([deny], source="acme/db", destination="acme/web", protocol="icmp", port=8).allowed


def test_an_egress_policy_isolates_egress_only() -> None:
    deny = network_policy(policyTypes=[EGRESS])
    assert ask([deny]).why == "Egress no rule of acme/p"
    assert ask([deny], source="beta/web", destination="acme/web").allowed


def test_policy_types_follow_from_the_rules() -> None:
    both = network_policy(egress=[{"ports": [{"port": 80}]}])
    assert ask([both]).why == "Ingress no rule of acme/p", "egress is allowed, ingress is isolated as always"
    assert ask([network_policy(egress=[], ingress=[{}])]).allowed, "an empty list is no egress rule"
    assert not ask([network_policy(egress=[], ingress=[{}], policyTypes=[INGRESS, EGRESS])]).allowed


def test_policies_add_up() -> None:
    from_db = network_policy("from-db", ingress=[{"from": [{"podSelector": app("db")}]}])
    from_web = network_policy("from-web", ingress=[{"from": [{"podSelector": app("web")}]}])
    assert not ask([from_db]).allowed
    assert ask([from_db, from_web]) == Answer(True, "Egress default; Ingress acme/from-web rule 1")


def test_a_pod_selector_alone_speaks_of_the_own_tenant() -> None:
    from_web = network_policy(ingress=[{"from": [{"podSelector": app("web")}]}])
    assert ask([from_web]).allowed
    assert not ask([from_web], source="beta/web").allowed


def test_a_namespace_selector_speaks_of_tenants_and_both_together_of_both() -> None:
    blue = {"matchExpressions": [{"key": "team", "operator": "In", "values": ["blue"]}]}
    from_blue = network_policy(ingress=[{"from": [{"namespaceSelector": blue}]}])
    from_blue_db = network_policy(ingress=[{"from": [{"namespaceSelector": blue, "podSelector": app("db")}]}])
    assert ask([from_blue], source="beta/web").allowed
    assert not ask([from_blue]).allowed
    assert not ask([from_blue_db], source="beta/web").allowed


@pytest.mark.parametrize(
    ("operator", "key", "allowed"),
    [
        ("In", "app", True),
        ("In", "missing", False),
        ("NotIn", "app", False),
        ("NotIn", "missing", True),
        ("Exists", "app", True),
        ("Exists", "missing", False),
        ("DoesNotExist", "app", False),
        ("DoesNotExist", "missing", True),
    ],
)
def test_label_operators(operator: str, key: str, allowed: bool) -> None:
    values = {"values": ["web"]} if operator.endswith("In") else {}
    selector = {"matchExpressions": [{"key": key, "operator": operator, **values}]}
    assert ask([network_policy(ingress=[{"from": [{"podSelector": selector}]}])]).allowed is allowed


def test_an_address_block_holds_all_but_its_exceptions_and_one_ip_version() -> None:
    def block(*excepts: str) -> list[Document]:
        entry = {"ipBlock": {"cidr": "10.0.0.0/24", "except": list(excepts)}}
        return [network_policy(ingress=[{"from": [entry]}])]

    assert ask(block()).allowed
    assert ask(block("10.0.0.2/32")).allowed
    assert not ask(block("10.0.0.0/31")).allowed
    assert not ask(block(), version=6).allowed


def test_ports_by_number_range_and_protocol() -> None:
    def ports(**port: Any) -> list[Document]:
        return [network_policy(ingress=[{"ports": [port]}])]

    assert ask(ports(port=80)).allowed
    assert not ask(ports(port=80), port=81).allowed
    assert not ask(ports(port=80), protocol="sctp").allowed, "SCTP is not TCP"
    assert not ask(ports(protocol="UDP", port=80)).allowed
    assert ask(ports(protocol="UDP"), protocol="udp", port=1).allowed
    for port, allowed in ((79, False), (80, True), (90, True), (91, False)):
        assert ask(ports(port=80, endPort=90), port=port).allowed is allowed


def test_a_named_port_means_what_it_means_at_the_destination() -> None:
    ingress = [network_policy(ingress=[{"ports": [{"port": "http"}]}])]
    assert ask(ingress, port=5432).allowed
    assert not ask(ingress, port=80).allowed
    assert not ask(ingress, port=5432, protocol="udp").allowed
    egress = [network_policy(policyTypes=[EGRESS], egress=[{"ports": [{"port": "http"}]}])]
    assert ask(egress, port=5432).allowed
    assert ask(egress, destination="beta/web", port=8080).allowed
    assert not ask(egress, destination="beta/web", port=80).allowed, "80 is http at the source"


def test_icmp_by_type_and_code() -> None:
    def icmp(**port: Any) -> list[Document]:
        return [network_policy(ingress=[{"ports": [{"protocol": "ICMP", **port}]}])]

    assert ask(icmp(), protocol="icmp", port=8).allowed
    assert ask(icmp(type=8), protocol="icmp", port=8, code=1).allowed
    assert not ask(icmp(type=8, code=0), protocol="icmp", port=8, code=1).allowed
    assert not ask(icmp(type=13), protocol="icmp", port=8).allowed
    assert not ask(icmp(), protocol="icmpv6", port=128, version=6).allowed


def test_admins_are_asked_first_by_priority_then_by_name() -> None:
    allow = network_policy(ingress=[{}])
    deny, accept = cluster_policy("Admin", 5, "Deny", "a"), cluster_policy("Admin", 5, "Accept", "b")
    assert ask([accept, deny, allow]) == Answer(False, "Ingress Admin a rule 1")
    assert ask([cluster_policy("Admin", 4, "Accept", "z"), deny]).allowed
    assert ask([cluster_policy("Admin", 10, "Accept", "a"), cluster_policy("Admin", 9, "Deny", "z")]).why.endswith(
        "z rule 1"
    )


def test_admins_accept_beats_the_tenants_deny() -> None:
    assert ask([network_policy(), cluster_policy("Admin", 0, "Accept")]).allowed


def test_pass_leaves_it_to_the_tenant_and_then_to_the_baseline() -> None:
    passing = cluster_policy("Admin", 1, "Pass", "pass")
    deny, baseline = cluster_policy("Admin", 2, "Deny", "deny"), cluster_policy("Baseline", 0, "Deny", "base")
    assert ask([passing, deny]).allowed
    assert ask([passing, deny, network_policy()]).why == "Ingress no rule of acme/p"
    assert ask([passing, deny, baseline]).why == "Ingress Baseline base rule 1"
    assert ask([cluster_policy("Baseline", 0, "Pass", "a"), baseline]).allowed, "after the last tier all may pass"


def test_baseline_is_asked_only_of_endpoints_that_no_tenants_policy_selects() -> None:
    baseline = cluster_policy("Baseline", 0, "Deny")
    assert not ask([baseline]).allowed
    assert ask([baseline, network_policy(ingress=[{}])]).allowed
    assert not ask([baseline, network_policy(policyTypes=[EGRESS], egress=[{}])]).allowed, "of this direction"


def test_a_tenant_that_denies_by_default_is_as_if_selected() -> None:
    closed = site(tenant("acme", INGRESS))
    assert ask([], at=closed) == Answer(False, "Ingress default deny of acme")
    assert ask([network_policy(ingress=[{}])], at=closed).allowed
    assert not ask([cluster_policy("Baseline", 0, "Accept")], at=closed).allowed, "baseline is not asked"
    assert ask([cluster_policy("Admin", 0, "Accept")], at=closed).allowed
    assert ask([], destination="beta/web", at=closed).allowed


def test_cluster_policies_protocols() -> None:
    def denying(*protocols: Document) -> list[Document]:
        return [cluster_policy("Admin", 0, "Deny", protocols=list(protocols))]

    assert not ask(denying({"tcp": {}})).allowed
    assert ask(denying({"udp": {}}, {"sctp": {}})).allowed
    assert not ask(denying({"tcp": {"destinationPort": {"number": 80}}})).allowed
    assert not ask(denying({"tcp": {"destinationPort": {"range": {"start": 70, "end": 80}}}})).allowed
    assert ask(denying({"tcp": {"destinationPort": {"range": {"start": 70, "end": 79}}}})).allowed
    assert not ask(denying({"destinationNamedPort": "http"}), port=5432).allowed
    assert ask(denying({"destinationNamedPort": "http"}), port=80).allowed
    assert not ask(denying({"icmp": {"type": 8}}), protocol="icmp", port=8).allowed


def test_cluster_policies_choose_networks_for_egress() -> None:
    rule = {"action": "Deny", "to": [{"networks": ["10.0.0.2/32", "fd00::2/128"]}]}
    spec = {"tier": "Admin", "priority": 0, "subject": {"pods": {"namespaceSelector": {}, "podSelector": app("web")}}}
    deny = {"kind": "ClusterNetworkPolicy", "metadata": {"name": "c"}, "spec": {**spec, "egress": [rule]}}
    assert ask([deny]).why == "Egress Admin c rule 1"
    assert not ask([deny], version=6).allowed
    assert ask([deny], destination="beta/web").allowed
    assert ask([deny], source="acme/db", destination="acme/web").allowed
