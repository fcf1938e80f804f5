"""The requests that make what the API has equal to what files declare, in the order in which they are to be sent.

Objects are compared in the shape of the files, field by field; fields that a file does not name are left as they are.
It sends none of the requests.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import click

from client.declared import CLUSTER, ORDER, POLICY, Json, Object, what

FIXED = {
    "Pool": ("cidr", "prefix"),
    "Network": ("subnets", "gateways", "private", "plan", "aux_addresses", "block_sizes"),
}
"""Fields that cannot be changed."""


class Request(NamedTuple):
    method: str
    path: str
    body: Json | None = None
    version: int | None = None


Standings = tuple[Sequence[Sequence[str]], Sequence[str]]
"""The zones that tenants share, and who is global."""


class Step(NamedTuple):
    sign: str
    what: str
    details: list[str]
    requests: list[Request]
    place: str = ""

    def __str__(self) -> str:
        return "\n    ".join([f"{self.sign} {self.what}", *self.details])


def steps(wished: Iterable[Object], there: Iterable[Object], prune: bool) -> list[Step]:
    """The steps, in order. With `prune` also the removal of what is there and not wished for."""
    has = {(one.kind, one.name): one for one in there}
    asked = sorted(wished, key=lambda one: (ORDER.index(one.kind), one.name))
    names = {(one.kind, one.name) for one in asked}
    # A new tenant brings a network of this name along, which would have a subnet that another one shall have; or which
    # nobody named, and so would go the next time.
    pruned = prune and any(one.kind == "Network" for one in asked)
    asked = [
        one._replace(fields={**one.fields, "default_network": False})
        if one.kind == "Tenant"
        and (("Network", f"{one.name}/default") in names or (pruned and not one.fields.get("default_network")))
        else one
        for one in asked
    ]
    found = [step._replace(place=one.place) for one in asked if (step := _step(one, has.get((one.kind, one.name))))]
    if prune:
        names |= {("Network", f"{one.name}/default") for one in asked if one.fields.get("default_network")}
        gone = [one for key, one in has.items() if key not in names and one.kind != CLUSTER]
        # A tenant takes along what is in it.
        tenants = {one.name for one in gone if one.kind == "Tenant"}
        gone = [one for one in gone if not _within(one, tenants)]
        # Who parts from others first is at another version then, as are the networks.
        moved = {path.split("/")[2] for step in found for _, path, *_ in step.requests if path.startswith("/tenants/")}
        gone = [
            one._replace(version=None) if one.kind in ("Tenant", "Network") and _owner(one) in moved else one
            for one in gone
        ]
        found += [_removal(one) for one in sorted(gone, key=lambda one: (-ORDER.index(one.kind), one.name))]
    return found


def _within(one: Object, tenants: set[str]) -> bool:
    if one.kind == "Peering":
        return not tenants.isdisjoint(one.fields["tenants"])
    if one.kind == "RoleBinding":
        return one.fields.get("tenant") in tenants
    return "/" in one.name and _owner(one) in tenants


def _owner(one: Object) -> str:
    return one.name.partition("/")[0]


def _step(one: Object, there: Object | None) -> Step | None:
    if there is None:
        return Step("+", what(one), [], _creation(one))
    if one.kind == POLICY:
        if one.fields == there.fields:
            return None
        return Step("~", what(one), ["its document"], _creation(one))
    has = there.fields
    different = {key: value for key, value in one.fields.items() if not _agree(key, value, has.get(key))}
    if not different:
        return None
    if fixed := [key for key in FIXED.get(one.kind, ()) if key in different]:
        said = f"{what(one)}: {fixed[0]} cannot be changed; delete it and create it again."
        raise click.ClickException(f"{one.place}: {said}" if one.place else said)
    details = [f"{key}: {there.fields.get(key)} -> {value}" for key, value in different.items()]
    if one.kind in ("RoleBinding", "Record"):
        return Step("~", what(one), details, [request._replace(version=there.version) for request in _creation(one)])
    if one.kind == "Reservation":
        anew = one._replace(fields={**has, **one.fields})
        return Step("~", what(one), details, [*_removal(there).requests, *_creation(anew)])
    if one.kind == "Group":
        members = [("PUT", name) for name in one.fields["members"] if name not in has["members"]]
        members += [("DELETE", name) for name in has["members"] if name not in one.fields["members"]]
        return Step(
            "~", what(one), details, [Request(how, f"/groups/{one.name}/members/{who}") for how, who in members]
        )
    if one.kind == CLUSTER:
        return Step("~", what(one), details, _standing(different, there))
    for key in ("labels", "quota"):
        if key in different:
            different[key] = {**dict.fromkeys(there.fields.get(key) or {}), **different[key]}
    place = f"{one.kind.lower()}s"
    return Step("~", what(one), details, [Request("PATCH", f"/{place}/{one.name}", different, there.version)])


def _standing(different: Json, there: Object) -> list[Request]:
    patched = {key: value for key, value in different.items() if key in ("isolation", "tunnel_ports")}
    found = [Request("PATCH", "/cluster", patched, there.version)] if patched else []
    if not {"joined", "global"}.isdisjoint(different):
        has, asked = there.fields, there.fields | different
        found += moves((has["joined"], has["global"]), (asked["joined"], asked["global"]))
    return found


def moves(has: Standings, asked: Standings) -> Iterator[Request]:
    """Who goes where: everybody leaves before anybody joins, so that on the way nobody reaches whom they do not reach
    before or after."""
    (zones, alone), (wished, apart) = has, asked
    place = {name: number for number, zone in enumerate(zones) for name in zone}
    stays, claimed = {name for name in apart if name in alone}, set()
    for zone in wished:
        # A zone that was goes on as the first new one that has somebody of it.
        first = next((place[name] for name in zone if place.get(name, -1) not in {-1, *claimed}), None)
        if first is not None:
            claimed.add(first)
            stays |= {name for name in zone if place.get(name) == first}
    for name in sorted({*place, *alone} - stays):
        yield Request("POST", f"/tenants/{name}/isolate")
    for zone in wished:
        anchor = next((name for name in zone if name in stays), zone[0])
        for name in zone:
            if name != anchor and name not in stays:
                yield Request("POST", f"/tenants/{name}/join", {"to": anchor})
    for name in apart:
        if name not in stays:
            yield Request("POST", f"/tenants/{name}/global")


def _agree(field: str, asked: Any, has: Any) -> bool:
    """Whether what is there equals what a file says, which may be written otherwise or in another order."""
    if field == "default_network":
        return True  # said of a tenant that is made; a network goes as others do
    if field in ("gateways", "block_sizes"):
        # Of subnets for which the file names none, the API chose.
        return _all(asked) <= _all(has)
    if field == "tunnel_ports":
        return bool(asked.items() <= has.items())
    if field == "members":
        return set(asked) == set(has)
    if field == "expires_at" and asked and has:
        with suppress(ValueError):  # what is no moment is the API's to refuse
            return datetime.fromisoformat(asked) == datetime.fromisoformat(has)
        return False
    if field in ("subnets", "ip_ranges", "excludes", "addresses", "cidr"):
        asked, has = ([one] if isinstance(one, str) else one for one in (asked, has))
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


def _creation(one: Object) -> list[Request]:
    match one.kind:
        case "Network":
            # A file names the subnets that pools gave, too.
            return [Request("POST", "/networks", {"name": one.name, **one.fields, "of_pools": True})]
        case "Tenant" | "User":
            return [Request("POST", f"/{one.kind.lower()}s", {"name": one.name, **one.fields})]
        case "Pool":
            asked = {"name": one.name} | {key: value for key, value in one.fields.items() if key != "state"}
            made = [Request("POST", "/pools", asked)]
            state = {"state": one.fields.get("state", "enabled")}
            return made if state["state"] == "enabled" else [*made, Request("PATCH", f"/pools/{one.name}", state)]
        case "Reservation":
            network, _, name = one.name.rpartition("/")
            return [Request("POST", f"/networks/{network}/reservations", {"name": name, **one.fields})]
        case "Record":
            return [Request("PUT", f"/dns/records/{one.name}", one.fields)]
        case "Group":
            members = one.fields.get("members") or ()
            join = [Request("PUT", f"/groups/{one.name}/members/{name}") for name in members]
            return [Request("POST", "/groups", {"name": one.name}), *join]
        case "Peering":
            first, second = one.fields["tenants"]
            return [Request("POST", f"/tenants/{first}/peer", {"with": second})]
        case "RoleBinding":
            return [Request("POST", "/role-bindings", one.fields)]
    return [Request("POST", "/policies", {"documents": [one.fields]})]


def _removal(one: Object) -> Step:
    match one.kind:
        case "Reservation":
            path = "/networks/{}/{}/reservations/{}".format(*one.name.split("/"))
        case "Record":
            path = f"/dns/records/{one.name}"
        case "Pool" | "Tenant" | "Network" | "User" | "Group":
            path = f"/{one.kind.lower()}s/{one.name}"
        case "Peering":
            path = "/tenants/{}/peers/{}".format(*one.fields["tenants"])
        case "RoleBinding":
            path = f"/role-bindings/{one.id}"
        case _:
            path = f"/policies/{one.name}"
    return Step("-", what(one), [], [Request("DELETE", path, None, one.version)])
