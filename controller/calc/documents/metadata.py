"""What all documents have around their `spec`: their names, and what Kubernetes writes there that decides nothing."""

from __future__ import annotations

from typing import Any, NamedTuple

from controller.calc.documents.fields import fields, needed, refuse
from controller.calc.documents.syntax import policy_name, tenant_name

_DOCUMENT = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})
_METADATA = frozenset(
    {
        *("name", "namespace", "labels", "annotations", "generateName", "selfLink", "uid", "resourceVersion"),
        *("generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "ownerReferences"),
        *("finalizers", "managedFields"),
    }
)


class Head(NamedTuple):
    kind: str
    tenant: str
    name: str
    spec: Any


def of_tenant(document: dict[str, Any]) -> Head:
    """The head of a document that belongs to a tenant, which it calls its namespace."""
    found, metadata = _parts(document)
    namespace = needed(metadata, "namespace", ("metadata",), "name the tenant that the policy is for")
    return _head(found, metadata, tenant_name(namespace, ("metadata", "namespace")))


def of_cluster(document: dict[str, Any]) -> Head:
    found, metadata = _parts(document)
    if "namespace" in metadata:
        refuse(("metadata", "namespace"), f"a {found['kind']} is the cluster's and in no tenant", "leave it out")
    return _head(found, metadata, "")


def _parts(document: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    found = fields(document, (), _DOCUMENT)
    return found, fields(needed(found, "metadata", ()), ("metadata",), _METADATA)


def _head(found: dict[str, Any], metadata: dict[str, Any], tenant: str) -> Head:
    name = policy_name(needed(metadata, "name", ("metadata",)), ("metadata", "name"))
    return Head(found["kind"], tenant, name, found.get("spec", {}))
