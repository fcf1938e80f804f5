"""Isolation in words: whether packets of one network may reach another, and why.

This is the definition; the pipeline must agree with it packet by packet (tested over random worlds). It looks at
networks, because isolation is a network's; endpoints, hosts and policies are not its business.
"""

from __future__ import annotations

from typing import NamedTuple

from controller.model import GLOBAL_ZONE, Network
from controller.world import World


class Reach(NamedTuple):
    """Whether packets of one network may reach another, and why, in words."""

    allowed: bool
    reason: str


def reach(world: World, source: Network, destination: Network) -> Reach:
    """Whether two networks reach each other; it is the same in both directions."""
    if source.id == destination.id:
        return Reach(True, f"{source.name} is one network")
    ends = source, destination
    if source.zone == destination.zone:
        return Reach(True, _together(world, source, destination))
    peered = destination.tenant in world.peers(source.tenant) and not any(map(world.is_isolated, ends))
    for network in ends:
        if network.private and network.zone != GLOBAL_ZONE and not peered:
            return Reach(False, f"{network.name} is private")
    for network in ends:
        if network.zone == GLOBAL_ZONE:
            return Reach(True, f"{_tenant(world, network)} is global")
    for network in ends:
        if world.is_isolated(network):
            return Reach(False, f"{network.name} is isolated")
    names = " and ".join(sorted(_tenant(world, network) for network in ends))
    if peered:
        return Reach(True, f"{names} peer")
    if world.flat:
        return Reach(True, "the cluster is flat")
    return Reach(False, f"{names} neither share a zone nor peer")


def _together(world: World, source: Network, destination: Network) -> str:
    if source.tenant == destination.tenant:
        return f"both are {_tenant(world, source)}'s"
    names = " and ".join(sorted(_tenant(world, network) for network in (source, destination)))
    return f"{names} are {'global' if source.zone == GLOBAL_ZONE else 'joined'}"


def _tenant(world: World, network: Network) -> str:
    return world.tenants[network.tenant].name
