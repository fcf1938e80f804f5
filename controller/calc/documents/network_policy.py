"""Kubernetes' `networking.k8s.io/v1 NetworkPolicy`: a tenant's own policy, which only ever allows."""

from __future__ import annotations

from typing import Any

from controller.calc.documents import metadata
from controller.calc.documents.draft import Draft
from controller.calc.documents.fields import Path, choice, fields, items, needed, refuse
from controller.calc.documents.selectors import selector
from controller.calc.documents.services import network_policy_port
from controller.calc.documents.syntax import block
from controller.model import Action, Block, Members, Peer, Rule, Tier

_SPEC = frozenset({"podSelector", "policyTypes", "ingress", "egress"})
_PEER = frozenset({"podSelector", "namespaceSelector", "ipBlock"})
_BLOCK = frozenset({"cidr", "except"})
_TYPES = ("Ingress", "Egress")


def read(document: dict[str, Any]) -> Draft:
    head = metadata.of_tenant(document)
    path: Path = ("spec",)
    spec = fields(head.spec, path, _SPEC)
    # What is written is looked at, also in a direction that policyTypes leaves out.
    ingress = tuple(_rule(item, at, "from") for at, item in items(spec.get("ingress"), (*path, "ingress")))
    egress = tuple(_rule(item, at, "to") for at, item in items(spec.get("egress"), (*path, "egress")))
    at = (*path, "policyTypes")
    types = {choice(item, inner, _TYPES) for inner, item in items(spec.get("policyTypes"), at, most=2)}
    if not types:
        types = {"Ingress", "Egress"} if egress else {"Ingress"}
    return Draft(
        head.kind,
        head.tenant,
        head.name,
        Tier.TENANT,
        priority=0,
        tenants=None,
        endpoints=selector(spec.get("podSelector", {}), (*path, "podSelector")),
        ingress=ingress if "Ingress" in types else None,
        egress=egress if "Egress" in types else None,
    )


def _rule(value: Any, path: Path, side: str) -> Rule:
    """Nothing, or an empty list, is no restriction."""
    found = fields(value, path, (side, "ports"))
    peers = tuple(_peer(item, at) for at, item in items(found.get(side), (*path, side)))
    services = tuple(network_policy_port(item, at) for at, item in items(found.get("ports"), (*path, "ports")))
    return Rule("", Action.ACCEPT, peers or None, services or None)


def _peer(value: Any, path: Path) -> Peer:
    found = fields(value, path, _PEER)
    if not found:
        refuse(path, "it names nobody", "give podSelector, namespaceSelector or ipBlock, or leave out the whole list")
    if "ipBlock" in found:
        if len(found) > 1:
            other = next(name for name in found if name != "ipBlock")
            refuse((*path, other), "it stands beside ipBlock", "give each an item of its own")
        return _block(found["ipBlock"], (*path, "ipBlock"))
    tenants = found.get("namespaceSelector")
    return Members(
        None if tenants is None else selector(tenants, (*path, "namespaceSelector")),
        selector(found.get("podSelector", {}), (*path, "podSelector")),
    )


def _block(value: Any, path: Path) -> Block:
    found = fields(value, path, _BLOCK)
    cidr = needed(found, "cidr", path)
    whole = block(cidr, (*path, "cidr"))
    excepts = set()
    for at, item in items(found.get("except"), (*path, "except")):
        part = block(item, at)
        # Shifting away what comes after the block's own prefix leaves what both must have in common.
        after = (32 if whole.version == 4 else 128) - whole.prefix
        if (
            part.version != whole.version
            or part.prefix <= whole.prefix
            or part.network >> after != whole.network >> after
        ):
            refuse(at, f"{item} is not part of {cidr}", "except only smaller blocks inside it")
        excepts.add((part.network, part.prefix))
    return whole._replace(excepts=tuple(sorted(excepts)))
