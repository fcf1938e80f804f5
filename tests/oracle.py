"""The reference oracle: may this connection pass? Answered from the documents alone, the slow and obvious way.

It reads Kubernetes NetworkPolicy and ClusterNetworkPolicy documents as plain dicts beside a plain description of the
site, and shares no line with what it judges: nothing of the controller is imported here. Two extensions are Warren's:
ICMP and ICMPv6 as protocols, by type and code, and tenants that deny by default.
"""

from __future__ import annotations

import ipaddress
from typing import Any, NamedTuple

Document = dict[str, Any]

INGRESS, EGRESS = "Ingress", "Egress"


class Tenant(NamedTuple):
    """`default_deny`: directions in which an endpoint that no NetworkPolicy selects is denied all the same."""

    name: str
    labels: dict[str, str]
    default_deny: frozenset[str] = frozenset()


class Port(NamedTuple):
    name: str
    protocol: str  # tcp, udp or sctp
    number: int


class Endpoint(NamedTuple):
    name: str
    tenant: str
    labels: dict[str, str]
    ports: tuple[Port, ...]
    addresses: tuple[str, ...]  # one for each IP version

    def address(self, version: int) -> str:
        return next(text for text in self.addresses if ipaddress.ip_address(text).version == version)


class Site(NamedTuple):
    """`acquainted`: pairs of different tenants that may talk at all: joined, peered, one of them global, or flat."""

    tenants: dict[str, Tenant]
    endpoints: dict[str, Endpoint]
    acquainted: frozenset[frozenset[str]]


class Question(NamedTuple):
    """Endpoints by name. For icmp and icmpv6 `port` is the type. `source_port` decides nothing."""

    source: str
    destination: str
    protocol: str  # tcp, udp, sctp, icmp or icmpv6
    port: int
    code: int = 0
    version: int = 4
    source_port: int = 40_000


class Answer(NamedTuple):
    allowed: bool
    why: str


def judge(site: Site, documents: list[Document], question: Question) -> Answer:
    """Both ends must agree."""
    tenants = {site.endpoints[name].tenant for name in (question.source, question.destination)}
    if len(tenants) == 2 and frozenset(tenants) not in site.acquainted:
        return Answer(False, "tenant isolation")
    egress, ingress = (side(site, documents, direction, question) for direction in (EGRESS, INGRESS))
    if not egress.allowed:
        return egress
    if not ingress.allowed:
        return ingress
    return Answer(True, f"{egress.why}; {ingress.why}")


def side(site: Site, documents: list[Document], direction: str, question: Question) -> Answer:
    """What the source's end says of its egress, or the destination's end of its ingress."""
    return (
        _cluster_policies(site, documents, "Admin", direction, question)
        or _network_policies(site, documents, direction, question)
        or _cluster_policies(site, documents, "Baseline", direction, question)
        or Answer(True, f"{direction} default")
    )


def _cluster_policies(
    site: Site, documents: list[Document], tier: str, direction: str, question: Question
) -> Answer | None:
    """The first rule that matches decides, unless it passes the question on. None: the next tier decides."""
    subject, peer = _ends(site, direction, question)
    policies = [
        document
        for document in documents
        if document["kind"] == "ClusterNetworkPolicy" and document["spec"]["tier"] == tier
    ]
    for policy in sorted(policies, key=lambda policy: (policy["spec"]["priority"], policy["metadata"]["name"])):
        if not _is_among(site, policy["spec"]["subject"], subject):
            continue
        for number, rule in enumerate(policy["spec"].get(direction.lower(), []), 1):
            peers = rule["from"] if direction == INGRESS else rule["to"]
            if not any(_is_cluster_peer(site, entry, peer, question) for entry in peers):
                continue
            if "protocols" in rule and not any(_is_protocol(site, entry, question) for entry in rule["protocols"]):
                continue
            if rule["action"] == "Pass":
                return None
            return Answer(rule["action"] == "Accept", f"{direction} {tier} {policy['metadata']['name']} rule {number}")
    return None


def _network_policies(site: Site, documents: list[Document], direction: str, question: Question) -> Answer | None:
    """Additive: whom one policy selects may do what any of them allows. None: nothing selects the endpoint."""
    subject, peer = _ends(site, direction, question)
    selecting = [
        document
        for document in documents
        if document["kind"] == "NetworkPolicy"
        and document["metadata"]["namespace"] == subject.tenant
        and direction in _types(document["spec"])
        and _matches(document["spec"]["podSelector"], subject.labels)
    ]
    for policy in selecting:
        for number, rule in enumerate(policy["spec"].get(direction.lower(), []), 1):
            peers = rule.get("from" if direction == INGRESS else "to", [])
            ports = rule.get("ports", [])
            if peers and not any(_is_peer(site, entry, subject.tenant, peer, question) for entry in peers):
                continue
            if ports and not any(_is_port(site, entry, question) for entry in ports):
                continue
            return Answer(True, f"{direction} {subject.tenant}/{policy['metadata']['name']} rule {number}")
    if selecting:
        names = ", ".join(sorted(policy["metadata"]["name"] for policy in selecting))
        return Answer(False, f"{direction} no rule of {subject.tenant}/{names}")
    if direction in site.tenants[subject.tenant].default_deny:
        return Answer(False, f"{direction} default deny of {subject.tenant}")
    return None


