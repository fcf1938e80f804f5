"""What a step from one world to the next concerns: which fragments read differently, and where that could matter.

Generous on purpose: a fragment or host named here that turns out unchanged costs a look-up, one forgotten would be a
wrong flow. That nothing is forgotten is shown by comparing with a recompute over random histories.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from controller.calc.membership import view
from controller.calc.policy_concern import PolicyConcern
from controller.model import GLOBAL_ZONE, Change, Network
from controller.pipeline.program import Key, Part, bound
from controller.transport import transport
from controller.world import World


class Concern(NamedTuple):
    """`rewritten`: fragments whose flows may read differently. `keys`: for each zone the fragments that hosts seeing
    that zone must look at. `at`: the same for single hosts. `everywhere`: fragments that all hosts must look at.
    `reviewed`: hosts whose view may have changed, so that all their fragments are to be gone through."""

    rewritten: frozenset[Key]
    keys: dict[int, set[Key]]
    at: dict[int, set[Key]]
    everywhere: frozenset[Key]
    reviewed: frozenset[int]

    def looks(self, old: World, new: World, hosts: Collection[int]) -> dict[int, set[Key]]:
        """What those of `hosts` must look at that must look at something, but for what is reviewed."""
        looks = {host: set(self.everywhere) for host in hosts} if self.everywhere else {}
        for host in self.at.keys() & hosts:
            looks.setdefault(host, set()).update(self.at[host])
        for zone, keys in self.keys.items():
            for host in hosts_seeing(old, zone) | hosts_seeing(new, zone):
                if host in hosts:
                    looks.setdefault(host, set()).update(keys)
        return looks


def concern(old: World, new: World, changes: Iterable[Change]) -> Concern:
    gather = _Gather(old, new)
    for change in changes:
        getattr(gather, change.noun)(change.id)
    gather.policies.finish()
    changed_view = frozenset(host for host in gather.reviewed if _outlook(old, host) != _outlook(new, host))
    return Concern(
        frozenset(gather.rewritten | gather.policies.rewritten),
        gather.keys,
        gather.at,
        frozenset(gather.everywhere),
        changed_view,
    )


def hosts_seeing(world: World, zone: int) -> set[int]:
    """Hosts whose program may speak of `zone`."""
    if zone == GLOBAL_ZONE or world.flat:
        return set(world.zones_of_host)
    hosts = {*world.hosts_of_zone.get(zone, {}), *world.hosts_of_zone.get(GLOBAL_ZONE, {})}
    tenants = {network.tenant for network in world.networks_of_zone.get(zone, {}).values()}
    for peer in {peer for tenant in tenants for peer in world.peers(tenant)}:
        hosts.update(world.hosts_of_tenant.get(peer, {}))
    return hosts


def _standing(network: Network) -> tuple[object, ...]:
    """All of a network that decides which hosts see it and its endpoints."""
    return network.zone, network.private, transport(network.transport).leaves_host, _segment(network)


def _segment(network: Network) -> tuple[object, ...]:
    """What endpoints' own flows say of it."""
    return transport(network.transport).on_segment, network.physical, network.vlan, network.outbound


def _outlook(world: World, host: int) -> tuple[object, ...]:
    """All that decides what a host sees, but for the networks themselves."""
    seen = view(world, host)
    segment = world.hosts[host].segment if host in world.hosts else None
    return seen.here, seen.peering, seen.peers, seen.flat, segment


