"""What files declare and what the API has, side by side: which requests make the second like the first.

Objects are compared in the shape of the files, field by field; fields that a file does not name are left as they are.
It decides the requests and their order, and sends none.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from client.rest import Rest

Json = dict[str, Any]
API = "warren/v1"
NAME_LABEL = "kubernetes.io/metadata.name"
POLICY = "Policy"
"""Documents of Kubernetes and OpenShift, whatever their kind."""

ORDER = ("Tenant", "Network", POLICY, "Peering", "User", "RoleBinding")
"""Each after what it needs; what goes away goes in the opposite order."""

LAYOUT = {"ipRanges": "ip_ranges", "excludes": "excludes", "auxAddresses": "aux_addresses", "blockSizes": "block_sizes"}
FIXED = {"Network": ("subnets", "gateways", "private", "plan", "strict", *LAYOUT.values())}
SPEC = {
    "Tenant": {"trackAll": "track_all", "defaultDeny": "default_deny", "quota": "quota"},
    "Network": {
        **{key: key for key in ("subnets", "gateways", "private", "isolated", "mtu", "plan", "strict")},
        **{key: key for key in ("broadcast", "outbound", "transport")},
        "crossSubnet": "cross_subnet",
        **LAYOUT,
    },
    "Peering": {"tenants": "tenants"},
    "User": {},
    "RoleBinding": {key: key for key in ("role", "user", "group", "tenant")},
}
"""The fields of `spec` by kind, and what the API calls them."""


class Object(NamedTuple):
    """`fields` are the API's. `version` and `id` are of what is there."""

    kind: str
    name: str
    fields: Json
    version: int | None = None
    id: int | None = None


class Request(NamedTuple):
    method: str
    path: str
    body: Json | None = None
    version: int | None = None


class Step(NamedTuple):
    sign: str
    what: str
    details: list[str]
    requests: list[Request]

    def __str__(self) -> str:
        return "\n    ".join([f"{self.sign} {self.what}", *self.details])


def wanted(documents: Iterable[Json]) -> list[Object]:
    found: dict[tuple[str, str], Object] = {}
    for document in documents:
        one = _object(document)
        if (one.kind, one.name) in found:
            raise click.ClickException(f"{_what(one)} stands twice in the files; leave one out.")
        found[one.kind, one.name] = one
    return list(found.values())


def _object(document: Json) -> Object:
    kind, metadata, spec = document.get("kind"), document.get("metadata") or {}, document.get("spec") or {}
    if document.get("apiVersion") != API:
        name = "/".join(str(metadata[key]) for key in ("namespace", "name") if metadata.get(key))
        return Object(POLICY, name, document)
    if kind not in SPEC:
        raise click.ClickException(f"{API} has no kind {kind!r}; there are {', '.join(SPEC)}.")
    unknown = sorted(set(spec) - set(SPEC[kind])) + sorted(set(metadata) - {"name", "namespace", "labels"})
    if unknown:
        raise click.ClickException(f"{kind} has no field '{unknown[0]}'; there are {', '.join(SPEC[kind]) or 'none'}.")
    fields = {SPEC[kind][key]: value for key, value in spec.items()}
    if kind == "Peering":
        fields["tenants"] = sorted(fields.get("tenants") or ())
        return Object(kind, _pair(fields["tenants"]), fields)
    if kind == "RoleBinding":
        return Object(kind, _bound(fields), fields)
    if not isinstance(metadata.get("name"), str) or (kind == "Network" and not metadata.get("namespace")):
        raise click.ClickException(f"a {kind} needs metadata.name" + (" and metadata.namespace" * (kind == "Network")))
    name = f"{metadata['namespace']}/{metadata['name']}" if kind == "Network" else metadata["name"]
    if "labels" in metadata:
        fields["labels"] = {key: value for key, value in metadata["labels"].items() if key != NAME_LABEL}
    return Object(kind, name, fields)


def _pair(tenants: list[str]) -> str:
    if len(tenants) != 2:
        raise click.ClickException("a Peering has two tenants: spec: {tenants: [acme, beta]}.")
    return " with ".join(tenants)


