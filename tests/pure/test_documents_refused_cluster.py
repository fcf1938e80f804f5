"""What documents of admins and of firewalls may not say, each refusal as a sentence."""

from __future__ import annotations

import pytest
import yaml

from tests.pure.documents import PORT_NAME, spec_refusal

TO = "egress: [{action: Accept, to: [%s]}]"
ABOUT = "ingress: [{action: Accept, from: [{namespaces: {}}], protocols: [%s]}]"
AT = "spec.ingress[0].protocols[0]"
MANY = ", ".join(["{namespaces: {}}"] * 26)


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("tier: null", "spec.tier: it is missing; add it"),
        ("tier: admin", 'spec.tier: "admin" is not possible; use Admin or Baseline'),
        ("priority: null", "spec.priority: it is missing; add it"),
        ("priority: 1001", "spec.priority: 1001 is not a priority; use 0 to 1000"),
        ("priority: -1", "spec.priority: -1 is not a priority; use 0 to 1000"),
        ("priority: '5'", 'spec.priority: "5" is not a priority; use 0 to 1000'),
        ("subject: null", "spec.subject: it is missing; add it"),
        ("subject: {}", "spec.subject: it has nothing; give exactly one of namespaces, pods"),
        (
            "subject: {namespaces: {}, pods: {podSelector: {}}}",
            "spec.subject: it has namespaces and pods; give exactly one of namespaces, pods",
        ),
        ("subject: {pods: {namespaceSelector: {}}}", "spec.subject.pods.podSelector: it is missing; add it"),
        (f"ingress: [{', '.join(['{}'] * 26)}]", "spec.ingress: 26 items are too many; give at most 25"),
        (f"egress: [{', '.join(['{}'] * 26)}]", "spec.egress: 26 items are too many; give at most 25"),
        ("ingress: [{from: [{namespaces: {}}]}]", "spec.ingress[0].action: it is missing; add it"),
        (
            "ingress: [{action: Allow, from: [{namespaces: {}}]}]",
            'spec.ingress[0].action: "Allow" is not possible; use Accept or Deny or Pass',
        ),
        ("ingress: [{action: Deny}]", "spec.ingress[0].from: it is missing; add it"),
        ("ingress: [{action: Deny, from: []}]", "spec.ingress[0].from: it is empty; give at least one item"),
        (
            f"ingress: [{{action: Deny, from: [{MANY}]}}]",
            "spec.ingress[0].from: 26 items are too many; give at most 25",
        ),
        (
            f"ingress: [{{name: {'n' * 101}, action: Deny, from: [{{namespaces: {{}}}}]}}]",
            "spec.ingress[0].name: 101 characters are too many; use at most 100",
        ),
        (
            "ingress: [{action: Deny, log: 'yes', from: [{namespaces: {}}]}]",
            'spec.ingress[0].log: "yes" is neither true nor false; write true or false',
        ),
        (
            "ingress: [{action: Deny, from: [{networks: [10.0.0.0/8]}]}]",
            "spec.ingress[0].from[0].networks: this field is not known here; known are namespaces, pods",
        ),
        (
            TO % "{}",
            "spec.egress[0].to[0]: it has nothing; give exactly one of namespaces, pods, networks, domainNames",
        ),
        (
            TO % "{nodes: {}}",
            "spec.egress[0].to[0].nodes: hosts cannot be selected by their labels here; "
            "name their addresses in networks",
        ),
        (TO % "{networks: []}", "spec.egress[0].to[0].networks: it is empty; give at least one item"),
        (
            TO % "{networks: [10.0.0.0/8, 10.0.0.0/8]}",
            'spec.egress[0].to[0].networks[1]: "10.0.0.0/8" stands there twice; leave one out',
        ),
        (
            TO % f"{{networks: [{', '.join(f'10.{n}.0.0/16' for n in range(26))}]}}",
            "spec.egress[0].to[0].networks: 26 items are too many; give at most 25",
        ),
        (
            TO % "{domainNames: [a.*.org]}",
            'spec.egress[0].to[0].domainNames[0]: "a.*.org" is not a DNS name; '
            "write it like www.example.org, or *.example.org for all below it",
        ),
        (
            TO % "{domainNames: [org]}",
            'spec.egress[0].to[0].domainNames[0]: "org" is not a DNS name; '
            "write it like www.example.org, or *.example.org for all below it",
        ),
        (
            "egress: [{action: Deny, to: [{domainNames: [a.example.org]}]}]",
            "spec.egress[0].to[0].domainNames: Deny is not possible by domain names; "
            "accept names, and deny everything in a later rule",
        ),
        (
            "egress: [{action: Accept, to: [{namespaces: {}}, {networks: [10.0.0.0/8]}], "
            "protocols: [{destinationNamedPort: http}]}]",
            "spec.egress[0].protocols[0].destinationNamedPort: networks and domainNames have no named ports; "
            "use numbers, or a rule of its own for them",
        ),
        (
            "ingress: [{action: Accept, from: [{namespaces: {}}], protocols: []}]",
            "spec.ingress[0].protocols: it is empty; give at least one item",
        ),
        (
            ABOUT % "{}",
            f"{AT}: it has nothing; give exactly one of tcp, udp, sctp, destinationNamedPort, icmp, icmpv6",
        ),
        (
            ABOUT % "{portNumber: {}}",
            f"{AT}.portNumber: this field is not known here; "
            "known are destinationNamedPort, icmp, icmpv6, sctp, tcp, udp",
        ),
        (
            ABOUT % "{tcp: {destinationPort: {number: 80}}, udp: {destinationPort: {number: 80}}}",
            f"{AT}: it has tcp and udp; give exactly one of tcp, udp, sctp, destinationNamedPort, icmp, icmpv6",
        ),
        (ABOUT % "{tcp: {}}", f"{AT}.tcp: it has nothing; give destinationPort"),
        (
            ABOUT % "{tcp: {destinationPort: {}}}",
            f"{AT}.tcp.destinationPort: it has nothing; give exactly one of number, range",
        ),
        (
            ABOUT % "{tcp: {destinationPort: {number: 0}}}",
            f"{AT}.tcp.destinationPort.number: 0 is not a port; use 1 to 65535",
        ),
        (
            ABOUT % "{tcp: {destinationPort: {range: {start: 1}}}}",
            f"{AT}.tcp.destinationPort.range.end: it is missing; add it",
        ),
        (
            ABOUT % "{tcp: {destinationPort: {range: {start: 5, end: 5}}}}",
            f"{AT}.tcp.destinationPort.range.end: 5 is start, too; write number: 5",
        ),
        (
            ABOUT % "{tcp: {destinationPort: {range: {start: 5, end: 4}}}}",
            f"{AT}.tcp.destinationPort.range.end: 4 is less than 5, where the range begins; use 5 to 65535",
        ),
        (
            ABOUT % "{destinationNamedPort: A}",
            f'{AT}.destinationNamedPort: "A" is not a port name; {PORT_NAME}',
        ),
        (ABOUT % "{icmp: {code: 1}}", f"{AT}.icmp.code: 1 is the code of no type; give type, too"),
        (ABOUT % "{icmpv6: {type: x}}", f'{AT}.icmpv6.type: "x" is not an ICMP type; use 0 to 255'),
    ],
)
def test_what_a_cluster_policy_may_not_say(spec: str, sentence: str) -> None:
    assert spec_refusal("ClusterNetworkPolicy", spec) == sentence


