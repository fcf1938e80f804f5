"""Which fragments a host carries: what its own endpoints may have to do with, and nothing else.

A host sees the zones that have an endpoint on it, the networks of its tenants' peers, the global zone, and every zone
if it holds a global endpoint or the cluster is flat. From the networks follow the endpoints, so a host without a
tenant's endpoints carries nothing of the tenant, but for the way to those that all hosts publish.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from controller.model import GLOBAL_ZONE, Endpoint, Network, Policy, Tier
from controller.pipeline.firewall import firewall
from controller.pipeline.hearing import is_heard
from controller.pipeline.program import Key, Part, bound, unbound
from controller.selection import Identity, subject
from controller.transport import transport
from controller.world import World


class View(NamedTuple):
    """The world as one host sees it. `here` are the zones with an endpoint on the host, `peering` the tenants with one
    that peer with anybody, `peers` those they peer with, `identities` those that a policy may be asked about here."""

    world: World
    host: int
    here: frozenset[int]
    peering: frozenset[int]
    peers: frozenset[int]
    identities: AbstractSet[int]
    flat: bool

    @property
    def sees_all(self) -> bool:
        return bool(self.here) and (GLOBAL_ZONE in self.here or self.flat)

    def sees(self, network: Network) -> bool:
        """Whether a packet between the network and an endpoint here could be admitted."""
        world, zone = self.world, network.zone
        if zone in self.here:
            return True
        if not self.here:
            return False
        if zone == GLOBAL_ZONE:
            return True
        if GLOBAL_ZONE in self.here and not network.private:
            return True
        if world.is_isolated(network):
            return False
        return network.tenant in self.peers or (self.flat and not network.private)

    def carries(self, key: Key) -> bool:
        """Whether the host's program has this fragment."""
        world, id = self.world, key.id
        match key.part:
            case Part.BASE:
                return True
            case Part.HOST:
                return id in world.hosts
            case Part.PEER:
                return id in world.hosts and id != self.host
            case Part.SELF:
                return id == self.host and id in world.hosts
            case Part.NEAR:
                return id != self.host and self._is_near(id)
            case Part.TENANT:
                return id in world.tenants and any(map(self.sees, world.networks_of_tenant.get(id, {}).values()))
            case Part.NETWORK:
                return id in world.networks and self.sees(world.networks[id])
            case Part.ZONE:
                return id in self.here
            case Part.PEERING:
                return id in world.peerings and not self.peering.isdisjoint(world.peerings[id].tenants)
            case Part.SUBJECT:
                return id in self.identities and is_judged(world, world.identities[id])
            case Part.FIREWALL:
                return id in world.tenants_of_host.get(self.host, {}) and firewall(world, id) is not None
            case Part.HEARING:
                return id in world.tenants_of_host.get(self.host, {}) and is_heard(world, id)
            case Part.POLICY:
                return id in world.policies and any(self._selected(world.policies[id]))
            case Part.SEGMENT:
                return id in world.networks_of_segment
            case Part.ANNOUNCED:
                network, host = unbound(id)
                return host == self.host and any(self._announced(network))
            case Part.BROADCAST:
                return id in world.broadcasts_of_host.get(self.host, {})
            case Part.ELSEWHERE:
                return self._hears_from(*unbound(id))
            case Part.BINDING:
                policy, identity = unbound(id)
                return identity in self.identities and policy in world.policies and self._selects(policy, identity)
            case Part.MESH:
                return id in world.meshed and world.meshed[id].host != self.host
        endpoint = world.endpoints.get(id)
        if endpoint is None or key.part is not self.part_of(endpoint):
            return False
        return self.sees(world.networks[endpoint.network])

    def _is_near(self, other: int) -> bool:
        ends = self.world.hosts.get(self.host), self.world.hosts.get(other)
        segments = {host.segment if host else None for host in ends}
        return len(segments) == 1 and None not in segments

    def _hears_from(self, network: int, host: int) -> bool:
        """Whether both hosts have endpoints of a network that broadcasts, and it goes from one to the other."""
        world = self.world
        if host == self.host or not {host, self.host} <= world.hosts_of_broadcast.get(network, {}).keys():
            return False
        return transport(world.networks[network].transport).leaves_host

    def part_of(self, endpoint: Endpoint) -> Part | None:
        """What the host says of an endpoint of a network that it sees; None for one that never comes here."""
        if endpoint.host == self.host:
            return Part.LOCAL
        return Part.REMOTE if transport(self.world.networks[endpoint.network].transport).leaves_host else None

    def _announced(self, network: int) -> Iterator[bool]:
        """Whether announcements on a physical segment are for endpoints here."""
        its = self.world.networks.get(network)
        if its is not None and transport(its.transport).on_segment:
            for endpoint in self.world.endpoints_of_network.get(network, {}).values():
                yield endpoint.host == self.host

    def _selects(self, policy: int, identity: int) -> bool:
        its = self.world.identities[identity]
        return subject(self.world.policies[policy]).of(its, self.world.tenants[its.tenant].labels)

    def _selected(self, policy: Policy) -> Iterator[bool]:
        among = self.identities if policy.tenants is not None else self._of_tenant(policy.tenant)
        return (self._selects(policy.id, identity) for identity in among)

    def _of_tenant(self, tenant: int) -> Iterator[int]:
        its = self.world.identities_of_tenant.get(tenant, {})
        fewer, more = sorted((its.keys(), self.identities), key=len)
        return (identity for identity in fewer if identity in more)