class _Gather:
    """One method for each noun."""

    def __init__(self, old: World, new: World) -> None:
        self.old, self.new = old, new
        self.rewritten: set[Key] = set()
        self.everywhere: set[Key] = set()
        self.keys: dict[int, set[Key]] = {}
        self.reviewed: set[int] = set()
        self.policies = PolicyConcern(old, new)
        self.at = self.policies.at

    def _look(self, zone: int, *fragments: Key) -> None:
        self.keys.setdefault(zone, set()).update(fragments)

    def host(self, id: int) -> None:
        fragments = tuple(Key(part, id) for part in (Part.HOST, Part.PEER, Part.SELF, Part.NEAR))
        self.rewritten.update(fragments)
        self.everywhere.update(fragments)
        self.reviewed.add(id)  # it may be near others now
        for world in (self.old, self.new):
            for network in world.broadcasts_of_host.get(id, ()):
                key = Key(Part.ELSEWHERE, bound(network, id))
                self.rewritten.add(key)
                self._look_at(world.hosts_of_broadcast[network], key)

    def tenant(self, id: int) -> None:
        self.rewritten.add(Key(Part.TENANT, id))
        for world in (self.old, self.new):
            for network in world.networks_of_tenant.get(id, {}).values():
                self._look(network.zone, Key(Part.TENANT, id))
        was, now = self.old.tenants.get(id), self.new.tenants.get(id)
        if was is None or now is None:
            if tenant := was or now:
                self.policies.came_or_went(tenant)
            return
        self.policies.tenant(was, now)
        if was.zone == now.zone:
            return
        # With the tenant's zone changes which of its networks are isolated.
        for network in self.new.networks_of_tenant.get(id, {}).values():
            self._regroup(network.id)
        self._peerings_of(id)

    def network(self, id: int) -> None:
        self.rewritten.add(Key(Part.NETWORK, id))
        for world in (self.old, self.new):
            if id in world.networks:
                network = world.networks[id]
                self._look(network.zone, Key(Part.NETWORK, id), Key(Part.TENANT, network.tenant))
        was, now = self.old.networks.get(id), self.new.networks.get(id)
        for one in (was, now):
            if one is not None and one.physical:
                self.rewritten.add(Key(Part.SEGMENT, one.physical))
                self.everywhere.add(Key(Part.SEGMENT, one.physical))
        if was is not None and now is not None and _standing(was) != _standing(now):
            self._regroup(id)
            if _segment(was) != _segment(now):
                for world in (self.old, self.new):
                    for endpoint in world.endpoints_of_network.get(id, {}).values():
                        self.rewritten.add(Key(Part.LOCAL, endpoint.id))
                        self._announced(id, endpoint.host)
                        self._published(world, endpoint.id)
        self._broadcast(id)

    def endpoint(self, id: int) -> None:
        fragments = Key(Part.LOCAL, id), Key(Part.REMOTE, id)
        self.rewritten.update(fragments)
        for world in (self.old, self.new):
            if id in world.endpoints:
                endpoint = world.endpoints[id]
                self._look(world.zone_of(endpoint), *fragments)
                self.reviewed.add(endpoint.host)
                if transport(world.networks[endpoint.network].transport).on_segment:
                    self._announced(endpoint.network, endpoint.host)
                self._hears(endpoint.network, endpoint.host)
                self._published(world, id)
        self.policies.endpoint(id)

    def policy(self, id: int) -> None:
        self.policies.policy(id)

    def name(self, id: int) -> None:
        self.policies.name(id)

    def peering(self, id: int) -> None:
        self.rewritten.add(Key(Part.PEERING, id))
        self.everywhere.add(Key(Part.PEERING, id))
        for world in (self.old, self.new):
            if id in world.peerings:
                for tenant in world.peerings[id].tenants:
                    self._peer(world, tenant)

    def cluster(self, id: int) -> None:
        if self.old.tunnel_ports != self.new.tunnel_ports:
            self.rewritten.add(Key(Part.BASE, 0))
            self.everywhere.add(Key(Part.BASE, 0))
            for host in self.new.hosts:
                self.host(host)
        if self.old.flat == self.new.flat:
            return
        self.rewritten.add(Key(Part.BASE, 0))
        self.everywhere.add(Key(Part.BASE, 0))
        self.reviewed.update(self.old.zones_of_host, self.new.zones_of_host)

    def _regroup(self, id: int) -> None:
        """Who sees the network, and how, changes; so does what its endpoints' hosts see."""
        self.rewritten.add(Key(Part.NETWORK, id))
        for world in (self.old, self.new):
            endpoints = world.endpoints_of_network.get(id, {})
            self.reviewed.update(endpoint.host for endpoint in endpoints.values())
            for either in (self.old, self.new):
                if id in either.networks:
                    fragments = (Key(part, endpoint) for part in (Part.LOCAL, Part.REMOTE) for endpoint in endpoints)
                    self._look(either.networks[id].zone, Key(Part.NETWORK, id), *fragments)

    def _published(self, world: World, endpoint: int) -> None:
        if endpoint in world.meshed:
            self.rewritten.add(Key(Part.MESH, endpoint))
            self.everywhere.add(Key(Part.MESH, endpoint))

    def _announced(self, network: int, host: int) -> None:
        key = Key(Part.ANNOUNCED, bound(network, host))
        self.rewritten.add(key)
        self._look_at({host}, key)

    def _broadcast(self, id: int) -> None:
        """All that is said of the network's broadcasts; if they begin or end, of its endpoints too."""
        worlds = self.old, self.new
        hosts = {host for world in worlds for host in world.hosts_of_broadcast.get(id, ())}
        keys = Key(Part.BROADCAST, id), *(Key(Part.ELSEWHERE, bound(id, host)) for host in hosts)
        self.rewritten.update(keys)
        self._look_at(hosts, *keys)
        if len({world.networks[id].broadcast for world in worlds if id in world.networks}) < 2:
            return
        self._regroup(id)
        for world in worlds:
            for endpoint in world.endpoints_of_network.get(id, ()):
                self.rewritten.update((Key(Part.LOCAL, endpoint), Key(Part.REMOTE, endpoint)))
            for identity in world.identities_of_broadcast.get(id, ()):
                self.policies.heard(identity, hosts)

    def _hears(self, network: int, host: int) -> None:
        """A host may have got its first endpoint of a network that broadcasts, or lost its last one."""
        worlds = self.old, self.new
        if len({host in world.hosts_of_broadcast.get(network, ()) for world in worlds}) < 2:
            return
        hosts = {host for world in worlds for host in world.hosts_of_broadcast.get(network, ())}
        others = (Key(Part.ELSEWHERE, bound(network, other)) for other in hosts)
        self._look_at({host}, Key(Part.BROADCAST, network), *others)
        way = Key(Part.ELSEWHERE, bound(network, host))
        self.rewritten.add(way)  # or it would be kept when nobody needs it any more
        self._look_at(hosts, way)
        for world in worlds:
            for identity in world.identities_of_broadcast.get(network, ()):
                self.policies.heard(identity, {host})

    def _look_at(self, hosts: Iterable[int], *fragments: Key) -> None:
        for host in hosts:
            self.at.setdefault(host, set()).update(fragments)

    def _peerings_of(self, tenant: int) -> None:
        for world in (self.old, self.new):
            for id in world.peerings_of_tenant.get(tenant, {}):
                self.peering(id)

    def _peer(self, world: World, tenant: int) -> None:
        """Private networks say in their own flows which zones find them."""
        self.reviewed.update(world.hosts_of_tenant.get(tenant, {}))
        for network in world.networks_of_tenant.get(tenant, {}).values():
            self.rewritten.add(Key(Part.NETWORK, network.id))
            self._look(network.zone, Key(Part.NETWORK, network.id))
