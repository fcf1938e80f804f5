"""What files declare and what the API has, in one shape; `client.steps` tells what makes the second like the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from client.manifests import Found
    from client.rest import Rest

Json = dict[str, Any]
API = "warren/v1"
NAME_LABEL = "kubernetes.io/metadata.name"
POLICY = "Policy"
"""Documents of Kubernetes and OpenShift, whatever their kind."""
CLUSTER = "Cluster"
"""What holds among all tenants. There is one, which is neither made nor removed."""

ORDER = (
    *("Pool", "Tenant", "Network", "Reservation", "Record", POLICY, "Peering", CLUSTER),
    *("User", "Group", "RoleBinding"),
)
"""Each after what it needs; what goes away goes in the opposite order."""

OF_TENANTS = ("Network", "Reservation", "Record")
LAYOUT = {"ipRanges": "ip_ranges", "excludes": "excludes", "auxAddresses": "aux_addresses", "blockSizes": "block_sizes"}
SPEC = {
    "Tenant": {
        "trackAll": "track_all",
        "defaultDeny": "default_deny",
        "quota": "quota",
        "defaultNetwork": "default_network",
    },
    "Network": {
        **{key: key for key in ("subnets", "gateways", "private", "isolated", "mtu", "plan", "strict")},
        **{key: key for key in ("broadcast", "outbound", "transport")},
        **{key: key for key in ("physical", "vlan")},
        "crossSubnet": "cross_subnet",
        **LAYOUT,
    },
    "Pool": {key: key for key in ("cidr", "prefix", "state")},
    "Reservation": {"network": "network", "addresses": "addresses", "expiresAt": "expires_at"},
    "Record": {"network": "network", "addresses": "addresses"},
    "Peering": {"tenants": "tenants"},
    CLUSTER: {"isolation": "isolation", "tunnelPorts": "tunnel_ports", "joined": "joined", "global": "global"},
    "User": {},
    "Group": {"members": "members"},
    "RoleBinding": {key: key for key in ("role", "user", "group", "tenant")},
}
"""The fields of `spec` by kind, and what the API calls them."""
_SHAPES: Mapping[type, tuple[str, frozenset[str]]] = {
    str: ("text", frozenset({"network", "expiresAt", "role", "user", "group", "tenant", "name", "namespace"})),
    list: (
        "a list",
        frozenset({"subnets", "gateways", "ipRanges", "excludes", "blockSizes", "addresses", "defaultDeny"})
        | {"tenants", "joined", "global", "members"},
    ),
    dict: ("a mapping", frozenset({"quota", "auxAddresses", "tunnelPorts", "labels"})),
}
"""What fields are that are looked into before the API sees them."""
_NAMES = frozenset({"tenants", "global", "members"})
_UNSAID = (_SHAPES[list][1] | _SHAPES[dict][1]) - {"tenants", "joined", "global"}
"""What is not named where nothing stands behind it."""


class Object(NamedTuple):
    """`fields` are the API's. `version` and `id` are of what is there, `place` is where a file says it."""

    kind: str
    name: str
    fields: Json
    version: int | None = None
    id: int | None = None
    place: str = ""


def wanted(documents: Iterable[Found]) -> list[Object]:
    found: dict[tuple[str, str], Object] = {}
    for document in documents:
        try:
            one = _object(document.document)._replace(place=document.place)
        except click.ClickException as fault:
            raise document.fault(fault.message) from None
        if (one.kind, one.name) in found:
            before = found[one.kind, one.name].place
            raise document.fault(f"{what(one)} stands twice in the files, before in {before}; leave one out.")
        found[one.kind, one.name] = one
    return list(found.values())


