"""What documents say: every form that is accepted, and what it means as a policy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.calc.documents import KINDS, Draft, read
from controller.calc.documents.draft import in_words
from controller.model import Action, Block, DomainName, Members, Policy, Requirement, Rule, Service, Tier

Json = dict[str, Any]
TCP, UDP, SCTP, ICMP, ICMP6 = 6, 17, 132, 1, 58


def network_policy(spec: str) -> Draft:
    metadata = {"name": "p", "namespace": "acme"}
    body = yaml.safe_load(spec) or {}
    return read({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": body})


def cluster_policy(spec: str) -> Draft:
    """Of tier Admin with priority 7 and everybody for its subject, where `spec` does not say otherwise."""
    body = {"tier": "Admin", "priority": 7, "subject": {"namespaces": {}}} | (yaml.safe_load(spec) or {})
    version = "policy.networking.k8s.io/v1alpha2"
    return read({"apiVersion": version, "kind": "ClusterNetworkPolicy", "metadata": {"name": "p"}, "spec": body})


def firewall(spec: str, version: str = "network.openshift.io/v1", kind: str = "EgressNetworkPolicy") -> Draft:
    metadata = {"name": "default", "namespace": "acme"}
    return read({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": yaml.safe_load(spec)})


def label(key: str, value: str) -> Requirement:
    return Requirement(key, "In", (value,))


def accept(peers: Any = None, services: Any = None) -> Rule:
    return Rule("", Action.ACCEPT, peers, services)


# -- NetworkPolicy --

EVERYBODY = (accept(),)


@pytest.mark.parametrize(
    ("spec", "ingress", "egress"),
    [
        ("", (), None),
        ("policyTypes: []", (), None),
        ("policyTypes: null", (), None),
        ("policyTypes: [Ingress]", (), None),
        ("policyTypes: [Egress]", None, ()),
        ("policyTypes: [Ingress, Egress]", (), ()),
        ("ingress: []", (), None),
        ("egress: []", (), None),
        ("ingress: [{}]", EVERYBODY, None),
        ("egress: [{}]", (), EVERYBODY),
        ("{ingress: [{}], egress: [{}]}", EVERYBODY, EVERYBODY),
        ("{ingress: [{}], policyTypes: [Egress]}", None, ()),
        ("{egress: [{}], policyTypes: [Ingress]}", (), None),
        ("{egress: [{}], policyTypes: [Ingress, Egress]}", (), EVERYBODY),
    ],
)
def test_policy_types_default_as_in_kubernetes(spec: str, ingress: Any, egress: Any) -> None:
    draft = network_policy(spec)
    assert (draft.ingress, draft.egress) == (ingress, egress)


@pytest.mark.parametrize("rule", ["{}", "{from: []}", "{from: null}", "{ports: []}", "{from: [], ports: []}"])
def test_a_list_that_is_missing_or_empty_is_no_restriction(rule: str) -> None:
    assert network_policy(f"ingress: [{rule}]").ingress == EVERYBODY


@pytest.mark.parametrize(
    ("selector", "means"),
    [
        ("{}", ()),
        ("null", ()),
        ("{matchLabels: {}}", ()),
        ("{matchLabels: {app: web}}", (label("app", "web"),)),
        ("{matchLabels: {b: '', a: x}}", (label("a", "x"), label("b", ""))),
        ("{matchLabels: {kubernetes.io/metadata.name: acme}}", (label("kubernetes.io/metadata.name", "acme"),)),
        ("{matchExpressions: [{key: a, operator: In, values: [y, x, y]}]}", (Requirement("a", "In", ("x", "y")),)),
        ("{matchExpressions: [{key: a, operator: NotIn, values: [x]}]}", (Requirement("a", "NotIn", ("x",)),)),
        ("{matchExpressions: [{key: a, operator: Exists}]}", (Requirement("a", "Exists"),)),
        ("{matchExpressions: [{key: a, operator: DoesNotExist, values: []}]}", (Requirement("a", "DoesNotExist"),)),
        (
            "{matchExpressions: [{key: b, operator: Exists}, {key: a, operator: In, values: [x]}], "
            "matchLabels: {a: x}}",
            (label("a", "x"), Requirement("b", "Exists")),
        ),
    ],
)
def test_a_selector_reads_the_same_in_every_place_and_order(selector: str, means: Any) -> None:
    assert network_policy(f"podSelector: {selector}").endpoints == means
    peer = f"ingress: [{{from: [{{podSelector: {selector}, namespaceSelector: {{}}}}]}}]"
    assert network_policy(peer).ingress == (accept((Members((), means),)),)
    subject = f"subject: {{pods: {{podSelector: {selector if selector != 'null' else '{}'}}}}}"
    assert cluster_policy(subject).endpoints == means


@pytest.mark.parametrize(
    ("peer", "means"),
    [
        ("{podSelector: {}}", Members(None, ())),
        ("{podSelector: {matchLabels: {app: web}}}", Members(None, (label("app", "web"),))),
        ("{namespaceSelector: {}}", Members((), ())),
        ("{namespaceSelector: {matchLabels: {team: a}}}", Members((label("team", "a"),), ())),
        (
            "{namespaceSelector: {matchLabels: {team: a}}, podSelector: {matchLabels: {app: web}}}",
            Members((label("team", "a"),), (label("app", "web"),)),
        ),
        ("{ipBlock: {cidr: 10.1.0.0/16}}", Block(4, 0x0A010000, 16)),
        ("{ipBlock: {cidr: 10.1.2.3/16}}", Block(4, 0x0A010000, 16)),
        ("{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}", Block(4, 0, 0, ((0x0A000000, 8),))),
        (
            "{ipBlock: {cidr: 10.0.0.0/8, except: [10.2.0.0/16, 10.1.0.0/16, 10.2.0.0/16]}}",
            Block(4, 0x0A000000, 8, ((0x0A010000, 16), (0x0A020000, 16))),
        ),
        ("{ipBlock: {cidr: 'fd00::/8', except: ['fd01::/16']}}", Block(6, 0xFD << 120, 8, ((0xFD01 << 112, 16),))),
    ],
)
def test_a_peer_is_endpoints_here_or_elsewhere_or_addresses(peer: str, means: Any) -> None:
    assert network_policy(f"ingress: [{{from: [{peer}]}}]").ingress == (accept((means,)),)
    assert network_policy(f"egress: [{{to: [{peer}]}}]").egress == (accept((means,)),)


@pytest.mark.parametrize(
    ("port", "means"),
    [
        ("{}", Service(TCP)),
        ("{protocol: UDP}", Service(UDP)),
        ("{port: 80}", Service(TCP, 80, 80)),
        ("{port: 80, protocol: SCTP}", Service(SCTP, 80, 80)),
        ("{port: 1, endPort: 65535}", Service(TCP, 1, 65535)),
        ("{port: 80, endPort: 80}", Service(TCP, 80, 80)),
        ("{port: http}", Service(TCP, name="http")),
        ("{port: dns-tcp, protocol: UDP}", Service(UDP, name="dns-tcp")),
        ("{port: 3com}", Service(TCP, name="3com")),
        ("{protocol: ICMP}", Service(ICMP)),
        ("{protocol: ICMP, type: 8}", Service(ICMP, 0x0800, 0x08FF)),
        ("{protocol: ICMP, type: 3, code: 4}", Service(ICMP, 0x0304, 0x0304)),
        ("{protocol: ICMPv6, type: 0, code: 0}", Service(ICMP6, 0, 0)),
    ],
)
def test_a_port_is_a_number_a_range_a_name_or_an_icmp_type(port: str, means: Service) -> None:
    assert network_policy(f"ingress: [{{ports: [{port}]}}]").ingress == (accept(services=(means,)),)


def test_a_network_policy_is_its_tenants_and_only_ever_accepts() -> None:
    draft = network_policy("{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {}}]}]}")
    assert (draft.kind, draft.tenant, draft.name, draft.tier) == ("NetworkPolicy", "acme", "p", Tier.TENANT)
    rules = (accept((Members(None, ()),)),)
    means = Policy(9, "acme/p", 3, Tier.TENANT, 2, 0, None, (label("app", "db"),), rules, None)
    assert draft.policy(9, tenant=3, ordinal=2) == means
    assert draft.subject == "endpoints app=db"


def test_what_kubernetes_writes_around_a_policy_decides_nothing() -> None:
    kept = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": "allow.web",
            "namespace": "acme",
            "labels": {"a": "b"},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "managedFields": [{"fieldsV1": {"f:spec": {}}}],
            "uid": "1",
        },
        "status": {},
    }
    draft = read(kept)
    assert (draft.name, draft.ingress, draft.egress) == ("allow.web", (), None)


# -- ClusterNetworkPolicy --


@pytest.mark.parametrize(
    ("subject", "tenants", "endpoints", "words"),
    [
        ("{namespaces: {}}", (), (), "all endpoints in all tenants"),
        ("{namespaces: {matchLabels: {a: b}}}", (label("a", "b"),), (), "all endpoints in tenants a=b"),
        (
            "{pods: {namespaceSelector: {matchLabels: {a: b}}, podSelector: {matchLabels: {c: d}}}}",
            (label("a", "b"),),
            (label("c", "d"),),
            "endpoints c=d in tenants a=b",
        ),
        (
            "{pods: {podSelector: {matchLabels: {c: d}}}}",
            (),
            (label("c", "d"),),
            "endpoints c=d in all tenants",
        ),
    ],
)
def test_a_subject_selects_tenants_and_endpoints_in_them(
    subject: str, tenants: Any, endpoints: Any, words: str
) -> None:
    draft = cluster_policy(f"subject: {subject}")
    assert (draft.tenants, draft.endpoints, draft.subject) == (tenants, endpoints, words)


@pytest.mark.parametrize(("tier", "means"), [("Admin", Tier.ADMIN), ("Baseline", Tier.BASELINE)])
@pytest.mark.parametrize("priority", [0, 1000])
def test_a_cluster_policy_has_a_tier_and_a_priority_and_no_tenant(tier: str, means: Tier, priority: int) -> None:
    draft = cluster_policy(f"{{tier: {tier}, priority: {priority}, ingress: [], egress: null}}")
    assert draft.policy(4, tenant=0, ordinal=1) == Policy(4, "p", 0, means, 1, priority, (), (), None, None)


@pytest.mark.parametrize(
    ("peer", "means"),
    [
        ("{namespaces: {matchLabels: {a: b}}}", (Members((label("a", "b"),), ()),)),
        ("{pods: {namespaceSelector: {}, podSelector: {matchLabels: {c: d}}}}", (Members((), (label("c", "d"),)),)),
        ("{networks: [10.0.0.0/8, 'fd00::/8']}", (Block(4, 10 << 24, 8), Block(6, 0xFD << 120, 8))),
        ("{domainNames: [Example.org., '*.example.org']}", (DomainName("example.org"), DomainName("*.example.org"))),
    ],
)
def test_where_a_rule_may_lead_to(peer: str, means: Any) -> None:
    draft = cluster_policy(f"egress: [{{action: Accept, to: [{peer}]}}]")
    assert draft.egress == (Rule("", Action.ACCEPT, means, None),)
    assert draft.ingress is None


@pytest.mark.parametrize(
    ("protocol", "means"),
    [
        ("{tcp: {destinationPort: {number: 80}}}", (Service(TCP, 80, 80),)),
        ("{udp: {destinationPort: {range: {start: 1, end: 9}}}}", (Service(UDP, 1, 9),)),
        ("{sctp: {destinationPort: {number: 7}}}", (Service(SCTP, 7, 7),)),
        (
            "{destinationNamedPort: http}",
            (Service(TCP, name="http"), Service(UDP, name="http"), Service(SCTP, name="http")),
        ),
        ("{icmp: {}}", (Service(ICMP),)),
        ("{icmp: {type: 8}}", (Service(ICMP, 0x0800, 0x08FF),)),
        ("{icmpv6: {type: 1, code: 4}}", (Service(ICMP6, 0x0104, 0x0104),)),
    ],
)
def test_what_a_rule_may_be_about(protocol: str, means: Any) -> None:
    rule = f"{{name: one, action: Deny, log: true, from: [{{namespaces: {{}}}}], protocols: [{protocol}]}}"
    draft = cluster_policy(f"ingress: [{rule}]")
    assert draft.ingress == (Rule("one", Action.DENY, (Members((), ()),), means, log=True),)


def test_rules_stay_in_their_order() -> None:
    rules = ", ".join(f"{{action: {action}, to: [{{namespaces: {{}}}}]}}" for action in ("Pass", "Deny", "Accept"))
    draft = cluster_policy(f"egress: [{rules}]")
    assert draft.egress is not None
    assert [rule.action for rule in draft.egress] == [Action.PASS, Action.DENY, Action.ACCEPT]


# -- EgressNetworkPolicy, EgressFirewall --


def test_a_firewall_is_ordered_and_for_all_endpoints_of_its_tenant() -> None:
    draft = firewall("""
        egress:
        - {type: Allow, to: {dnsName: www.Example.org}}
        - {type: Allow, to: {cidrSelector: 192.0.2.0/24}}
        - {type: Deny, to: {cidrSelector: 0.0.0.0/0}}
        """)
    rules = (
        accept((DomainName("www.example.org"),)),
        accept((Block(4, 0xC0000200, 24),)),
        Rule("", Action.DENY, (Block(4, 0, 0),), None),
    )
    assert draft.policy(1, 3, 1) == Policy(1, "acme/default", 3, Tier.FIREWALL, 1, 0, None, (), None, rules)
    assert draft.subject == "all endpoints"


def test_an_egress_firewall_has_ports_besides() -> None:
    ports = "[{protocol: TCP, port: 443}, {protocol: UDP}]"
    rule = f"egress: [{{type: Deny, to: {{cidrSelector: '::/0'}}, ports: {ports}}}]"
    draft = firewall(rule, "k8s.ovn.org/v1", "EgressFirewall")
    assert draft.egress == (Rule("", Action.DENY, (Block(6, 0, 0),), (Service(TCP, 443, 443), Service(UDP))),)


def test_a_thousand_rules_are_fine_and_none_are_too() -> None:
    rule = {"type": "Deny", "to": {"cidrSelector": "192.0.2.0/24"}}
    draft = firewall(yaml.safe_dump({"egress": [rule] * 1000}))
    assert draft.egress is not None and len(draft.egress) == 1000
    assert firewall("egress: []").egress == ()


# -- in words --


def test_selectors_read_as_on_a_command_line() -> None:
    selector = (
        label("app", "web"),
        Requirement("tier", "In", ("a", "b")),
        Requirement("zone", "NotIn", ("x",)),
        Requirement("zone", "NotIn", ("x", "y")),
        Requirement("debug", "Exists"),
        Requirement("canary", "DoesNotExist"),
    )
    assert in_words(selector) == "app=web,tier in (a, b),zone!=x,zone notin (x, y),debug,!canary"


# -- documentation --


def test_every_example_of_the_documentation_is_accepted() -> None:
    page = (Path(__file__).parents[2] / "docs" / "policies.md").read_text()
    examples = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    kinds = {read(yaml.safe_load(example)).kind for example in examples}
    assert kinds == set(KINDS)
