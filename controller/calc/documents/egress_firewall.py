"""OpenShift's `network.openshift.io/v1 EgressNetworkPolicy` and OVN-Kubernetes' `k8s.ovn.org/v1 EgressFirewall`.

Where all of a tenant's endpoints may go outside of all networks: the first rule that knows the destination decides.
"""

from __future__ import annotations

from typing import Any

from controller.calc.documents import metadata
from controller.calc.documents.draft import Draft
from controller.calc.documents.fields import Path, choice, fields, items, needed, only, refuse
from controller.calc.documents.services import firewall_port
from controller.calc.documents.syntax import block, domain_name
from controller.model import Action, Block, Peer, Rule, Tier

MOST_RULES = 1000

_SPEC = frozenset({"egress"})
_TO = ("cidrSelector", "dnsName")
_ACTIONS = {"Allow": Action.ACCEPT, "Deny": Action.DENY}


def read_network_policy(document: dict[str, Any]) -> Draft:
    return _read(document, frozenset({"type", "to"}))


def read_firewall(document: dict[str, Any]) -> Draft:
    """An EgressFirewall: as an EgressNetworkPolicy, but its rules may have ports."""
    return _read(document, frozenset({"type", "to", "ports"}))


def _read(document: dict[str, Any], known: frozenset[str]) -> Draft:
    head = metadata.of_tenant(document)
    spec = fields(head.spec, ("spec",), _SPEC)
    rules = items(needed(spec, "egress", ("spec",)), ("spec", "egress"), most=MOST_RULES)
    return Draft(
        head.kind,
        head.tenant,
        head.name,
        Tier.FIREWALL,
        priority=0,
        tenants=None,
        endpoints=(),
        ingress=None,
        egress=tuple(_rule(item, at, known) for at, item in rules),
    )


def _rule(value: Any, path: Path, known: frozenset[str]) -> Rule:
    found = fields(value, path, known)
    action = _ACTIONS[choice(needed(found, "type", path), (*path, "type"), _ACTIONS)]
    peer = _peer(needed(found, "to", path), (*path, "to"))
    ports = tuple(firewall_port(item, at) for at, item in items(found.get("ports"), (*path, "ports")))
    return Rule("", action, (peer,), ports or None)


def _peer(value: Any, path: Path) -> Peer:
    if isinstance(value, dict) and "nodeSelector" in value:
        at = (*path, "nodeSelector")
        refuse(at, "hosts cannot be selected by their labels here", "name their addresses in cidrSelector")
    found = fields(value, path, _TO)
    kind = only(found, path, _TO)
    at = (*path, kind)
    if kind == "dnsName":
        return domain_name(found[kind], at)
    peer = block(found[kind], at)
    if peer in (Block(4, 0, 32), Block(6, 0, 128)):
        everything = "0.0.0.0/0" if peer.version == 4 else "::/0"
        refuse(at, f"{found[kind]} is an address that nobody has", f"write {everything} for everything")
    return peer