def _object(document: Json) -> Object:
    kind, metadata, spec = document.get("kind"), document.get("metadata") or {}, document.get("spec") or {}
    if not isinstance(kind, str | None):
        raise click.ClickException(f"kind is {kind!r}; write text.")
    if not isinstance(metadata, dict) or not isinstance(spec, dict):
        raise click.ClickException(f"metadata and spec of {kind} are mappings; write fields and values.")
    if document.get("apiVersion") != API:
        name = "/".join(str(metadata[key]) for key in ("namespace", "name") if metadata.get(key))
        return Object(POLICY, name, document)
    if kind not in SPEC:
        raise click.ClickException(f"{API} has no kind {kind!r}; there are {', '.join(SPEC)}.")
    unknown = sorted(set(spec) - set(SPEC[kind])) + sorted(set(metadata) - {"name", "namespace", "labels"})
    if unknown:
        raise click.ClickException(f"{kind} has no field '{unknown[0]}'; there are {', '.join(SPEC[kind]) or 'none'}.")
    spec = _shaped(kind, metadata, spec)
    fields = {SPEC[kind][key]: value for key, value in spec.items()}
    if kind == CLUSTER:
        return Object(kind, "", _standings(fields))
    if kind == "Peering":
        fields["tenants"] = sorted(fields.get("tenants") or ())
        return Object(kind, _pair(fields["tenants"]), fields)
    if kind == "RoleBinding":
        return Object(kind, _bound(fields), fields)
    within = kind in OF_TENANTS
    if not isinstance(metadata.get("name"), str) or (within and not metadata.get("namespace")):
        raise click.ClickException(f"a {kind} needs metadata.name" + (" and metadata.namespace" * within))
    if kind == "Reservation" and not fields.get("network"):
        raise click.ClickException(f"Reservation {metadata['name']} needs spec.network, the network it is in.")
    place = [metadata["namespace"]] if within else []
    place += [fields.pop("network")] if fields.get("network") else []
    name = "/".join((*place, metadata["name"]))
    if metadata.get("labels") is not None:
        fields["labels"] = {key: value for key, value in metadata["labels"].items() if key != NAME_LABEL}
    return Object(kind, name, fields)


def _shaped(kind: str, metadata: Json, spec: Json) -> Json:
    """What `spec` names, when what is looked into is as it should be."""
    for key, value in {**metadata, **spec}.items():
        for shape, (words, keys) in _SHAPES.items():
            if key in keys and not isinstance(value, shape | None):
                raise click.ClickException(f"{key} of {kind} is {value!r}; write {words}.")
        lists = value if key == "joined" else [value] if key in _NAMES else []
        for names in lists or ():
            if not isinstance(names, list | None) or not all(isinstance(name, str) for name in names or ()):
                raise click.ClickException(f"{key} of {kind} is {value!r}; write names.")
    return {key: value for key, value in spec.items() if value is not None or key not in _UNSAID}


def _standings(fields: Json) -> Json:
    """Zones, which are sets, in their one order."""
    found: set[str] = set()
    if "global" in fields:
        fields["global"] = sorted(fields["global"] or ())
        found = set(fields["global"])
    if "joined" in fields:
        fields["joined"] = sorted(sorted(zone) for zone in fields["joined"] or ())
        for zone in fields["joined"]:
            if len(set(zone)) < 2:
                raise click.ClickException(f"joined: {zone} is not a zone of two tenants or more, like [acme, beta].")
            if twice := sorted(found.intersection(zone)):
                raise click.ClickException(f"Cluster: tenant {twice[0]} can stand in one zone only, or be global.")
            found.update(zone)
    return fields


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
            # By name and not by age: files are compared, and kept with their history.
            yield from sorted(_READERS[kind](rest), key=lambda one: (one.name, what(one)))


def alike(there: Iterable[Object], wished: Iterable[Object]) -> Iterator[Object]:
    """What files may be about: of policies only those of their kinds, as others have files of their own."""
    policies = [one for one in wished if one.kind == POLICY]
    names, kinds = {one.name for one in policies}, {one.fields.get("kind") for one in policies}
    return (one for one in there if one.kind != POLICY or one.name in names or one.fields["kind"] in kinds)


def _tenants(rest: Rest) -> Iterator[Object]:
    networks = {network["name"] for network in rest.items("/networks")}
    for item in rest.items("/tenants"):
        labels = {key: value for key, value in item["labels"].items() if key != NAME_LABEL}
        fields = {key: item[key] for key in ("track_all", "default_deny", "quota")} | {"labels": labels}
        fields["default_network"] = f"{item['name']}/default" in networks
        yield Object("Tenant", item["name"], fields, item["version"])


_OF_NETWORK = (
    "private",
    "isolated",
    "labels",
    "plan",
    "strict",
    "broadcast",
    "outbound",
    "transport",
    "cross_subnet",
    "physical",
    "vlan",
)


def _networks(rest: Rest) -> Iterator[Object]:
    for item in rest.items("/networks"):
        # Those of a pool, too: the same pool gives out the same ones elsewhere to who names them.
        own = item["subnets"]
        fields = {key: item[key] for key in _OF_NETWORK} | {"mtu": item["own_mtu"]}
        fields |= {
            "subnets": [one["cidr"] for one in own],
            "gateways": [one["gateway"] for one in own if one["gateway"] is not None],
            "ip_ranges": [one["ip_range"] for one in own if one["ip_range"] is not None],
            "excludes": [excluded for one in own for excluded in one["excludes"]],
            "aux_addresses": {name: address for one in own for name, address in one["aux_addresses"].items()},
            "block_sizes": list(dict.fromkeys(one["block_size"] for one in own if one["block_size"] is not None)),
        }
        yield Object("Network", item["name"], fields, item["version"])


