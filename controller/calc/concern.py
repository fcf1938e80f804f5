"""What a step from one world to the next concerns: which fragments read differently, and where that could matter.

Generous on purpose: a fragment or host named here that turns out unchanged costs a look-up, one forgotten would be a
wrong flow. That nothing is forgotten is shown by comparing with a recompute over random histories.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from controller.model import GLOBAL_ZONE, Change
from controller.pipeline.program import Key, Part
from controller.world import World


class Concern(NamedTuple):
    """`rewritten`: fragments whose flows may read differently. `keys`: for each zone the fragments that hosts seeing
    that zone must look at. `everywhere`: fragments that all hosts must look at. `reviewed`: hosts whose view of the
    zones changed, so that all their fragments are to be gone through."""

    rewritten: frozenset[Key]
    keys: dict[int, set[Key]]
    everywhere: frozenset[Key]
    reviewed: frozenset[int]


def concern(old: World, new: World, changes: Iterable[Change]) -> Concern:
    rewritten: set[Key] = set()
    everywhere: set[Key] = set()
    keys: dict[int, set[Key]] = {}
    reviewed: set[int] = set()

    def look(zone: int, *fragments: Key) -> None:
        keys.setdefault(zone, set()).update(fragments)

    for noun, id, _ in changes:
        match noun:
            case "host":
                fragments = Key(Part.HOST, id), Key(Part.PEER, id)
                rewritten.update(fragments)
                everywhere.update(fragments)
            case "tenant":
                rewritten.add(Key(Part.TENANT, id))
                for world in (old, new):
                    for network in world.networks_of_tenant.get(id, {}).values():
                        look(network.zone, Key(Part.TENANT, id))
            case "network":
                rewritten.add(Key(Part.NETWORK, id))
                for world in (old, new):
                    if id in world.networks:
                        network = world.networks[id]
                        look(network.zone, Key(Part.NETWORK, id), Key(Part.TENANT, network.tenant))
                was, now = old.networks.get(id), new.networks.get(id)
                if was is None or now is None or (was.zone, was.private) == (now.zone, now.private):
                    continue
                for endpoint in {**old.endpoints_of_network.get(id, {}), **new.endpoints_of_network.get(id, {})}:
                    for network in (was, now):
                        look(network.zone, Key(Part.LOCAL, endpoint), Key(Part.REMOTE, endpoint))
                for world in (old, new):
                    reviewed.update(endpoint.host for endpoint in world.endpoints_of_network.get(id, {}).values())
            case "endpoint":
                fragments = Key(Part.LOCAL, id), Key(Part.REMOTE, id)
                rewritten.update(fragments)
                for world in (old, new):
                    if id in world.endpoints:
                        endpoint_ = world.endpoints[id]
                        look(world.zone_of(endpoint_), *fragments)
                        reviewed.add(endpoint_.host)

    changed_view = frozenset(
        host for host in reviewed if old.zones_of_host.get(host, {}).keys() != new.zones_of_host.get(host, {}).keys()
    )
    return Concern(frozenset(rewritten), keys, frozenset(everywhere), changed_view)


def hosts_seeing(world: World, zone: int) -> set[int]:
    """Hosts whose program may speak of `zone`."""
    if zone == GLOBAL_ZONE:
        return set(world.zones_of_host)
    return {*world.zone_population.get(zone, {}), *world.zone_population.get(GLOBAL_ZONE, {})}