WHERE = "write it like www.example.org, or *.example.org for all below it"


@pytest.mark.parametrize(
    ("kind", "spec", "sentence"),
    [
        ("EgressNetworkPolicy", "egress: null", "spec.egress: it is missing; add it"),
        ("EgressNetworkPolicy", "ingress: []", "spec.ingress: this field is not known here; did you mean egress?"),
        ("EgressNetworkPolicy", "egress: [{to: {dnsName: a.org}}]", "spec.egress[0].type: it is missing; add it"),
        (
            "EgressNetworkPolicy",
            "egress: [{type: Accept, to: {dnsName: a.org}}]",
            'spec.egress[0].type: "Accept" is not possible; use Allow or Deny',
        ),
        ("EgressNetworkPolicy", "egress: [{type: Deny}]", "spec.egress[0].to: it is missing; add it"),
        (
            "EgressNetworkPolicy",
            "egress: [{type: Deny, to: {}}]",
            "spec.egress[0].to: it has nothing; give exactly one of cidrSelector, dnsName",
        ),
        (
            "EgressNetworkPolicy",
            "egress: [{type: Deny, to: {cidrSelector: 10.0.0.0/8, dnsName: a.org}}]",
            "spec.egress[0].to: it has cidrSelector and dnsName; give exactly one of cidrSelector, dnsName",
        ),
        (
            "EgressNetworkPolicy",
            "egress: [{type: Deny, to: {dnsName: a_.org}}]",
            f'spec.egress[0].to.dnsName: "a_.org" is not a DNS name; {WHERE}',
        ),
        (
            "EgressNetworkPolicy",
            "egress: [{type: Deny, to: {cidrSelector: 0.0.0.0/32}}]",
            "spec.egress[0].to.cidrSelector: 0.0.0.0/32 is an address that nobody has; write 0.0.0.0/0 for everything",
        ),
        (
            "EgressNetworkPolicy",
            "egress: [{type: Deny, to: {cidrSelector: 10.0.0.0/8}, ports: []}]",
            "spec.egress[0].ports: this field is not known here; known are to, type",
        ),
        (
            "EgressFirewall",
            "egress: [{type: Deny, to: {nodeSelector: {}}}]",
            "spec.egress[0].to.nodeSelector: hosts cannot be selected by their labels here; "
            "name their addresses in cidrSelector",
        ),
        (
            "EgressFirewall",
            "egress: [{type: Deny, to: {cidrSelector: 10.0.0.0/8}, ports: [{port: 80}]}]",
            "spec.egress[0].ports[0].protocol: it is missing; add it",
        ),
        (
            "EgressFirewall",
            "egress: [{type: Deny, to: {cidrSelector: 10.0.0.0/8}, ports: [{protocol: TCP, port: http}]}]",
            'spec.egress[0].ports[0].port: "http" is not a port; use 1 to 65535',
        ),
    ],
)
def test_what_a_firewall_may_not_say(kind: str, spec: str, sentence: str) -> None:
    assert spec_refusal(kind, spec) == sentence


def test_a_firewall_has_at_most_a_thousand_rules() -> None:
    rule = {"type": "Deny", "to": {"cidrSelector": "192.0.2.0/24"}}
    spec = yaml.safe_dump({"egress": [rule] * 1001})
    assert spec_refusal("EgressNetworkPolicy", spec) == "spec.egress: 1001 items are too many; give at most 1000"
