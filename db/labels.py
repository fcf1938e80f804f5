"""Labels, in Kubernetes' syntax for keys and values, and an endpoint's named ports. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from db.errors import Invalid
from db.names import dns_label

NAME_LABEL = "kubernetes.io/metadata.name"
"""The label that every tenant has, with its name, as every Kubernetes namespace does. It is stored nowhere."""
MAX_LABELS = 64
MAX_PORTS = 64
PROTOCOLS = ("tcp", "udp", "sctp")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")
_NAME_RULE = 'use at most 63 letters, digits, "-", "_" and ".", beginning and ending with a letter or digit'


def valid_labels(labels: Mapping[str, str] | None) -> dict[str, str]:
    """The labels sorted by key."""
    if not labels:
        return {}
    if len(labels) > MAX_LABELS:
        raise Invalid(f"{len(labels)} labels are too many", f"use at most {MAX_LABELS}", "labels")
    for key, value in labels.items():
        _valid_key(key)
        if value and not _NAME.fullmatch(value):
            raise Invalid(f"value {value!r} of label {key} is not a label value", _NAME_RULE, "labels")
    return dict(sorted(labels.items()))


def changed_labels(labels: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """`labels` with `changes` laid over them; a label that is changed to None goes away."""
    merged: dict[str, str | None] = {**labels, **changes}
    return valid_labels({key: value for key, value in merged.items() if value is not None})


def with_name(labels: Mapping[str, str], name: str) -> dict[str, str]:
    """A tenant's labels as everybody sees them, sorted by key."""
    return dict(sorted({**labels, NAME_LABEL: name}.items()))


def without_name(labels: Mapping[str, str | None], name: str) -> dict[str, str | None]:
    """What is to be stored of labels that somebody gives a tenant. Its name may be among them, but no other."""
    if labels.get(NAME_LABEL, name) != name:
        raise Invalid(f"label {NAME_LABEL} of tenant {name} is {name} and cannot be changed", "leave it out", "labels")
    return {key: value for key, value in labels.items() if key != NAME_LABEL}


def valid_ports(ports: Iterable[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """`[{"name": "http", "port": 80, "protocol": "tcp"}]`, each name once."""
    found: dict[str, dict[str, Any]] = {}
    for port in ports or ():
        name = dns_label(str(port.get("name") or ""), "port", "ports")
        number, protocol = port.get("port"), port.get("protocol") or "tcp"
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= 65535:
            raise Invalid(f"port {name} has number {number!r}", "use 1 to 65535", "ports")
        if protocol not in PROTOCOLS:
            raise Invalid(f"port {name} has protocol {protocol!r}", f"use {', '.join(PROTOCOLS)}", "ports")
        if name in found:
            raise Invalid(f"port {name} is named twice", "give each port its own name", "ports")
        found[name] = {"name": name, "port": number, "protocol": protocol}
    if len(found) > MAX_PORTS:
        raise Invalid(f"{len(found)} named ports are too many", f"use at most {MAX_PORTS}", "ports")
    return list(found.values())


def _valid_key(key: str) -> None:
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or not _PREFIX.fullmatch(prefix)):
        raise Invalid(f"label {key!r} has a prefix that is not a DNS name", "write it like example.org/name", "labels")
    if not _NAME.fullmatch(name):
        raise Invalid(f"label {key!r} is not a label name", _NAME_RULE, "labels")
