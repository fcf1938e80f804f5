"""Warren's own names as one host knows them: what an asker's network may see, and what a name in it stands for.

The document comes from the API whole, or as what changed since. Names that a network may not see are not looked at, so
they cannot be told from names that do not exist. Pure; it knows nothing of messages.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any, NamedTuple

Address = str
_Held = Mapping[str, tuple[Address, ...]]
"""Addresses by label."""
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class Incomplete(Exception):  # noqa: N818
    """What changed speaks of a network that is not known: only the whole document helps."""


class Network(NamedTuple):
    name: str
    tenant: str
    subnets: tuple[IPNetwork, ...]


class Entry(NamedTuple):
    """An endpoint or a static record. `network` 0: the tenant's as a whole. The first label is its name."""

    tenant: str
    network: int
    labels: tuple[str, ...]
    addresses: tuple[Address, ...]

    @property
    def place(self) -> Place:
        return (self.tenant, self.network)

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Entry:
        return cls(
            document["tenant"],
            document["network"] or 0,
            tuple(document["labels"]),
            tuple(document["addresses"]),
        )


Place = tuple[str, int]


class Own(NamedTuple):
    """An endpoint of this host as an attach or a detach left it at `revision`; `entry` is None when it is gone. `port`
    of the bridge is in `network`."""

    revision: int
    key: str
    entry: Entry | None
    port: int
    network: int


class View(NamedTuple):
    """What is seen from a network: its own place first, then its tenant's others, then other tenants'."""

    id: int
    tenant: str
    near: tuple[Place, ...]
    far: Mapping[str, tuple[Place, ...]]  # by tenant
    networks: Mapping[tuple[str, str], int]  # by tenant and name

    def of_tenant(self, tenant: str) -> tuple[Place, ...]:
        return self.near if tenant == self.tenant else self.far.get(tenant, ())