def _types(spec: Document) -> list[str]:
    """A policy that does not say is about ingress, and about egress if it has egress rules."""
    return spec.get("policyTypes") or ([INGRESS, EGRESS] if spec.get("egress") else [INGRESS])


def _ends(site: Site, direction: str, question: Question) -> tuple[Endpoint, Endpoint]:
    """Whom policies of the direction select, and whom that one talks with."""
    source, destination = site.endpoints[question.source], site.endpoints[question.destination]
    return (destination, source) if direction == INGRESS else (source, destination)


def _is_peer(site: Site, entry: Document, tenant: str, peer: Endpoint, question: Question) -> bool:
    """A NetworkPolicy's peer. Without a namespaceSelector it speaks of its own tenant."""
    if "ipBlock" in entry:
        block = entry["ipBlock"]
        address = peer.address(question.version)
        return _is_in(address, block["cidr"]) and not any(_is_in(address, cidr) for cidr in block.get("except", []))
    if "namespaceSelector" in entry:
        in_tenant = _matches(entry["namespaceSelector"], site.tenants[peer.tenant].labels)
    else:
        in_tenant = peer.tenant == tenant
    return in_tenant and _matches(entry.get("podSelector", {}), peer.labels)


def _is_cluster_peer(site: Site, entry: Document, peer: Endpoint, question: Question) -> bool:
    if "networks" in entry:
        return any(_is_in(peer.address(question.version), cidr) for cidr in entry["networks"])
    return _is_among(site, entry, peer)


def _is_among(site: Site, entry: Document, endpoint: Endpoint) -> bool:
    """A ClusterNetworkPolicy's subject, or its peer by labels."""
    labels = site.tenants[endpoint.tenant].labels
    if "namespaces" in entry:
        return _matches(entry["namespaces"], labels)
    pods = entry["pods"]
    return _matches(pods["namespaceSelector"], labels) and _matches(pods["podSelector"], endpoint.labels)


def _is_port(site: Site, entry: Document, question: Question) -> bool:
    """A NetworkPolicy's port. TCP unless it says otherwise."""
    protocol = entry.get("protocol", "TCP").lower()
    if protocol != question.protocol:
        return False
    if protocol in ("icmp", "icmpv6"):
        return _is_icmp(entry, question)
    port = entry.get("port")
    if port is None:
        return True
    if isinstance(port, str):
        return _is_named(site, port, question)
    return bool(port <= question.port <= entry.get("endPort", port))


def _is_protocol(site: Site, entry: Document, question: Question) -> bool:
    """One of a ClusterNetworkPolicy's protocols."""
    if "destinationNamedPort" in entry:
        return _is_named(site, entry["destinationNamedPort"], question)
    if question.protocol not in entry:
        return False
    asked = entry[question.protocol]
    if question.protocol in ("icmp", "icmpv6"):
        return _is_icmp(asked, question)
    port = asked.get("destinationPort")
    if port is None:
        return True
    if "range" in port:
        return bool(port["range"]["start"] <= question.port <= port["range"]["end"])
    return bool(port["number"] == question.port)


def _is_named(site: Site, name: str, question: Question) -> bool:
    """A name means what it means at the destination, whoever's policy it is in."""
    ports = site.endpoints[question.destination].ports
    return any((port.name, port.protocol, port.number) == (name, question.protocol, question.port) for port in ports)


def _is_icmp(entry: Document, question: Question) -> bool:
    return entry.get("type", question.port) == question.port and entry.get("code", question.code) == question.code


def _is_in(address: str, cidr: str) -> bool:
    network = ipaddress.ip_network(cidr)
    return ipaddress.ip_address(address).version == network.version and ipaddress.ip_address(address) in network


def _matches(selector: Document, labels: dict[str, str]) -> bool:
    """Kubernetes' label selector."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(_holds(requirement, labels) for requirement in selector.get("matchExpressions", []))


def _holds(requirement: Document, labels: dict[str, str]) -> bool:
    key = requirement["key"]
    match requirement["operator"]:
        case "In":
            return key in labels and labels[key] in requirement["values"]
        case "NotIn":
            return key not in labels or labels[key] not in requirement["values"]
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    raise AssertionError(f"no operator {requirement['operator']!r}")
