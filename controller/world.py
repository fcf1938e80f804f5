"""The world: an immutable snapshot of all objects at one revision, with the indexes that calculations need.

`World.apply` gives the next world from changed objects and shares everything untouched with the old one, so
its cost follows the change and not the world (but for a shallow copy of the tables that changed). A world built
at once and the same world built change by change are equal. The world knows no flows and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

from controller.model import Change, Cluster, Endpoint, Host, Network, Peering, Tenant

_Value = TypeVar("_Value")
_Nested = Mapping[int, Mapping[int, _Value]]
_NOTHING: Mapping[int, Any] = MappingProxyType({})


class World(NamedTuple):
    """Objects by id, then the indexes. Those of `hosts_of_zone` and its like count endpoints: `[zone][host]`."""

    revision: int = 0
    tenants: Mapping[int, Tenant] = _NOTHING
    networks: Mapping[int, Network] = _NOTHING
    hosts: Mapping[int, Host] = _NOTHING
    endpoints: Mapping[int, Endpoint] = _NOTHING
    peerings: Mapping[int, Peering] = _NOTHING
    clusters: Mapping[int, Cluster] = _NOTHING

    endpoints_of_network: _Nested[Endpoint] = _NOTHING
    endpoints_of_host: _Nested[Endpoint] = _NOTHING
    networks_of_zone: _Nested[Network] = _NOTHING
    networks_of_tenant: _Nested[Network] = _NOTHING
    peerings_of_tenant: _Nested[Peering] = _NOTHING
    hosts_of_zone: _Nested[int] = _NOTHING
    zones_of_host: _Nested[int] = _NOTHING
    hosts_of_tenant: _Nested[int] = _NOTHING
    tenants_of_host: _Nested[int] = _NOTHING

    def zone_of(self, endpoint: Endpoint) -> int:
        return self.networks[endpoint.network].zone

    def is_isolated(self, network: Network) -> bool:
        """Whether the network has a zone of its own, apart from its tenant's."""
        return network.zone != self.tenants[network.tenant].zone

    def peers(self, tenant: int) -> set[int]:
        return {peering.other(tenant) for peering in self.peerings_of_tenant.get(tenant, {}).values()}

    @property
    def flat(self) -> bool:
        return any(cluster.flat for cluster in self.clusters.values())

    def apply(self, revision: int, changes: Iterable[Change]) -> World:
        """The world after `changes`, which must be complete: an endpoint's network is known, and so on.

        Raises KeyError when a change names an object that neither the world nor the changes have.
        """
        draft = _Draft(self)
        for change in changes:
            draft.put(change)
        return draft.finish(revision)


class _Draft:
    """The next world in the making: objects first, then every index entry that they move."""

    def __init__(self, old: World) -> None:
        self._old = old
        self._tables: dict[str, dict[int, object]] = {}
        self._changed: dict[str, set[int]] = {}

    def put(self, change: Change) -> None:
        field = change.noun + "s"
        table = self._tables.get(field)
        if table is None:
            table = self._tables[field] = dict(getattr(self._old, field))
        self._changed.setdefault(change.noun, set()).add(change.id)
        if change.value is None:
            table.pop(change.id, None)
        else:
            table[change.id] = change.value

    def finish(self, revision: int) -> World:
        new = self._old._replace(revision=revision, **self._tables)  # type: ignore[arg-type]
        networks, rezoned = self._index_networks(new)
        return new._replace(**networks, **self._index_peerings(new), **self._index_endpoints(new, rezoned))

    def _index_networks(self, new: World) -> tuple[dict[str, Any], set[int]]:
        """The indexes, and the endpoints of networks that changed their zone."""
        old, rezoned = self._old, set[int]()
        by_zone, by_tenant = _Index(old.networks_of_zone), _Index(old.networks_of_tenant)
        for id in self._changed.get("network", ()):
            before, after = old.networks.get(id), new.networks.get(id)
            if before is not None:
                by_zone.discard(before.zone, id)
                by_tenant.discard(before.tenant, id)
            if after is not None:
                by_zone.put(after.zone, id, after)
                by_tenant.put(after.tenant, id, after)
            if before is not None and after is not None and before.zone != after.zone:
                rezoned.update(old.endpoints_of_network.get(id, ()))
        return {"networks_of_zone": by_zone.nested, "networks_of_tenant": by_tenant.nested}, rezoned

    def _index_peerings(self, new: World) -> dict[str, Any]:
        index = _Index(self._old.peerings_of_tenant)
        for id in self._changed.get("peering", ()):
            before, after = self._old.peerings.get(id), new.peerings.get(id)
            if before is not None:
                for tenant in before.tenants:
                    index.discard(tenant, id)
            if after is not None:
                for tenant in after.tenants:
                    index.put(tenant, id, after)
        return {"peerings_of_tenant": index.nested}

    def _index_endpoints(self, new: World, rezoned: set[int]) -> dict[str, Any]:
        old = self._old
        by_network, by_host = _Index(old.endpoints_of_network), _Index(old.endpoints_of_host)
        hosts_of_zone, zones_of_host = _Index(old.hosts_of_zone), _Index(old.zones_of_host)
        hosts_of_tenant, tenants_of_host = _Index(old.hosts_of_tenant), _Index(old.tenants_of_host)

        def count(world: World, endpoint: Endpoint, amount: int) -> None:
            network, host = world.networks[endpoint.network], endpoint.host
            _count(hosts_of_zone, network.zone, host, amount)
            _count(zones_of_host, host, network.zone, amount)
            _count(hosts_of_tenant, network.tenant, host, amount)
            _count(tenants_of_host, host, network.tenant, amount)

        for id in rezoned | self._changed.get("endpoint", set()):
            was, now = old.endpoints.get(id), new.endpoints.get(id)
            if was is not None:
                by_network.discard(was.network, id)
                by_host.discard(was.host, id)
                count(old, was, -1)
            if now is not None:
                by_network.put(now.network, id, now)
                by_host.put(now.host, id, now)
                count(new, now, +1)
        return {
            "endpoints_of_network": by_network.nested,
            "endpoints_of_host": by_host.nested,
            "hosts_of_zone": hosts_of_zone.nested,
            "zones_of_host": zones_of_host.nested,
            "hosts_of_tenant": hosts_of_tenant.nested,
            "tenants_of_host": tenants_of_host.nested,
        }


class _Index(Generic[_Value]):
    """A two-level map that copies a level only when it first changes, and keeps no empty inner map."""

    def __init__(self, old: _Nested[_Value]) -> None:
        self._old = old
        self._outer: dict[int, Mapping[int, _Value]] | None = None
        self._inner: dict[int, dict[int, _Value]] = {}

    @property
    def nested(self) -> _Nested[_Value]:
        if self._outer is None:
            return self._old
        for key, inner in self._inner.items():
            if inner:
                self._outer[key] = inner
            else:
                self._outer.pop(key, None)
        return self._outer

    def writable(self, key: int) -> dict[int, _Value]:
        if self._outer is None:
            self._outer = dict(self._old)
        inner = self._inner.get(key)
        if inner is None:
            inner = self._inner[key] = dict(self._outer.get(key, {}))
        return inner

    def put(self, key: int, id: int, value: _Value) -> None:
        self.writable(key)[id] = value

    def discard(self, key: int, id: int) -> None:
        self.writable(key).pop(id, None)


def _count(index: _Index[int], key: int, id: int, amount: int) -> None:
    inner = index.writable(key)
    inner[id] = inner.get(id, 0) + amount
    if not inner[id]:
        del inner[id]