def _bound(fields: Mapping[str, Any]) -> str:
    who = f"user {fields['user']}" if fields.get("user") else f"group {fields.get('group')}"
    return f"{who} in {'tenant ' + fields['tenant'] if fields.get('tenant') else 'the cluster'}"


def present(rest: Rest, kinds: Iterable[str]) -> Iterator[Object]:
    """What the API has of these kinds, as far as the asker sees it."""
    for kind in ORDER:
        if kind in kinds:
            yield from _READERS[kind](rest)


def _tenants(rest: Rest) -> Iterator[Object]:
    for item in rest.items("/tenants"):
        labels = {key: value for key, value in item["labels"].items() if key != NAME_LABEL}
        fields = {key: item[key] for key in ("track_all", "default_deny", "quota")} | {"labels": labels}
        yield Object("Tenant", item["name"], fields, item["version"])


_OF_NETWORK = ("private", "isolated", "labels", "plan", "strict", "broadcast", "outbound", "transport", "cross_subnet")


def _networks(rest: Rest) -> Iterator[Object]:
    for item in rest.items("/networks"):
        # What is cut from the cluster's pool would be cut elsewhere by another cluster.
        own = [subnet for subnet in item["subnets"] if subnet["pool"] is None]
        fields = {key: item[key] for key in _OF_NETWORK} | {"mtu": item["own_mtu"]}
        if own:
            fields |= {
                "subnets": [one["cidr"] for one in own],
                "gateways": [one["gateway"] for one in own],
                "ip_ranges": [one["ip_range"] for one in own if one["ip_range"] is not None],
                "excludes": [excluded for one in own for excluded in one["excludes"]],
                "aux_addresses": {name: address for one in own for name, address in one["aux_addresses"].items()},
                "block_sizes": list(dict.fromkeys(one["block_size"] for one in own if one["block_size"] is not None)),
            }
        yield Object("Network", item["name"], fields, item["version"])


def _policies(rest: Rest) -> Iterator[Object]:
    for item in rest.items("/policies"):
        yield Object(POLICY, item["name"], item["document"], item["version"])


def _peerings(rest: Rest) -> Iterator[Object]:
    for item in list(rest.items("/tenants")):
        for peer in rest.get(f"/tenants/{item['name']}").body["peers"]:
            if item["name"] < peer:
                tenants = [item["name"], peer]
                yield Object("Peering", _pair(tenants), {"tenants": tenants})


def _users(rest: Rest) -> Iterator[Object]:
    for item in rest.items("/users"):
        yield Object("User", item["name"], {})


def _bindings(rest: Rest) -> Iterator[Object]:
    for item in rest.items("/role-bindings"):
        fields = {key: item[key] for key in ("role", "user", "group", "tenant") if item[key] is not None}
        yield Object("RoleBinding", _bound(item), fields, id=item["id"])


_READERS: Mapping[str, Callable[[Any], Iterator[Object]]] = {
    "Tenant": _tenants,
    "Network": _networks,
    POLICY: _policies,
    "Peering": _peerings,
    "User": _users,
    "RoleBinding": _bindings,
}


def document(one: Object) -> Json:
    """As a file has it."""
    if one.kind == POLICY:
        return one.fields
    metadata: Json = {}
    if one.kind in ("Tenant", "Network", "User"):
        namespace, _, name = one.name.rpartition("/")
        metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
        if one.fields.get("labels"):
            metadata["labels"] = one.fields["labels"]
    spec = {
        key: one.fields[field]
        for key, field in SPEC[one.kind].items()
        if one.fields.get(field) not in (None, False, [], {}, _DEFAULTS.get(field))
    }
    return {"apiVersion": API, "kind": one.kind, "metadata": metadata, "spec": spec}


_DEFAULTS = {"plan": "shared", "transport": "vxlan"}
"""What else than nothing a field is when nobody names it."""


