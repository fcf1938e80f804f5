"""What documents may not say: each refusal is a sentence with the path, the value and the remedy."""

from __future__ import annotations

import pytest
import yaml

from tests.pure.documents import FORMS, PORT_NAME, refusal, spec_refusal

KNOWN = (
    "known are networking.k8s.io/v1 NetworkPolicy, policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy, "
    "network.openshift.io/v1 EgressNetworkPolicy, k8s.ovn.org/v1 EgressFirewall"
)
PLAIN_NAME = 'lower-case letters, digits, "-" and ".", beginning and ending with a letter or digit'
TENANT_NAME = 'lower-case letters, digits and "-", beginning and ending with a letter or digit'
WORD = 'use at most 63 letters, digits, "-", "_" and ".", beginning and ending with a letter or digit'


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ("[]", "the document: [] is not a mapping; write KEY: VALUE lines below it"),
        ("{kind: NetworkPolicy}", "apiVersion: it is missing; add it"),
        ("{apiVersion: v1}", "kind: it is missing; add it"),
        ("{apiVersion: v1, kind: null}", "kind: it is missing; add it"),
        ("{apiVersion: 1, kind: a}", "apiVersion: 1 is not a string; put it in quotes"),
        ("{apiVersion: v1, kind: Pod}", f'kind: "Pod" is not a kind of policy; {KNOWN}'),
        (
            "{apiVersion: extensions/v1beta1, kind: NetworkPolicy}",
            'apiVersion: "extensions/v1beta1" is not read for a NetworkPolicy; write it as networking.k8s.io/v1',
        ),
    ],
)
def test_what_is_no_policy(document: str, sentence: str) -> None:
    assert refusal(yaml.safe_load(document)) == sentence


@pytest.mark.parametrize(
    ("kind", "change", "sentence"),
    [
        ("NetworkPolicy", "{metadata: null}", "metadata: it is missing; add it"),
        ("NetworkPolicy", "{metadata: [a]}", 'metadata: ["a"] is not a mapping; write KEY: VALUE lines below it'),
        ("NetworkPolicy", "{metadata: {namespace: acme}}", "metadata.name: it is missing; add it"),
        (
            "NetworkPolicy",
            "{metadata: {name: p}}",
            "metadata.namespace: it is missing; name the tenant that the policy is for",
        ),
        (
            "NetworkPolicy",
            "{metadata: {name: p, namspace: acme}}",
            "metadata.namspace: this field is not known here; did you mean namespace?",
        ),
        (
            "NetworkPolicy",
            "{metadata: {name: P, namespace: acme}}",
            f'metadata.name: "P" is not a policy name; use at most 253 {PLAIN_NAME}',
        ),
        (
            "NetworkPolicy",
            "{metadata: {name: 5, namespace: acme}}",
            "metadata.name: 5 is not a string; put it in quotes",
        ),
        (
            "EgressFirewall",
            "{metadata: {name: p, namespace: a.b}}",
            f'metadata.namespace: "a.b" is not a tenant name; use at most 63 {TENANT_NAME}',
        ),
        (
            "ClusterNetworkPolicy",
            "{metadata: {name: p, namespace: acme}}",
            "metadata.namespace: a ClusterNetworkPolicy is the cluster's and in no tenant; leave it out",
        ),
        ("NetworkPolicy", "{Spec: {}}", "Spec: this field is not known here; did you mean spec?"),
        ("NetworkPolicy", "{spec: 3}", "spec: 3 is not a mapping; write KEY: VALUE lines below it"),
    ],
)
def test_what_stands_around_the_spec(kind: str, change: str, sentence: str) -> None:
    assert refusal({"kind": kind, **FORMS[kind], **yaml.safe_load(change)}) == sentence


def test_a_name_is_as_long_as_kubernetes_has_it() -> None:
    for name, namespace, fault in (("a" * 254, "acme", "metadata.name: "), ("a", "a" * 64, "metadata.namespace: ")):
        document = {"kind": "NetworkPolicy", **FORMS["NetworkPolicy"]}
        assert refusal({**document, "metadata": {"name": name, "namespace": namespace}}).startswith(fault)


