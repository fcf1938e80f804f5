"""Documents of each kind with nothing special in them, and the sentence with which one is refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from controller.calc.documents import Refused, read

FORMS = {
    "NetworkPolicy": {
        "apiVersion": "networking.k8s.io/v1",
        "metadata": {"name": "p", "namespace": "acme"},
        "spec": {},
    },
    "ClusterNetworkPolicy": {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "metadata": {"name": "p"},
        "spec": {"tier": "Admin", "priority": 7, "subject": {"namespaces": {}}},
    },
    "EgressNetworkPolicy": {
        "apiVersion": "network.openshift.io/v1",
        "metadata": {"name": "p", "namespace": "acme"},
        "spec": {"egress": []},
    },
    "EgressFirewall": {
        "apiVersion": "k8s.ovn.org/v1",
        "metadata": {"name": "p", "namespace": "acme"},
        "spec": {"egress": []},
    },
}
PORT_NAME = 'use at most 15 lower-case letters, digits and single "-" between them, with at least one letter'


def refusal(document: Any) -> str:
    with pytest.raises(Refused) as refused:
        read(document)
    return str(refused.value)


def spec_refusal(kind: str, spec: str) -> str:
    form = FORMS[kind]
    return refusal({"kind": kind, **form, "spec": {**form["spec"], **yaml.safe_load(spec)}})  # type: ignore[dict-item]