def is_judged(world: World, identity: Identity) -> bool:
    """Whether a policy may be about endpoints with this identity."""
    return bool(world.tenants[identity.tenant].default_deny) or any(judging(world, identity))


def judging(world: World, identity: Identity) -> Iterator[Policy]:
    """The policies that are about the identity, and about whom it talks to inside."""
    return (policy for policy in world.policies_selecting(identity) if policy.tier is not Tier.FIREWALL)


def policy_keys(world: World, identity: int) -> Iterator[Key]:
    """The fragments that a host carries because it holds the identity, or hears it broadcast."""
    its = world.identities[identity]
    judges = {policy.id: policy for policy in judging(world, its)}
    if judges or world.tenants[its.tenant].default_deny:
        yield Key(Part.SUBJECT, identity)
    for policy in judges.values():
        yield Key(Part.POLICY, policy.id)
        yield Key(Part.BINDING, bound(policy.id, identity))


def view(world: World, host: int) -> View:
    peering = frozenset(world.tenants_of_host.get(host, {})) & world.peerings_of_tenant.keys()
    peers = frozenset(peer for tenant in peering for peer in world.peers(tenant))
    here = frozenset(world.zones_of_host.get(host, {}))
    return View(world, host, here, peering, peers, world.judged_at(host), world.flat)


def members(world: World, host: int) -> set[Key]:
    """Every fragment of the host's program."""
    seen = view(world, host)
    keys = {key for key in _candidates(seen) if seen.carries(key)}
    for identity in seen.identities:
        keys.update(policy_keys(world, identity))
    return keys


def _candidates(seen: View) -> Iterator[Key]:
    world = seen.world
    yield Key(Part.BASE, 0)
    yield Key(Part.SELF, seen.host)
    for id in world.hosts:
        yield Key(Part.HOST, id)
        yield Key(Part.PEER, id)
        yield Key(Part.NEAR, id)
    for tenant in seen.peering:
        for id in world.peerings_of_tenant[tenant]:
            yield Key(Part.PEERING, id)
    for zone in seen.here:
        yield Key(Part.ZONE, zone)
    for tenant in world.tenants_of_host.get(seen.host, {}):
        yield Key(Part.FIREWALL, tenant)
        yield Key(Part.HEARING, tenant)
    for id in world.networks_of_segment:
        yield Key(Part.SEGMENT, id)
    for id in world.meshed:
        yield Key(Part.MESH, id)
    for id in world.broadcasts_of_host.get(seen.host, {}):
        yield Key(Part.BROADCAST, id)
        for host in world.hosts_of_broadcast[id]:
            yield Key(Part.ELSEWHERE, bound(id, host))
    for network in filter(seen.sees, _networks(seen)):
        yield Key(Part.NETWORK, network.id)
        yield Key(Part.ANNOUNCED, bound(network.id, seen.host))
        yield Key(Part.TENANT, network.tenant)
        for endpoint in world.endpoints_of_network.get(network.id, {}).values():
            if part := seen.part_of(endpoint):
                yield Key(part, endpoint.id)


def _networks(seen: View) -> Iterator[Network]:
    """Every network that the host may see, and some that it may not."""
    world = seen.world
    if seen.sees_all:
        yield from world.networks.values()
        return
    for zone in seen.here | {GLOBAL_ZONE}:
        yield from world.networks_of_zone.get(zone, {}).values()
    for tenant in seen.peers:
        yield from world.networks_of_tenant.get(tenant, {}).values()
