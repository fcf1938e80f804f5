"""What tests of policies ask of a lab: documents applied and deleted, live; labels and default deny changed, live."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from lab.state import Placed
from tests.lab.standing import change
from tests.lab.world import World
from tests.oracle import Document

EVERYBODY: Document = {"namespaceSelector": {}}


def apply(world: World, *documents: Document) -> dict[str, Any]:
    return change(world, "POST", "/policies", {"documents": documents})


def delete(world: World, document: Document) -> dict[str, Any]:
    return change(world, "DELETE", f"/policies/{called(document)}")


def called(document: Document) -> str:
    metadata = document["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" if "namespace" in metadata else str(metadata["name"])


def relabel(world: World, placed: Placed, **labels: str | None) -> None:
    world.rest.patch(f"/endpoints/{placed.tenant}/{placed.name}", {"labels": labels})
    world.settle()


def relabel_tenant(world: World, tenant: str, **labels: str | None) -> None:
    change(world, "PATCH", f"/tenants/{tenant}", {"labels": labels})


def deny_by_default(world: World, tenant: str, *directions: str) -> None:
    change(world, "PATCH", f"/tenants/{tenant}", {"default_deny": directions})


def policy(
    tenant: str,
    name: str = "policy",
    pods: Document | None = None,
    ingress: Sequence[Document] | None = None,
    egress: Sequence[Document] | None = None,
) -> Document:
    """A NetworkPolicy about the tenant's endpoints with the labels `pods`; it isolates in each direction it has."""
    spec: Document = {"podSelector": {"matchLabels": pods or {}}, "policyTypes": []}
    for direction, rules in (("Ingress", ingress), ("Egress", egress)):
        if rules is not None:
            spec["policyTypes"].append(direction)
            spec[direction.lower()] = list(rules)
    metadata = {"name": name, "namespace": tenant}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def cluster_policy(
    name: str, tier: str, priority: int, subject: Iterable[str], **rules: Sequence[Document]
) -> Document:
    """A ClusterNetworkPolicy about some tenants; rules by their direction."""
    spec = {"tier": tier, "priority": priority, "subject": {"namespaces": tenants(*subject)}, **rules}
    return {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


def tenants(*names: str) -> Document:
    """A selector of tenants by the label that all have."""
    return {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": list(names)}]}


def port(number: int | str, protocol: str = "TCP") -> Document:
    return {"ports": [{"protocol": protocol, "port": number}]}
