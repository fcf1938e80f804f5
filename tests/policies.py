"""Random policy documents about a site, questions that probe their edges, and the documents as model values.

Everything is drawn from a `Random`, so that one text serves hypothesis (`cases`) and labs (a seed). The vocabulary is
the site's own: selectors name its labels, blocks cover some of its addresses and spare others.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from random import Random
from typing import Any, NamedTuple

from hypothesis import strategies as st

from controller.model import Action, Block, Members, Peer, Policy, Requirement, Rule, Selector, Service, Tier
from tests.oracle import EGRESS, INGRESS, Document, Question
from tests.sites import ENDPOINT_LABELS, PORT_NAMES, PORTS, PROTOCOLS, TENANT_LABELS, Plan, plan

ICMP_TYPES = {"icmp": (8, 13), "icmpv6": (128,)}
"""Questions that are answered; only they open connections."""

CIDR = ipaddress.IPv4Network | ipaddress.IPv6Network


class Case(NamedTuple):
    """A site under one set of documents, then under another; `seed` is for questions."""

    plan: Plan
    before: list[Document]
    after: list[Document]
    seed: int


def case(random: Random) -> Case:
    site = plan(random)
    return Case(site, documents(random, site), documents(random, site), random.getrandbits(16))


def cases() -> st.SearchStrategy[Case]:
    return st.randoms(use_true_random=False).map(case)


def documents(random: Random, plan: Plan) -> list[Document]:
    """Up to six NetworkPolicies and four ClusterNetworkPolicies, in any order."""
    found = [_network_policy(random, plan, f"np{number}") for number in range(random.choice((0, 1, 2, 4, 6, 6)))]
    found += [_cluster_policy(random, plan, f"cnp{number}") for number in range(random.randint(0, 4))]
    random.shuffle(found)
    return found


def questions(random: Random, plan: Plan, documents: list[Document], count: int) -> Iterator[Question]:
    """Between endpoints that can address each other; ports at, and right beside, those that somebody names."""
    named = {port.number for endpoint in plan.site.endpoints.values() for port in endpoint.ports}
    ports = sorted({*named, *_numbers(documents), *PORTS} & set(range(1, 65_536)))
    ends = [(one, two) for one in plan.site.endpoints for two in plan.site.endpoints if plan.can_address(one, two)]
    for _ in range(count if ends else 0):
        protocol = random.choice(("tcp", "tcp", "tcp", "udp", "sctp", "icmp", "icmpv6"))
        source, destination = random.choice(ends)
        if protocol in ICMP_TYPES:
            version = 4 if protocol == "icmp" else 6
            type, code = random.choice(ICMP_TYPES[protocol]), random.choice((0, 0, 1))
            yield Question(source, destination, protocol, type, code, version)
            continue
        by_name = [port.number for port in plan.site.endpoints[destination].ports if port.protocol == protocol]
        port = random.choice(by_name if by_name and random.randrange(2) else ports) + random.choice((0, 0, 0, -1, 1))
        source_port = random.choice((40_000, 40_000, *PORTS))
        yield Question(source, destination, protocol, min(port, 65_535), 0, random.choice((4, 6)), source_port)


def _numbers(value: Any) -> Iterator[int]:
    """Every number in a document, ports among them."""
    match value:
        case bool() | str():
            return
        case int():
            yield value
        case dict() | list():
            for item in value.values() if isinstance(value, dict) else value:
                yield from _numbers(item)


def _network_policy(random: Random, plan: Plan, name: str) -> Document:
    spec: Document = {"podSelector": _selector(random, ENDPOINT_LABELS)}
    types = random.choice((None, [INGRESS], [EGRESS], [INGRESS, EGRESS]))
    if types is not None:
        spec["policyTypes"] = types
    for field, peers in (("ingress", "from"), ("egress", "to")):
        if random.randrange(4):
            spec[field] = [_rule(random, plan, peers) for _ in range(random.randint(0, 3))]
    metadata = {"name": name, "namespace": random.choice(sorted(plan.site.tenants))}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def _rule(random: Random, plan: Plan, peers: str) -> Document:
    rule: Document = {}
    if random.randrange(4):
        rule[peers] = [_peer(random, plan) for _ in range(random.randint(1, 2))]
    if random.randrange(3):
        rule["ports"] = [_port(random) for _ in range(random.randint(1, 3))]
    return rule


def _peer(random: Random, plan: Plan) -> Document:
    match random.choice(("pods", "tenants", "both", "block")):
        case "pods":
            return {"podSelector": _selector(random, ENDPOINT_LABELS)}
        case "tenants":
            return {"namespaceSelector": _tenant_selector(random, plan)}
        case "both":
            pods = _selector(random, ENDPOINT_LABELS)
            return {"namespaceSelector": _tenant_selector(random, plan), "podSelector": pods}
        case _:
            cidr = _block(random, plan)
            return {"ipBlock": {"cidr": str(cidr), **_excepts(random, plan, cidr)}}


def _port(random: Random) -> Document:
    protocol = random.choice(("TCP", "TCP", "UDP", "SCTP", "ICMP", "ICMPv6", None))
    port: Document = {} if protocol is None else {"protocol": protocol}
    if protocol in ("ICMP", "ICMPv6"):
        return {**port, **_icmp(random, protocol.lower())}
    match random.choice(("all", "number", "number", "range", "name")):
        case "number":
            port["port"] = random.choice(PORTS)
        case "range":
            port["port"], port["endPort"] = _range(random)
        case "name":
            port["port"] = random.choice(PORT_NAMES)
    return port


def _cluster_policy(random: Random, plan: Plan, name: str) -> Document:
    spec: Document = {"tier": random.choice(("Admin", "Baseline")), "priority": random.choice((0, 1, 1, 10, 1000))}
    spec["subject"] = _members(random, plan)
    for direction in ("ingress", "egress"):
        if random.randrange(3):
            spec[direction] = [_cluster_rule(random, plan, direction) for _ in range(random.randint(1, 3))]
    metadata = {"name": name}
    return {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": metadata,
        "spec": spec,
    }


def _cluster_rule(random: Random, plan: Plan, direction: str) -> Document:
    rule: Document = {"action": random.choice(("Accept", "Deny", "Pass"))}
    peers = [_members(random, plan) for _ in range(random.randint(1, 2))]
    with_networks = direction == "egress" and random.randrange(3) == 0
    if with_networks:
        peers.append({"networks": sorted({str(_block(random, plan)) for _ in range(random.randint(1, 2))})})
    rule["from" if direction == "ingress" else "to"] = peers
    if random.randrange(3):
        rule["protocols"] = [_protocol(random, named=not with_networks) for _ in range(random.randint(1, 3))]
    return rule


def _members(random: Random, plan: Plan) -> Document:
    """A subject or a peer."""
    tenants = _tenant_selector(random, plan)
    if random.randrange(2):
        return {"namespaces": tenants}
    return {"pods": {"namespaceSelector": tenants, "podSelector": _selector(random, ENDPOINT_LABELS)}}


def _protocol(random: Random, named: bool) -> Document:
    """The API refuses named ports beside networks."""
    protocol = random.choice(("tcp", "tcp", "udp", "sctp", "icmp", "icmpv6", *(("named",) if named else ())))
    if protocol == "named":
        return {"destinationNamedPort": random.choice(PORT_NAMES)}
    if protocol in ICMP_TYPES:
        return {protocol: _icmp(random, protocol)}
    match random.choice(("all", "number", "number", "range")):
        case "number":
            return {protocol: {"destinationPort": {"number": random.choice(PORTS)}}}
        case "range":
            start, end = _range(random)
            port = {"range": {"start": start, "end": end}} if start < end else {"number": start}
            return {protocol: {"destinationPort": port}}
    return {protocol: {"destinationPort": {"range": {"start": 1, "end": 65_535}}}}


def _icmp(random: Random, protocol: str) -> Document:
    match random.choice(("all", "type", "code")):
        case "type":
            return {"type": random.choice((*ICMP_TYPES[protocol], 3))}
        case "code":
            return {"type": random.choice(ICMP_TYPES[protocol]), "code": random.choice((0, 1))}
    return {}


def _range(random: Random) -> tuple[int, int]:
    return random.choice(((80, 90), (8000, 8090), (443, 443), (1000, 6000), (1, 65_535), (52, 8081)))


def _tenant_selector(random: Random, plan: Plan) -> Document:
    names = {"kubernetes.io/metadata.name": tuple(sorted(plan.site.tenants))}
    return _selector(random, names if random.randrange(3) == 0 else TENANT_LABELS)


def _selector(random: Random, vocabulary: dict[str, tuple[str, ...]]) -> Document:
    """Everything, one label, or one or two expressions."""
    key = random.choice(sorted(vocabulary))
    match random.choice(("all", "label", "label", "expressions")):
        case "all":
            return {}
        case "label":
            return {"matchLabels": {key: random.choice(vocabulary[key])}}
    expressions = []
    for key in sorted(vocabulary)[: random.randint(1, 2)]:
        expression: Document = {"key": key, "operator": random.choice(("In", "NotIn", "Exists", "DoesNotExist"))}
        if expression["operator"] in ("In", "NotIn"):
            values = [value for value in vocabulary[key] if random.randrange(2)]
            expression["values"] = values or [vocabulary[key][0]]
        expressions.append(expression)
    return {"matchExpressions": expressions}


def _block(random: Random, plan: Plan) -> CIDR:
    """All addresses, a network, or those about one endpoint."""
    address = ipaddress.ip_address(random.choice(_addresses(plan)))
    bits = address.max_prefixlen
    length = random.choice((0, bits // 2 if bits == 128 else 24, bits - 3, bits - 1, bits))
    return ipaddress.ip_network((address, length), strict=False)


def _excepts(random: Random, plan: Plan, cidr: CIDR) -> Document:
    inside = [ipaddress.ip_address(text) for text in _addresses(plan)]
    inside = [address for address in inside if address in cidr]
    chosen = [random.choice(inside) for _ in range(random.randint(0, 2))]
    lengths = [length for length in (24, 29, 31, 32, 64, 125, 128) if cidr.prefixlen < length <= cidr.max_prefixlen]
    if not chosen or not lengths:
        return {}
    return {"except": [str(ipaddress.ip_network((one, random.choice(lengths)), strict=False)) for one in chosen]}


def _addresses(plan: Plan) -> list[str]:
    return [address for endpoint in plan.site.endpoints.values() for address in endpoint.addresses]


def policies_of(documents: list[Document], plan: Plan) -> list[Policy]:
    tenants = {name: int(name[1:]) for name in plan.site.tenants}
    return [policy_of(document, id, id, tenants) for id, document in enumerate(documents, 1)]


def policy_of(document: Document, id: int, ordinal: int, tenants: dict[str, int]) -> Policy:
    """A valid document as the model has it; `tenants` are numbers by name."""
    name, spec = document["metadata"]["name"], document["spec"]
    if document["kind"] == "NetworkPolicy":
        types = spec.get("policyTypes") or ([INGRESS, EGRESS] if spec.get("egress") else [INGRESS])
        ingress = tuple(map(_rule_of, spec.get("ingress", ()))) if INGRESS in types else None
        egress = tuple(map(_rule_of, spec.get("egress", ()))) if EGRESS in types else None
        tenant, endpoints = tenants[document["metadata"]["namespace"]], _selector_of(spec["podSelector"])
        return Policy(id, name, tenant, Tier.TENANT, ordinal, 0, None, endpoints, ingress, egress)
    subject = _members_of(spec["subject"])
    sides = (tuple(map(_cluster_rule_of, spec[side])) if side in spec else None for side in ("ingress", "egress"))
    tier = Tier[spec["tier"].upper()]
    return Policy(id, name, 0, tier, ordinal, spec["priority"], subject.tenants, subject.endpoints, *sides)


def _rule_of(rule: Document) -> Rule:
    peers = tuple(map(_peer_of, rule.get("from") or rule.get("to") or ())) or None
    return Rule("", Action.ACCEPT, peers, tuple(map(_service_of, rule.get("ports", ()))) or None)


def _cluster_rule_of(rule: Document) -> Rule:
    peers = [peer for entry in rule.get("from") or rule["to"] for peer in _cluster_peers_of(entry)]
    services = [service for entry in rule.get("protocols", ()) for service in _services_of(entry)]
    return Rule(rule.get("name", ""), Action[rule["action"].upper()], tuple(peers), tuple(services) or None)


def _peer_of(entry: Document) -> Peer:
    if "ipBlock" in entry:
        return _block_of(entry["ipBlock"]["cidr"], entry["ipBlock"].get("except", ()))
    tenants = _selector_of(entry["namespaceSelector"]) if "namespaceSelector" in entry else None
    return Members(tenants, _selector_of(entry.get("podSelector", {})))


def _cluster_peers_of(entry: Document) -> list[Peer]:
    return [_block_of(cidr) for cidr in entry["networks"]] if "networks" in entry else [_members_of(entry)]


def _members_of(entry: Document) -> Members:
    if "namespaces" in entry:
        return Members(_selector_of(entry["namespaces"]), ())
    return Members(_selector_of(entry["pods"]["namespaceSelector"]), _selector_of(entry["pods"]["podSelector"]))


def _block_of(cidr: str, excepts: tuple[str, ...] = ()) -> Block:
    block = ipaddress.ip_network(cidr)
    spared = tuple((int(one.network_address), one.prefixlen) for one in map(ipaddress.ip_network, excepts))
    return Block(block.version, int(block.network_address), block.prefixlen, spared)


def _service_of(entry: Document) -> Service:
    protocol = entry.get("protocol", "TCP").lower()
    if protocol in ICMP_TYPES:
        return _icmp_of(protocol, entry)
    port = entry.get("port", 0)
    if isinstance(port, str):
        return Service(PROTOCOLS[protocol], name=port)
    return Service(PROTOCOLS[protocol], port, entry.get("endPort", port or 0xFFFF))


def _services_of(entry: Document) -> list[Service]:
    """A name is looked for among the ports of every protocol."""
    if "destinationNamedPort" in entry:
        return [Service(PROTOCOLS[one], name=entry["destinationNamedPort"]) for one in ("tcp", "udp", "sctp")]
    [(protocol, asked)] = entry.items()
    if protocol in ICMP_TYPES:
        return [_icmp_of(protocol, asked)]
    match asked.get("destinationPort"):
        case None:
            return [Service(PROTOCOLS[protocol])]
        case {"number": number}:
            return [Service(PROTOCOLS[protocol], number, number)]
        case {"range": {"start": start, "end": end}}:
            return [Service(PROTOCOLS[protocol], start, end)]
    raise AssertionError(f"no port in {asked}")


def _icmp_of(protocol: str, entry: Document) -> Service:
    if "type" not in entry:
        return Service(PROTOCOLS[protocol])
    codes = (entry["code"],) * 2 if "code" in entry else (0, 0xFF)
    first, last = (entry["type"] << 8 | code for code in codes)
    return Service(PROTOCOLS[protocol], first, last)


def _selector_of(selector: Document) -> Selector:
    found = [Requirement(key, "In", (value,)) for key, value in selector.get("matchLabels", {}).items()]
    for one in selector.get("matchExpressions", ()):
        found.append(Requirement(one["key"], one["operator"], tuple(sorted(one.get("values", ())))))
    return tuple(sorted(found))
