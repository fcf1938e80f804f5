"""Documents become policies: which kinds there are, and who reads each.

A document is plain data, as a YAML or JSON file has it. What it says is a `Draft`, or it is refused by the path of the
field that is wrong. Knows no rows, no files and no other policies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from controller.calc.documents import cluster_network_policy, egress_firewall, network_policy
from controller.calc.documents.draft import Draft
from controller.calc.documents.fields import Refused, mapping, needed, refuse, shown, text

__all__ = ["FIREWALLS", "KINDS", "Draft", "Refused", "read"]

_READERS: dict[tuple[str, str], Callable[[dict[str, Any]], Draft]] = {
    ("networking.k8s.io/v1", "NetworkPolicy"): network_policy.read,
    ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy"): cluster_network_policy.read,
    ("network.openshift.io/v1", "EgressNetworkPolicy"): egress_firewall.read_network_policy,
    ("k8s.ovn.org/v1", "EgressFirewall"): egress_firewall.read_firewall,
}
KINDS = {kind: version for version, kind in _READERS}
"""The version of each kind."""
FIREWALLS = frozenset({"EgressNetworkPolicy", "EgressFirewall"})
"""The kinds of which a tenant has one."""


def read(document: Any) -> Draft:
    found = mapping(document, ())
    version, kind = (text(needed(found, name, ()), (name,)) for name in ("apiVersion", "kind"))
    if kind not in KINDS:
        known = ", ".join(f"{version} {kind}" for version, kind in _READERS)
        refuse(("kind",), f"{shown(kind)} is not a kind of policy", f"known are {known}")
    if version != KINDS[kind]:
        refuse(("apiVersion",), f"{shown(version)} is not read for a {kind}", f"write it as {KINDS[kind]}")
    return _READERS[version, kind](found)