def _policies(rest: Rest) -> Iterator[Object]:
    for item in rest.items("/policies"):
        yield Object(POLICY, item["name"], item["document"], item["version"])


def _pools(rest: Rest) -> Iterator[Object]:
    for item in rest.items("/pools"):
        yield Object("Pool", item["name"], {key: item[key] for key in ("cidr", "prefix", "state")}, item["version"])


def _reservations(rest: Rest) -> Iterator[Object]:
    for network in list(rest.items("/networks")):
        for item in rest.items(f"/networks/{network['name']}/reservations"):
            fields = {key: item[key] for key in ("addresses", "expires_at")}
            yield Object("Reservation", f"{network['name']}/{item['name']}", fields)


def _records(rest: Rest) -> Iterator[Object]:
    for item in rest.items("/dns/records"):
        yield Object("Record", f"{item['scope']}/{item['name']}", {"addresses": item["addresses"]}, item["version"])


def _groups(rest: Rest) -> Iterator[Object]:
    for item in rest.items("/groups"):
        yield Object("Group", item["name"], {"members": sorted(item["members"])})


def _peerings(rest: Rest) -> Iterator[Object]:
    for item in list(rest.items("/tenants")):
        for peer in rest.get(f"/tenants/{item['name']}").body["peers"]:
            if item["name"] < peer:
                tenants = [item["name"], peer]
                yield Object("Peering", _pair(tenants), {"tenants": tenants})


def _cluster(rest: Rest) -> Iterator[Object]:
    there = rest.get("/cluster").body
    zones: dict[int, list[str]] = {}
    alone: list[str] = []
    for item in rest.items("/tenants"):
        if item["isolation"] == "joined":
            zones.setdefault(item["zone"], []).append(item["name"])
        elif item["isolation"] == "global":
            alone.append(item["name"])
    fields = {"isolation": there["isolation"], "tunnel_ports": there["tunnel_ports"]}
    yield Object(CLUSTER, "", _standings({**fields, "joined": list(zones.values()), "global": alone}), there["version"])


def _users(rest: Rest) -> Iterator[Object]:
    for item in rest.items("/users"):
        yield Object("User", item["name"], {})


def _bindings(rest: Rest) -> Iterator[Object]:
    for item in rest.items("/role-bindings"):
        fields = {key: item[key] for key in ("role", "user", "group", "tenant") if item[key] is not None}
        yield Object("RoleBinding", _bound(item), fields, id=item["id"])


_READERS: Mapping[str, Callable[[Any], Iterator[Object]]] = {
    "Pool": _pools,
    "Tenant": _tenants,
    "Network": _networks,
    "Reservation": _reservations,
    "Record": _records,
    POLICY: _policies,
    "Peering": _peerings,
    CLUSTER: _cluster,
    "User": _users,
    "Group": _groups,
    "RoleBinding": _bindings,
}


def document(one: Object) -> Json:
    """The object as a document in a file."""
    if one.kind == POLICY:
        return one.fields
    metadata: Json = {}
    inside: Json = {}
    if one.kind not in ("Peering", "RoleBinding", CLUSTER):
        *places, name = one.name.split("/")
        metadata = {"name": name} | ({"namespace": places[0]} if places else {})
        inside = {"network": places[1]} if len(places) > 1 else {}
        if one.fields.get("labels"):
            metadata["labels"] = dict(sorted(one.fields["labels"].items()))
    spec = {key: one.fields[field] for key, field in SPEC[one.kind].items() if _said(one, field)}
    spec = {key: dict(sorted(value.items())) if isinstance(value, dict) else value for key, value in spec.items()}
    return {"apiVersion": API, "kind": one.kind, "metadata": metadata, "spec": inside | spec}


_DEFAULTS = {"state": "enabled", "plan": "shared", "transport": "vxlan", "outbound": True, "default_network": True}
"""What a field is if a file leaves it out; of other fields false, or nothing."""


def _said(one: Object, field: str) -> bool:
    value = one.fields.get(field)
    if one.kind == CLUSTER or field == "vlan":
        return value is not None
    return value not in (None, [], {}) and value != _DEFAULTS.get(field, False)


def what(one: Object) -> str:
    kind = one.fields.get("kind", POLICY) if one.kind == POLICY else one.kind
    return f"{kind} {one.name}".rstrip()
