"""Tenant isolation: a packet passes when both ends are in one zone, one end is in the global zone, or the tenants peer.

In a flat cluster every tenant's packets pass; networks that are isolated stay apart there too. A private network
speaks to its own zone and to its tenant's peers only, as only they find it. Everything else is dropped as *tenant
isolation*, before any policy is asked.
"""

from __future__ import annotations

from controller.model import GLOBAL_ZONE, Network, Peering
from controller.pipeline.flow import Flow, Kind, Match, Reason, drop, flow
from controller.pipeline.registers import (
    DESTINATION_NETWORK,
    DESTINATION_TENANT,
    DESTINATION_ZONE,
    SOURCE_NETWORK,
    SOURCE_ZONE,
    source_tenant,
)
from controller.pipeline.stages import Stage
from controller.world import World

STAGE = Stage.ADMIT


def base(world: World) -> list[Flow]:
    others = flow(Kind.BASE, STAGE, 0, (), goto=Stage.TRACK_DESTINATION) if world.flat else None
    return [
        flow(Kind.BASE, STAGE, 100, (Match(SOURCE_ZONE, GLOBAL_ZONE),), goto=Stage.TRACK_DESTINATION),
        flow(Kind.BASE, STAGE, 60, (Match(DESTINATION_ZONE, GLOBAL_ZONE),), goto=Stage.TRACK_DESTINATION),
        others or drop(Reason.TENANT_ISOLATION, STAGE, 0),
    ]


def zone(world: World, zone: int) -> list[Flow]:
    """One flow for each zone that has an endpoint on the host, however many endpoints."""
    same = (Match(SOURCE_ZONE, zone), Match(DESTINATION_ZONE, zone))
    return [flow(Kind.ZONE, STAGE, 90, same, goto=Stage.TRACK_DESTINATION)]


def network(world: World, network: Network) -> list[Flow]:
    """An isolated network talks to itself and to the global zone, in a flat cluster as in any other; a private one
    not even to the global zone, which could not answer it."""
    from_here, to_here = Match(SOURCE_NETWORK, network.vni), Match(DESTINATION_NETWORK, network.vni)
    if network.zone == GLOBAL_ZONE:
        return []
    if network.private:
        return [drop(Reason.TENANT_ISOLATION, STAGE, 70, (from_here,))]
    if world.is_isolated(network):
        return [
            drop(Reason.TENANT_ISOLATION, STAGE, priority, (end,)) for priority, end in ((20, from_here), (10, to_here))
        ]
    return []


def peering(world: World, peering: Peering) -> list[Flow]:
    """By tenant, so that who shares a zone with one gains nothing; by zone, so that isolated networks neither."""
    one, two = (world.tenants[id] for id in peering.tenants)
    return [
        flow(
            Kind.TENANT,
            STAGE,
            80,
            (
                Match(SOURCE_ZONE, source.zone),
                Match(DESTINATION_ZONE, destination.zone),
                source_tenant(source.id),
                Match(DESTINATION_TENANT, destination.id),
            ),
            goto=Stage.TRACK_DESTINATION,
        )
        for source, destination in ((one, two), (two, one))
    ]
