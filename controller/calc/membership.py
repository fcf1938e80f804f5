"""Which fragments a host carries: what its own endpoints may have to do with, and nothing else.

A host sees the zones that have an endpoint on it, the global zone, and every zone if it holds a global endpoint.
From the zones follow networks and endpoints, so a host without a tenant's endpoints carries nothing of the tenant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from controller.model import GLOBAL_ZONE, Network
from controller.pipeline.program import Key, Part
from controller.world import World


class View(NamedTuple):
    """The world as one host sees it. `here` are the zones with an endpoint on the host."""

    world: World
    host: int
    here: Mapping[int, int]

    def sees_zone(self, zone: int) -> bool:
        return zone in self.here or (bool(self.here) and (zone == GLOBAL_ZONE or GLOBAL_ZONE in self.here))

    def sees(self, network: Network) -> bool:
        """A private network is nobody's business but its own zone's."""
        return network.zone in self.here if network.private else self.sees_zone(network.zone)

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
            case Part.TENANT:
                return id in world.tenants and any(map(self.sees, world.networks_of_tenant.get(id, {}).values()))
            case Part.NETWORK:
                return id in world.networks and self.sees(world.networks[id])
            case Part.ZONE:
                return id in self.here
        endpoint = world.endpoints.get(id)
        if endpoint is None or (endpoint.host == self.host) != (key.part is Part.LOCAL):
            return False
        return self.sees(world.networks[endpoint.network])


def view(world: World, host: int) -> View:
    return View(world, host, world.zones_of_host.get(host, {}))


def members(world: World, host: int) -> set[Key]:
    """Every fragment of the host's program."""
    seen = view(world, host)
    return {key for key in _candidates(seen) if seen.carries(key)}


def _candidates(seen: View) -> Iterator[Key]:
    world = seen.world
    yield Key(Part.BASE, 0)
    for id in world.hosts:
        yield Key(Part.HOST, id)
        yield Key(Part.PEER, id)
    zones = world.networks_of_zone if GLOBAL_ZONE in seen.here else {*seen.here, GLOBAL_ZONE}
    for zone in zones:
        yield Key(Part.ZONE, zone)
        for network in world.networks_of_zone.get(zone, {}).values():
            yield Key(Part.NETWORK, network.id)
            yield Key(Part.TENANT, network.tenant)
            for endpoint in world.endpoints_of_network.get(network.id, {}).values():
                yield Key(Part.LOCAL if endpoint.host == seen.host else Part.REMOTE, endpoint.id)
