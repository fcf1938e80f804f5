"""The world: an immutable snapshot of all objects at one revision, with the indexes that calculations need.

`World.apply` gives the next world from changed objects and shares everything untouched with the old one, so
its cost follows the change and not the world (but for a shallow copy of the tables that changed). A world built
at once and the same world built change by change are equal. The world knows no flows and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from controller.index import Index
from controller.index import count as count_in
from controller.model import (
    Change,
    Cluster,
    DomainName,
    Endpoint,
    Host,
    Network,
    Peering,
    Policy,
    ResolvedName,
    Selector,
    Tenant,
)
from controller.selection import (
    Identity,
    Label,
    Place,
    Use,
    anchors,
    domains,
    held,
    identity,
    matches,
    meaning,
    sought,
    subject,
    watched,
)

_Value = TypeVar("_Value")
_Nested = Mapping[int, Mapping[int, _Value]]
_NOTHING: Mapping[Any, Any] = MappingProxyType({})


class World(NamedTuple):
    """Objects by id, then the indexes. Those of `hosts_of_zone` and its like count endpoints: `[zone][host]`.

    `policies_of_place` and `policies_of_label` find the policies that may mean an identity or a tenant."""

    revision: int = 0
    tenants: Mapping[int, Tenant] = _NOTHING
    networks: Mapping[int, Network] = _NOTHING
    hosts: Mapping[int, Host] = _NOTHING
    endpoints: Mapping[int, Endpoint] = _NOTHING
    peerings: Mapping[int, Peering] = _NOTHING
    clusters: Mapping[int, Cluster] = _NOTHING
    policies: Mapping[int, Policy] = _NOTHING
    names: Mapping[int, ResolvedName] = _NOTHING
    identities: Mapping[int, Identity] = _NOTHING  # those that an endpoint has

    endpoints_of_network: _Nested[Endpoint] = _NOTHING
    endpoints_of_host: _Nested[Endpoint] = _NOTHING
    meshed: Mapping[int, Endpoint] = _NOTHING  # endpoints that all hosts publish
    networks_of_zone: _Nested[Network] = _NOTHING
    networks_of_tenant: _Nested[Network] = _NOTHING
    networks_of_segment: _Nested[Network] = _NOTHING
    peerings_of_tenant: _Nested[Peering] = _NOTHING
    hosts_of_zone: _Nested[int] = _NOTHING
    zones_of_host: _Nested[int] = _NOTHING
    hosts_of_tenant: _Nested[int] = _NOTHING
    tenants_of_host: _Nested[int] = _NOTHING
    hosts_of_identity: _Nested[int] = _NOTHING
    identities_of_host: _Nested[int] = _NOTHING
    identities_of_tenant: _Nested[Identity] = _NOTHING
    hosts_of_broadcast: _Nested[int] = _NOTHING  # by network, of those that broadcast
    broadcasts_of_host: _Nested[int] = _NOTHING
    identities_of_broadcast: _Nested[int] = _NOTHING
    broadcasts_of_identity: _Nested[int] = _NOTHING
    tenants_of_label: Mapping[Label, Mapping[int, Tenant]] = _NOTHING
    policies_of_tenant: _Nested[Policy] = _NOTHING  # the cluster's under 0
    policies_of_place: Mapping[Place, Mapping[int, Policy]] = _NOTHING
    policies_of_label: Mapping[Label, Mapping[int, Policy]] = _NOTHING
    policies_with_domains: _Nested[Policy] = _NOTHING  # by tenant; the cluster's under 0
    policies_of_domain: Mapping[str, Mapping[int, Policy]] = _NOTHING  # by a name as rules say it
    names_of_domain: Mapping[str, Mapping[int, ResolvedName]] = _NOTHING  # likewise

    def zone_of(self, endpoint: Endpoint) -> int:
        return self.networks[endpoint.network].zone

    def is_isolated(self, network: Network) -> bool:
        """Whether the network has a zone of its own, apart from its tenant's."""
        return network.zone != self.tenants[network.tenant].zone

    def peers(self, tenant: int) -> set[int]:
        return {peering.other(tenant) for peering in self.peerings_of_tenant.get(tenant, {}).values()}

    def identity_of(self, endpoint: Endpoint) -> Identity:
        return identity(self.networks[endpoint.network].tenant, endpoint.labels, endpoint.ports)

    def judged_at(self, host: int) -> AbstractSet[int]:
        """The identities of which a policy may be asked at the host: its endpoints', and those of whom they may hear
        broadcasts."""
        heard = [self.identities_of_broadcast[network] for network in self.broadcasts_of_host.get(host, ())]
        own = self.identities_of_host.get(host, _NOTHING).keys()
        return frozenset(own).union(*heard) if heard else own

    def judges_of(self, identity: int) -> AbstractSet[int]:
        """The hosts at which a policy may be asked of the identity."""
        hearing = [self.hosts_of_broadcast[network] for network in self.broadcasts_of_identity.get(identity, ())]
        own = self.hosts_of_identity.get(identity, _NOTHING).keys()
        return frozenset(own).union(*hearing) if hearing else own

    def policies_meaning(self, identity: Identity) -> Iterator[Policy]:
        """The policies that may select or name the identity; in no order, some twice."""
        for place in sought(identity, self.tenants[identity.tenant].labels):
            yield from self.policies_of_place.get(place, _NOTHING).values()

    def policies_selecting(self, identity: Identity) -> Iterator[Policy]:
        """The policies that select the identity, likewise; looked up one by one, for who needs only the first."""
        labels = self.tenants[identity.tenant].labels
        return (policy for policy in self.policies_meaning(identity) if subject(policy).of(identity, labels))

    def tenants_matching(self, selector: Selector) -> Iterator[Tenant]:
        """The tenants that the selector matches, in no particular order, each once."""
        found: dict[int, Tenant] = {}
        for label in anchors(selector):
            found.update(self.tenants_of_label.get(label, _NOTHING))
        return (tenant for tenant in found.values() if matches(selector, tenant.labels))

    def identities_of_use(self, use: Use) -> Iterator[Identity]:
        """The identities that the policy means there."""
        tenants = [use.tenant] if use.tenants is None else [tenant.id for tenant in self.tenants_matching(use.tenants)]
        for tenant in tenants:
            for its in self.identities_of_tenant.get(tenant, _NOTHING).values():
                if matches(use.endpoints, its.labels):
                    yield its

    def addresses_of(self, domain: DomainName) -> list[tuple[int, int]]:
        """Each (version, value) that the name, or one below it, stands for; sorted."""
        names = self.names_of_domain.get(domain.name, _NOTHING).values()
        return sorted({address for name in names for address in name.addresses})

    def domains_meaning(self, name: str) -> list[DomainName]:
        """The domains in rules that cover the name."""
        return [DomainName(domain) for domain in meaning(name) if domain in self.policies_of_domain]

    @property
    def cluster(self) -> Cluster:
        return next(iter(self.clusters.values()), Cluster(1))

    @property
    def flat(self) -> bool:
        return self.cluster.flat

    @property
    def tunnel_ports(self) -> tuple[int, ...]:
        """The UDP ports of all tunnels."""
        return self.cluster.tunnel_ports

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
        field = _TABLES[change.noun]
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
        return new._replace(
            **networks,
            **self._index_tenants(new),
            **self._index_peerings(new),
            **self._index_endpoints(new, rezoned),
            **self._index_policies(new),
            **self._index_names(new),
        )

    def _index_tenants(self, new: World) -> dict[str, Any]:
        by_label: Index[Label, Tenant] = Index(self._old.tenants_of_label)
        for before, after in self._changes("tenant", self._old.tenants, new.tenants):
            if before is not None:
                for label in held(before.labels):
                    by_label.discard(label, before.id)
            if after is not None:
                for label in held(after.labels):
                    by_label.put(label, after.id, after)
        return {"tenants_of_label": by_label.nested}

    def _index_policies(self, new: World) -> dict[str, Any]:
        old = self._old
        by_tenant = Index(old.policies_of_tenant)
        by_place: Index[Place, Policy] = Index(old.policies_of_place)
        by_label: Index[Label, Policy] = Index(old.policies_of_label)
        with_domains, by_domain = Index(old.policies_with_domains), Index(old.policies_of_domain)
        for before, after in self._changes("policy", old.policies, new.policies):
            if before is not None:
                by_tenant.discard(before.tenant, before.id)
                was = watched(before)
                for place in was.identities:
                    by_place.discard(place, before.id)
                for label in was.tenants:
                    by_label.discard(label, before.id)
                for domain in domains(before):
                    with_domains.discard(before.tenant, before.id)
                    by_domain.discard(domain.name, before.id)
            if after is not None:
                by_tenant.put(after.tenant, after.id, after)
                for domain in domains(after):
                    with_domains.put(after.tenant, after.id, after)
                    by_domain.put(domain.name, after.id, after)
                now = watched(after)
                for place in now.identities:
                    by_place.put(place, after.id, after)
                for label in now.tenants:
                    by_label.put(label, after.id, after)
        return {
            "policies_of_tenant": by_tenant.nested,
            "policies_of_place": by_place.nested,
            "policies_of_label": by_label.nested,
            "policies_with_domains": with_domains.nested,
            "policies_of_domain": by_domain.nested,
        }

    def _index_names(self, new: World) -> dict[str, Any]:
        index = Index(self._old.names_of_domain)
        for before, after in self._changes("name", self._old.names, new.names):
            if before is not None:
                for domain in meaning(before.name):
                    index.discard(domain, before.id)
            if after is not None:
                for domain in meaning(after.name):
                    index.put(domain, after.id, after)
        return {"names_of_domain": index.nested}

    def _changes(
        self, noun: str, old: Mapping[int, _Value], new: Mapping[int, _Value]
    ) -> Iterator[tuple[_Value | None, _Value | None]]:
        for id in self._changed.get(noun, ()):
            yield old.get(id), new.get(id)

    def _index_networks(self, new: World) -> tuple[dict[str, Any], set[int]]:
        """The indexes, and the endpoints of networks that are counted differently."""
        old, rezoned = self._old, set[int]()
        by_zone, by_tenant = Index(old.networks_of_zone), Index(old.networks_of_tenant)
        by_segment = Index(old.networks_of_segment)
        for before, after in self._changes("network", old.networks, new.networks):
            if before is not None:
                by_zone.discard(before.zone, before.id)
                by_tenant.discard(before.tenant, before.id)
                by_segment.discard(before.physical, before.id)
            if after is not None:
                by_zone.put(after.zone, after.id, after)
                by_tenant.put(after.tenant, after.id, after)
                if after.physical:
                    by_segment.put(after.physical, after.id, after)
            if before and after and (before.zone, before.broadcast) != (after.zone, after.broadcast):
                rezoned.update(old.endpoints_of_network.get(before.id, ()))
        indexes = {
            "networks_of_zone": by_zone.nested,
            "networks_of_tenant": by_tenant.nested,
            "networks_of_segment": by_segment.nested,
        }
        return indexes, rezoned

    def _index_peerings(self, new: World) -> dict[str, Any]:
        index = Index(self._old.peerings_of_tenant)
        for before, after in self._changes("peering", self._old.peerings, new.peerings):
            if before is not None:
                for tenant in before.tenants:
                    index.discard(tenant, before.id)
            if after is not None:
                for tenant in after.tenants:
                    index.put(tenant, after.id, after)
        return {"peerings_of_tenant": index.nested}

    def _index_endpoints(self, new: World, rezoned: set[int]) -> dict[str, Any]:
        old = self._old
        by_network, by_host = Index(old.endpoints_of_network), Index(old.endpoints_of_host)
        hosts_of_zone, zones_of_host = Index(old.hosts_of_zone), Index(old.zones_of_host)
        hosts_of_tenant, tenants_of_host = Index(old.hosts_of_tenant), Index(old.tenants_of_host)
        hosts_of_identity, identities_of_host = Index(old.hosts_of_identity), Index(old.identities_of_host)
        hosts_of_broadcast, broadcasts_of_host = Index(old.hosts_of_broadcast), Index(old.broadcasts_of_host)
        identities_of_broadcast = Index(old.identities_of_broadcast)
        broadcasts_of_identity = Index(old.broadcasts_of_identity)
        touched: dict[int, Identity] = {}
        meshed = dict(old.meshed)

        def count(world: World, endpoint: Endpoint, amount: int) -> None:
            network, host = world.networks[endpoint.network], endpoint.host
            count_in(hosts_of_zone, network.zone, host, amount)
            count_in(zones_of_host, host, network.zone, amount)
            count_in(hosts_of_tenant, network.tenant, host, amount)
            count_in(tenants_of_host, host, network.tenant, amount)

        def hear(world: World, endpoint: Endpoint, amount: int) -> None:
            network, host = endpoint.network, endpoint.host
            if world.networks[network].broadcast:
                its = world.identity_of(endpoint).id
                count_in(hosts_of_broadcast, network, host, amount)
                count_in(broadcasts_of_host, host, network, amount)
                count_in(identities_of_broadcast, network, its, amount)
                count_in(broadcasts_of_identity, its, network, amount)

        def identify(world: World, endpoint: Endpoint, amount: int) -> None:
            its = world.identity_of(endpoint)
            touched[its.id] = its
            count_in(hosts_of_identity, its.id, endpoint.host, amount)
            count_in(identities_of_host, endpoint.host, its.id, amount)

        for id in rezoned | self._changed.get("endpoint", set()):
            was, now = old.endpoints.get(id), new.endpoints.get(id)
            place = [end and (end.network, end.host) for end in (was, now)]
            speaks = [end and (end.host, end.labels, end.ports) for end in (was, now)]
            if was is not None:
                by_network.discard(was.network, id)
                by_host.discard(was.host, id)
                meshed.pop(id, None)
            if now is not None:
                if now.mesh:
                    meshed[id] = now
                by_network.put(now.network, id, now)
                by_host.put(now.host, id, now)
            for world, end, amount in ((old, was, -1), (new, now, +1)):
                if end is not None and (id in rezoned or place[0] != place[1]):
                    count(world, end, amount)
                if end is not None and (speaks[0] != speaks[1] or place[0] != place[1]):
                    identify(world, end, amount)
                if end is not None and (id in rezoned or speaks[0] != speaks[1] or place[0] != place[1]):
                    hear(world, end, amount)
        identities, by_tenant = dict(old.identities) if touched else old.identities, Index(old.identities_of_tenant)
        for its in touched.values():
            if hosts_of_identity.holds(its.id):
                identities[its.id] = its  # type: ignore[index]
                by_tenant.put(its.tenant, its.id, its)
            else:
                identities.pop(its.id, None)  # type: ignore[attr-defined]
                by_tenant.discard(its.tenant, its.id)
        return {
            "endpoints_of_network": by_network.nested,
            "endpoints_of_host": by_host.nested,
            "meshed": meshed,
            "hosts_of_zone": hosts_of_zone.nested,
            "zones_of_host": zones_of_host.nested,
            "hosts_of_tenant": hosts_of_tenant.nested,
            "tenants_of_host": tenants_of_host.nested,
            "hosts_of_identity": hosts_of_identity.nested,
            "identities_of_host": identities_of_host.nested,
            "identities_of_tenant": by_tenant.nested,
            "hosts_of_broadcast": hosts_of_broadcast.nested,
            "broadcasts_of_host": broadcasts_of_host.nested,
            "identities_of_broadcast": identities_of_broadcast.nested,
            "broadcasts_of_identity": broadcasts_of_identity.nested,
            "identities": identities,
        }


_TABLES = {
    "tenant": "tenants",
    "network": "networks",
    "host": "hosts",
    "endpoint": "endpoints",
    "peering": "peerings",
    "cluster": "clusters",
    "policy": "policies",
    "name": "names",
}