class Names:
    """Never changes: `parse`, `changed` and `including` make new ones."""

    def __init__(
        self,
        revision: int,
        domain: str,
        networks: Mapping[int, Network],
        seen: Mapping[int, Sequence[int]],
        askers: Mapping[int, int],
        entries: Mapping[str, Entry],
    ) -> None:
        self.revision = revision
        self.domain = tuple(domain.split("."))
        self.suffix = domain
        self.askers = askers
        self._networks = networks
        self._entries = entries
        self._seen = seen
        self._views = {id: _view(id, networks, seen[id]) for id in seen}
        self._places: dict[Place, dict[str, Entry]] = {}
        for key, entry in entries.items():
            self._places.setdefault(entry.place, {})[key] = entry
        self._held: dict[Place, _Held] = {}
        self._pointers: dict[Place, Mapping[Address, str]] = {}

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Names:
        """Raises KeyError, TypeError or ValueError when the document is not of the agreed form."""
        return cls(*_frame(document), {key: Entry.parse(one) for key, one in document["names"].items()})

    def changed(self, document: Mapping[str, Any]) -> Names:
        """These names with the changes in `document`: new or changed ones, null for those gone. Raises Incomplete."""
        frame = _frame(document)
        networks = frame[2]
        if not networks.keys() <= {*self._networks, *document.get("new", ())}:
            raise Incomplete
        entries = dict(self._entries)
        for key, one in document["names"].items():
            if one is None:
                entries.pop(key, None)
            else:
                entries[key] = Entry.parse(one)
        tenants = {network.tenant for network in networks.values()}
        kept = {
            key: e for key, e in entries.items() if e.network in networks or (not e.network and e.tenant in tenants)
        }
        return Names(*frame, kept)

    def including(self, own: Own) -> Names:
        """These names with one endpoint more, or one less. All else is shared and not copied."""
        other = copy(self)
        other._entries, other._places = dict(self._entries), dict(self._places)
        other._held, other._pointers = dict(self._held), dict(self._pointers)
        before = other._entries.pop(own.key, None)
        if own.entry is not None:
            other._entries[own.key] = own.entry
            other.askers = {**self.askers, own.port: own.network}
        for place in {entry.place for entry in (before, own.entry) if entry is not None}:
            there = {key: entry for key, entry in self._places.get(place, {}).items() if key != own.key}
            if own.entry is not None and own.entry.place == place:
                there[own.key] = own.entry
            other._places[place] = there
            other._held.pop(place, None)
            other._pointers.pop(place, None)
        return other

    def network(self, tenant: str, name: str) -> int | None:
        """The id of a network that has endpoints here: what it may see is known."""
        named = (id for id in self._views if self._networks[id][:2] == (name, tenant))
        return next(named, None)

    def document(self) -> dict[str, Any]:
        """Whole, in the form that `parse` reads."""
        return {
            "revision": self.revision,
            "whole": True,
            "domain": self.suffix,
            "networks": {
                str(id): {"name": one.name, "tenant": one.tenant, "subnets": [str(net) for net in one.subnets]}
                for id, one in self._networks.items()
            },
            "seen": {str(id): list(ids) for id, ids in self._seen.items()},
            "askers": {str(port): id for port, id in self.askers.items()},
            "names": {
                key: {
                    "tenant": e.tenant,
                    "network": e.network,
                    "labels": list(e.labels),
                    "addresses": list(e.addresses),
                }
                for key, e in self._entries.items()
            },
        }

    def view(self, network: int) -> View | None:
        return self._views.get(network)

    def find(self, view: View, labels: Sequence[str]) -> tuple[Address, ...] | None:
        """The addresses of a name; empty when there is nothing but names below it; None when there is no such name."""
        if inside := self.relative(labels):
            return self._qualified(view, inside)
        if self.is_own(labels):
            return ()  # the domain itself
        match labels:
            case [name]:
                return self._first(view.near, name)
            case [name, network]:
                return self._in_network(view, name, network, view.tenant)
        return None

    def relative(self, labels: Sequence[str]) -> Sequence[str]:
        """What comes before Warren's domain; empty when the name is not below it."""
        return labels[: -len(self.domain)] if self.is_own(labels) else ()

    def is_own(self, labels: Sequence[str]) -> bool:
        return tuple(labels[-len(self.domain) :]) == self.domain

    def pointer(self, view: View, address: Address) -> str | None:
        """The full name of who has an address, the asker's own network first."""
        for places in (view.near, *view.far.values()):
            for place in places:
                if (name := self._pointers_of(place).get(address)) is not None:
                    return name
        return None

    def covers(self, view: View, address: Address) -> bool:
        """Whether a subnet that the view sees has the address."""
        ip = ipaddress.ip_address(address)
        seen = (self._networks[id] for id in view.networks.values())
        return any(ip.version == subnet.version and ip in subnet for network in seen for subnet in network.subnets)

    def _qualified(self, view: View, labels: Sequence[str]) -> tuple[Address, ...] | None:
        match labels:
            case [tenant]:
                return () if view.of_tenant(tenant) else None
            case [name, tenant]:
                if (found := self._first(view.of_tenant(tenant), name)) is not None:
                    return found
                return () if (tenant, name) in view.networks else None
            case [name, network, tenant]:
                return self._in_network(view, name, network, tenant)
        return None

    def _in_network(self, view: View, name: str, network: str, tenant: str) -> tuple[Address, ...] | None:
        id = view.networks.get((tenant, network))
        return None if id is None else self._held_in((tenant, id)).get(name)

    def _first(self, places: Iterable[Place], name: str) -> tuple[Address, ...] | None:
        for place in places:
            if (found := self._held_in(place).get(name)) is not None:
                return found
        return None

    def _held_in(self, place: Place) -> _Held:
        held = self._held.get(place)
        if held is None:
            gathered: dict[str, dict[Address, None]] = {}
            for entry in self._places.get(place, {}).values():
                for label in entry.labels:
                    gathered.setdefault(label, {}).update(dict.fromkeys(entry.addresses))
            held = self._held[place] = {label: tuple(addresses) for label, addresses in gathered.items()}
        return held

    def _pointers_of(self, place: Place) -> Mapping[Address, str]:
        found = self._pointers.get(place)
        if found is None:
            tenant, id = place
            below = f"{self._networks[id].name}.{tenant}" if id else tenant
            # An endpoint's own name rather than that of a record about it.
            entries = sorted(self._places.get(place, {}).items(), reverse=True)
            found = self._pointers[place] = {
                address: f"{entry.labels[0]}.{below}.{self.suffix}"
                for _, entry in entries
                for address in entry.addresses
            }
        return found


def _view(id: int, networks: Mapping[int, Network], seen: Sequence[int]) -> View:
    own = networks[id].tenant
    near: list[Place] = [(own, id), (own, 0)]
    far: dict[str, list[Place]] = {}
    for other in seen:
        tenant = networks[other].tenant
        if other == id:
            continue
        if tenant == own:
            near.append((own, other))
        else:
            far.setdefault(tenant, [(tenant, 0)]).append((tenant, other))
    return View(
        id,
        own,
        tuple(near),
        {tenant: tuple(places) for tenant, places in far.items()},
        {(networks[other].tenant, networks[other].name): other for other in (*seen, id)},
    )


def _frame(
    document: Mapping[str, Any],
) -> tuple[int, str, dict[int, Network], dict[int, tuple[int, ...]], dict[int, int]]:
    networks = {
        int(id): Network(one["name"], one["tenant"], tuple(ipaddress.ip_network(text) for text in one["subnets"]))
        for id, one in document["networks"].items()
    }
    return (
        int(document["revision"]),
        document["domain"],
        networks,
        {int(id): tuple(seen) for id, seen in document["seen"].items()},
        {int(port): int(id) for port, id in document["askers"].items()},
    )