FROM, PORTS = "ingress: [{from: [%s]}]", "ingress: [{ports: [%s]}]"
SELECTOR = "podSelector: {matchExpressions: [%s]}"


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (
            "ingres: []",
            "spec.ingres: this field is not known here; did you mean ingress?",
        ),
        ("ingress: {}", 'spec.ingress: {} is not a list; write a list, with "- " before each item'),
        ("ingress: [null]", "spec.ingress[0]: null is not a mapping; write KEY: VALUE lines below it"),
        ("ingress: [{to: []}]", "spec.ingress[0].to: this field is not known here; known are from, ports"),
        ("egress: [{from: []}]", "spec.egress[0].from: this field is not known here; known are ports, to"),
        (
            "{policyTypes: [Egress], ingress: [{port: []}]}",
            "spec.ingress[0].port: this field is not known here; did you mean ports?",
        ),
        ("policyTypes: Ingress", 'spec.policyTypes: "Ingress" is not a list; write a list, with "- " before each item'),
        ("policyTypes: [ingress]", 'spec.policyTypes[0]: "ingress" is not possible; use Ingress or Egress'),
        ("policyTypes: [Ingress, Egress, Egress]", "spec.policyTypes: 3 items are too many; give at most 2"),
        # peers
        (
            FROM % "{}",
            "spec.ingress[0].from[0]: it names nobody; "
            "give podSelector, namespaceSelector or ipBlock, or leave out the whole list",
        ),
        (
            FROM % "{podSelector: null}",
            "spec.ingress[0].from[0]: it names nobody; "
            "give podSelector, namespaceSelector or ipBlock, or leave out the whole list",
        ),
        (
            FROM % "{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}",
            "spec.ingress[0].from[0].podSelector: it stands beside ipBlock; give each an item of its own",
        ),
        (
            FROM % "{pods: {}}",
            "spec.ingress[0].from[0].pods: this field is not known here; "
            "known are ipBlock, namespaceSelector, podSelector",
        ),
        # blocks
        (FROM % "{ipBlock: {}}", "spec.ingress[0].from[0].ipBlock.cidr: it is missing; add it"),
        (
            FROM % "{ipBlock: {cidr: 10.0.0.0}}",
            'spec.ingress[0].from[0].ipBlock.cidr: "10.0.0.0" is not a CIDR; write it like 10.0.0.0/8 or fd00::/8',
        ),
        (
            FROM % "{ipBlock: {cidr: 10.0.0.0/255.0.0.0}}",
            'spec.ingress[0].from[0].ipBlock.cidr: "10.0.0.0/255.0.0.0" is not a CIDR; '
            "write it like 10.0.0.0/8 or fd00::/8",
        ),
        (
            FROM % "{ipBlock: {cidr: 10.0.0.0/33}}",
            'spec.ingress[0].from[0].ipBlock.cidr: "10.0.0.0/33" is not a CIDR; write it like 10.0.0.0/8 or fd00::/8',
        ),
        (
            FROM % "{ipBlock: {cidr: 'fe80::1%eth0/64'}}".replace("%", "%%") % (),
            'spec.ingress[0].from[0].ipBlock.cidr: "fe80::1%eth0/64" is not a CIDR; '
            "write it like 10.0.0.0/8 or fd00::/8",
        ),
        (FROM % "{ipBlock: {cidr: 10}}", "spec.ingress[0].from[0].ipBlock.cidr: 10 is not a CIDR; put it in quotes"),
        (
            FROM % "{ipBlock: {cidr: '::ffff:10.0.0.0/104'}}",
            'spec.ingress[0].from[0].ipBlock.cidr: "::ffff:10.0.0.0/104" is IPv4 written as IPv6; '
            "write it like 10.0.0.0/8",
        ),
        (
            FROM % "{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}",
            "spec.ingress[0].from[0].ipBlock.except[0]: 11.0.0.0/16 is not part of 10.0.0.0/8; "
            "except only smaller blocks inside it",
        ),
        (
            FROM % "{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/16, 10.0.0.0/8]}}",
            "spec.ingress[0].from[0].ipBlock.except[1]: 10.0.0.0/8 is not part of 10.0.0.0/8; "
            "except only smaller blocks inside it",
        ),
        (
            FROM % "{ipBlock: {cidr: 0.0.0.0/0, except: ['fd00::/8']}}",
            "spec.ingress[0].from[0].ipBlock.except[0]: fd00::/8 is not part of 0.0.0.0/0; "
            "except only smaller blocks inside it",
        ),
        (
            FROM % "{ipBlock: {cidr: 0.0.0.0/0, except: 10.0.0.0/8}}",
            'spec.ingress[0].from[0].ipBlock.except: "10.0.0.0/8" is not a list; '
            'write a list, with "- " before each item',
        ),
        # ports
        (
            "ingress: [{}, {ports: [{port: 80}, {port: 70000}]}]",
            "spec.ingress[1].ports[1].port: 70000 is not a port; use 1 to 65535 or the name of a port",
        ),
        (PORTS % "{port: 0}", "spec.ingress[0].ports[0].port: 0 is not a port; use 1 to 65535 or the name of a port"),
        (
            PORTS % "{port: 1.5}",
            "spec.ingress[0].ports[0].port: 1.5 is not a port; use 1 to 65535 or the name of a port",
        ),
        (
            PORTS % "{port: true}",
            "spec.ingress[0].ports[0].port: true is not a port; use 1 to 65535 or the name of a port",
        ),
        (
            PORTS % "{port: '80'}",
            'spec.ingress[0].ports[0].port: "80" is not a port name; for the number write it without quotes',
        ),
        (PORTS % "{port: 1-2}", f'spec.ingress[0].ports[0].port: "1-2" is not a port name; {PORT_NAME}'),
        (PORTS % "{port: a--b}", f'spec.ingress[0].ports[0].port: "a--b" is not a port name; {PORT_NAME}'),
        (PORTS % "{port: -a}", f'spec.ingress[0].ports[0].port: "-a" is not a port name; {PORT_NAME}'),
        (PORTS % "{port: Http}", f'spec.ingress[0].ports[0].port: "Http" is not a port name; {PORT_NAME}'),
        (
            PORTS % "{port: abcdefghijklmnop}",
            f'spec.ingress[0].ports[0].port: "abcdefghijklmnop" is not a port name; {PORT_NAME}',
        ),
        (
            PORTS % "{endPort: 90}",
            "spec.ingress[0].ports[0].endPort: 90 ends no range; give port, where the range begins, as a number",
        ),
        (
            PORTS % "{port: http, endPort: 90}",
            "spec.ingress[0].ports[0].endPort: 90 ends no range; give port, where the range begins, as a number",
        ),
        (
            PORTS % "{port: 80, endPort: 79}",
            "spec.ingress[0].ports[0].endPort: 79 is less than 80, where the range begins; use 80 to 65535",
        ),
        (PORTS % "{port: 80, endPort: 65536}", "spec.ingress[0].ports[0].endPort: 65536 is not a port; use 1 to 65535"),
        (
            PORTS % "{protocol: tcp}",
            'spec.ingress[0].ports[0].protocol: "tcp" is not possible; use TCP or UDP or SCTP or ICMP or ICMPv6',
        ),
        (PORTS % "{protocol: ICMP, port: 8}", "spec.ingress[0].ports[0].port: ICMP has no port; use type and code"),
        (
            PORTS % "{protocol: ICMPv6, endPort: 8}",
            "spec.ingress[0].ports[0].endPort: ICMPv6 has no endPort; use type and code",
        ),
        (
            PORTS % "{type: 8}",
            "spec.ingress[0].ports[0].type: TCP has no type; use port, or the protocol ICMP or ICMPv6",
        ),
        (
            PORTS % "{protocol: UDP, code: 8}",
            "spec.ingress[0].ports[0].code: UDP has no code; use port, or the protocol ICMP or ICMPv6",
        ),
        (PORTS % "{protocol: ICMP, type: 256}", "spec.ingress[0].ports[0].type: 256 is not an ICMP type; use 0 to 255"),
        (
            PORTS % "{protocol: ICMP, type: 3, code: -1}",
            "spec.ingress[0].ports[0].code: -1 is not an ICMP code; use 0 to 255",
        ),
        (
            PORTS % "{protocol: ICMP, code: 0}",
            "spec.ingress[0].ports[0].code: 0 is the code of no type; give type, too",
        ),
        # selectors
        (
            "podSelector: {app: web}",
            "spec.podSelector.app: this field is not known here; known are matchExpressions, matchLabels",
        ),
        ("podSelector: [a]", 'spec.podSelector: ["a"] is not a mapping; write KEY: VALUE lines below it'),
        ("podSelector: {matchLabels: {v: 1}}", "spec.podSelector.matchLabels.v: 1 is not a string; put it in quotes"),
        (
            "podSelector: {matchLabels: {v: null}}",
            "spec.podSelector.matchLabels.v: null is not a string; write a string",
        ),
        (
            "podSelector: {matchLabels: {a/b/c: x}}",
            'spec.podSelector.matchLabels[a/b/c]: "a/b/c" has a prefix that is not a DNS name; '
            "write it like example.org/name",
        ),
        (
            "podSelector: {matchLabels: {-a: x}}",
            f'spec.podSelector.matchLabels[-a]: "-a" is not a label name; {WORD}',
        ),
        (
            "podSelector: {matchLabels: {a: b c}}",
            f'spec.podSelector.matchLabels.a: "b c" is not a label value; {WORD}',
        ),
        (SELECTOR % "{operator: In}", "spec.podSelector.matchExpressions[0].key: it is missing; add it"),
        (SELECTOR % "{key: a}", "spec.podSelector.matchExpressions[0].operator: it is missing; add it"),
        (
            SELECTOR % "{key: a, operator: Equals}",
            'spec.podSelector.matchExpressions[0].operator: "Equals" is not possible; '
            "use In or NotIn or Exists or DoesNotExist",
        ),
        (
            SELECTOR % "{key: a, operator: NotIn, values: []}",
            "spec.podSelector.matchExpressions[0].values: NotIn needs values; give at least one",
        ),
        (
            SELECTOR % "{key: a, operator: Exists, values: [x]}",
            "spec.podSelector.matchExpressions[0].values: Exists takes no values; leave them out, or use In or NotIn",
        ),
        (
            SELECTOR % "{key: a, operator: In, values: [5]}",
            "spec.podSelector.matchExpressions[0].values[0]: 5 is not a string; put it in quotes",
        ),
    ],
)
def test_what_a_network_policy_may_not_say(spec: str, sentence: str) -> None:
    assert spec_refusal("NetworkPolicy", spec) == sentence


def test_a_long_value_is_cut() -> None:
    said = spec_refusal("NetworkPolicy", f"podSelector: {{matchLabels: {{a: {'x' * 500}}}}}")
    assert said.startswith(f'spec.podSelector.matchLabels.a: "{"x" * 56}... is not a label')