def steps(wished: Iterable[Object], there: Iterable[Object], prune: bool) -> list[Step]:
    """In the order in which they are to be done. With `prune` what is there and not wished for goes."""
    has = {(one.kind, one.name): one for one in there}
    asked = sorted(wished, key=lambda one: (ORDER.index(one.kind), one.name))
    brought = {f"{one.name}/default" for one in asked if one.kind == "Tenant" and (one.kind, one.name) not in has}
    found = [step for one in asked if (step := _step(one, has.get((one.kind, one.name)), one.name in brought))]
    if prune:
        names = {(one.kind, one.name) for one in asked}
        gone = [one for key, one in has.items() if key not in names]
        # A tenant takes along what is in it.
        tenants = {one.name for one in gone if one.kind == "Tenant"}
        gone = [one for one in gone if not _within(one, tenants)]
        found += [_removal(one) for one in sorted(gone, key=lambda one: (-ORDER.index(one.kind), one.name))]
    return found


def _within(one: Object, tenants: set[str]) -> bool:
    if one.kind == "Peering":
        return not tenants.isdisjoint(one.fields["tenants"])
    if one.kind == "RoleBinding":
        return one.fields.get("tenant") in tenants
    return "/" in one.name and one.name.partition("/")[0] in tenants


def _step(one: Object, there: Object | None, brought: bool) -> Step | None:
    if there is None:
        # A new tenant brings a network of this name along.
        anew = [Request("DELETE", f"/networks/{one.name}")] if brought else []
        return Step("+", _what(one), [], [*anew, _creation(one)])
    if one.kind == POLICY:
        if one.fields == there.fields:
            return None
        return Step("~", _what(one), ["its document"], [_creation(one)])
    has = there.fields
    different = {key: value for key, value in one.fields.items() if not _agree(key, value, has.get(key))}
    if not different:
        return None
    if fixed := [key for key in FIXED.get(one.kind, ()) if key in different]:
        raise click.ClickException(f"{_what(one)}: {fixed[0]} cannot change; delete it and make it anew.")
    details = [f"{key}: {there.fields.get(key)} -> {value}" for key, value in different.items()]
    if one.kind == "RoleBinding":
        return Step("~", _what(one), details, [_creation(one)])
    for key in ("labels", "quota"):
        if key in different:
            different[key] = {**dict.fromkeys(there.fields.get(key) or {}), **different[key]}
    place = {"Tenant": "tenants", "Network": "networks"}[one.kind]
    return Step("~", _what(one), details, [Request("PATCH", f"/{place}/{one.name}", different, there.version)])


def _agree(field: str, asked: Any, has: Any) -> bool:
    """Whether what is there is what a file says, which may write it in other words or another order."""
    if field in ("gateways", "block_sizes"):
        # Of subnets for which the file names none, the API chose.
        return _all(asked) <= _all(has)
    if field in ("subnets", "ip_ranges", "excludes"):
        return _all(asked) == _all(has)
    return bool(asked == has)


def _all(written: Any) -> set[Any]:
    return {part for one in written or () for part in _plain(one)}


def _plain(written: Any) -> list[Any]:
    """Addresses and ranges as the networks they are; what is none of these stays, for the API to say so."""
    low, dash, high = str(written).partition("-")
    try:
        if dash:
            ends: list[Any] = [ipaddress.ip_address(end) for end in (low, high)]
            return list(ipaddress.summarize_address_range(*ends))
        return [ipaddress.ip_network(written) if isinstance(written, str) else written]
    except (ValueError, TypeError):
        return [str(written)]


def _creation(one: Object) -> Request:
    match one.kind:
        case "Tenant" | "Network" | "User":
            return Request("POST", f"/{one.kind.lower()}s", {"name": one.name, **one.fields})
        case "Peering":
            first, second = one.fields["tenants"]
            return Request("POST", f"/tenants/{first}/peer", {"with": second})
        case "RoleBinding":
            return Request("POST", "/role-bindings", one.fields)
    return Request("POST", "/policies", {"documents": [one.fields]})


def _removal(one: Object) -> Step:
    match one.kind:
        case "Tenant" | "Network" | "User":
            path = f"/{one.kind.lower()}s/{one.name}"
        case "Peering":
            path = "/tenants/{}/peers/{}".format(*one.fields["tenants"])
        case "RoleBinding":
            path = f"/role-bindings/{one.id}"
        case _:
            path = f"/policies/{one.name}"
    return Step("-", _what(one), [], [Request("DELETE", path, None, one.version)])


def _what(one: Object) -> str:
    kind = one.fields.get("kind", POLICY) if one.kind == POLICY else one.kind
    return f"{kind} {one.name}"
