"""Kubernetes' `policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy`: what admins decide before and after tenants."""

from __future__ import annotations

from typing import Any

from controller.calc.documents import metadata
from controller.calc.documents.draft import Draft
from controller.calc.documents.fields import (
    Path,
    choice,
    fields,
    flag,
    integer,
    items,
    needed,
    only,
    refuse,
    shown,
    text,
)
from controller.calc.documents.selectors import selector
from controller.calc.documents.services import cluster_policy_protocol
from controller.calc.documents.syntax import block, domain_name
from controller.model import Action, Members, Peer, Rule, Selector, Service, Tier

MOST = 25
"""Rules of one direction, and peers, protocols, networks and domain names where they stand."""
LAST_PRIORITY = 1000
LONGEST_RULE_NAME = 100

_SPEC = frozenset({"tier", "priority", "subject", "ingress", "egress"})
_RULE = frozenset({"name", "action", "protocols", "log"})
_PODS = frozenset({"namespaceSelector", "podSelector"})
_MEMBERS = ("namespaces", "pods")
_OUTSIDE = ("networks", "domainNames")
_TIERS = {"Admin": Tier.ADMIN, "Baseline": Tier.BASELINE}
_ACTIONS = {"Accept": Action.ACCEPT, "Deny": Action.DENY, "Pass": Action.PASS}


def read(document: dict[str, Any]) -> Draft:
    head = metadata.of_cluster(document)
    path: Path = ("spec",)
    spec = fields(head.spec, path, _SPEC)
    tier = _TIERS[choice(needed(spec, "tier", path), (*path, "tier"), _TIERS)]
    priority = integer(needed(spec, "priority", path), (*path, "priority"), "a priority", 0, LAST_PRIORITY)
    subject = fields(needed(spec, "subject", path), (*path, "subject"), _MEMBERS)
    tenants, endpoints = _members(subject, only(subject, (*path, "subject"), _MEMBERS), (*path, "subject"))
    ingress = [
        _rule(item, at, "from", _MEMBERS) for at, item in items(spec.get("ingress"), (*path, "ingress"), most=MOST)
    ]
    egress = [
        _rule(item, at, "to", (*_MEMBERS, *_OUTSIDE))
        for at, item in items(spec.get("egress"), (*path, "egress"), most=MOST)
    ]
    return Draft(
        head.kind,
        head.tenant,
        head.name,
        tier,
        priority,
        tenants,
        endpoints,
        # Without rules it does not affect a direction.
        ingress=tuple(ingress) or None,
        egress=tuple(egress) or None,
    )


def _rule(value: Any, path: Path, side: str, kinds: tuple[str, ...]) -> Rule:
    found = fields(value, path, _RULE | {side})
    name = text(found.get("name", ""), (*path, "name"))
    if len(name) > LONGEST_RULE_NAME:
        refuse((*path, "name"), f"{len(name)} characters are too many", f"use at most {LONGEST_RULE_NAME}")
    action = _ACTIONS[choice(needed(found, "action", path), (*path, "action"), _ACTIONS)]
    peers: list[Peer] = []
    for at, item in items(needed(found, side, path), (*path, side), least=1, most=MOST):
        peers += _peers(item, at, action, kinds)
    services = None
    if "protocols" in found:
        services = _services(found["protocols"], (*path, "protocols"), all(isinstance(one, Members) for one in peers))
    return Rule(name, action, tuple(peers), services, flag(found.get("log", False), (*path, "log")))


def _services(value: Any, path: Path, inside: bool) -> tuple[Service, ...]:
    found: list[Service] = []
    for at, item in items(value, path, least=1, most=MOST):
        services = cluster_policy_protocol(item, at)
        if services[0].name and not inside:
            remedy = "use numbers, or a rule of its own for them"
            refuse((*at, "destinationNamedPort"), "networks and domainNames have no named ports", remedy)
        found += services
    return tuple(found)


def _peers(value: Any, path: Path, action: Action, kinds: tuple[str, ...]) -> list[Peer]:
    if isinstance(value, dict) and "nodes" in value and "networks" in kinds:
        refuse((*path, "nodes"), "hosts cannot be selected by their labels here", "name their addresses in networks")
    found = fields(value, path, kinds)
    kind = only(found, path, kinds)
    at = (*path, kind)
    if kind == "networks":
        return list(_each(found[kind], at, block))
    if kind == "domainNames":
        if action is not Action.ACCEPT:
            remedy = "accept names, and deny everything in a later rule"
            refuse(at, f"{action.name.capitalize()} is not possible by domain names", remedy)
        return list(_each(found[kind], at, domain_name))
    return [Members(*_members(found, kind, path))]


def _each(value: Any, path: Path, read_one: Any) -> list[Peer]:
    """Reads each item of a list in which nothing may stand twice."""
    seen: dict[str, Peer] = {}
    for at, item in items(value, path, least=1, most=MOST):
        peer = read_one(item, at)
        if item in seen:
            refuse(at, f"{shown(item)} stands there twice", "leave one out")
        seen[item] = peer
    return list(seen.values())


def _members(found: dict[str, Any], kind: str, path: Path) -> tuple[Selector, Selector]:
    """The selectors of tenants, and of endpoints in them."""
    at = (*path, kind)
    if kind == "namespaces":
        return selector(found[kind], at), ()
    pods = fields(found[kind], at, _PODS)
    tenants = selector(pods.get("namespaceSelector", {}), (*at, "namespaceSelector"))
    return tenants, selector(needed(pods, "podSelector", at), (*at, "podSelector"))
