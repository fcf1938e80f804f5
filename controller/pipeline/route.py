"""Where a packet goes: the subnet gives the destination's network, zone and tenant, the address its MAC and port.

A packet addressed to the gateway's MAC is routed: its TTL falls and its source becomes the gateway. Finding the
network first keeps overlapping networks apart: a private network is found only from its own zone and from tenants that
peer with its own, any other from everywhere, and `admit` judges afterwards.
"""

from __future__ import annotations

from controller.model import GLOBAL_ZONE, Address, Endpoint, Network
from controller.pipeline.flow import Action, DecTtl, Flow, Kind, Match, Reason, SetField, drop, flow
from controller.pipeline.packet import IPV4, IPV6, ROUTER_MAC, TO_ROUTER, into_subnet, ip, ip_destination
from controller.pipeline.registers import (
    DESTINATION_HOST,
    DESTINATION_IDENTITY,
    DESTINATION_NETWORK,
    OUTPUT_PORT,
    SOURCE_ZONE,
    set_destination,
    set_identity,
    source_tenant,
)
from controller.pipeline.stages import Stage
from controller.world import World


def base(world: World) -> list[Flow]:
    flows = [
        flow(Kind.BASE, Stage.SERVICE, 0, (), goto=Stage.GATEWAY),
        flow(Kind.BASE, Stage.GATEWAY, 0, (), goto=Stage.ROUTE),
        flow(Kind.BASE, Stage.ROUTE, 0, (), goto=Stage.OUTWARD),
        drop(Reason.NO_ENDPOINT, Stage.DELIVER, 0, (IPV4,), exact="ip_dst"),
        drop(Reason.NO_ENDPOINT, Stage.DELIVER, 0, (IPV6,), exact="ipv6_dst"),
    ]
    through_gateway = (SetField("eth_src", ROUTER_MAC), DecTtl())
    for version in (IPV4, IPV6):
        for ttl in (0, 1):
            expired = (TO_ROUTER, version, Match("nw_ttl", ttl))
            flows.append(drop(Reason.TTL_EXPIRED, Stage.GATEWAY, 110, expired))
        flows.append(flow(Kind.BASE, Stage.GATEWAY, 100, (TO_ROUTER, version), through_gateway, Stage.ROUTE))
    return flows


def network(world: World, network: Network) -> list[Flow]:
    return [
        flow(
            Kind.NETWORK,
            Stage.ROUTE,
            priority,
            (*scope, ip(subnet.version), into_subnet(subnet)),
            set_destination(network),
            Stage.DELIVER,
        )
        for scope, priority in _scopes(world, network)
        for subnet in network.subnets
    ]


_Scope = tuple[tuple[Match, ...], int]


def _scopes(world: World, network: Network) -> list[_Scope]:
    """From where the network is found: from everywhere, or, a private one, from its zone and its tenant's peers."""
    if not network.private or network.zone == GLOBAL_ZONE:
        return [((), 100)]
    own: list[_Scope] = [((Match(SOURCE_ZONE, network.zone),), 200)]
    if world.is_isolated(network):
        return own
    peers = sorted(world.peers(network.tenant))
    return own + [
        ((Match(SOURCE_ZONE, world.tenants[peer].zone), source_tenant(peer)), 190)
        for peer in peers
        if world.tenants[peer].zone != network.zone
    ]


def local(world: World, endpoint: Endpoint) -> list[Flow]:
    return _deliver(world, endpoint, SetField(OUTPUT_PORT, endpoint.ofport))


def remote(world: World, endpoint: Endpoint) -> list[Flow]:
    return _deliver(world, endpoint, SetField(DESTINATION_HOST, endpoint.host))


def _deliver(world: World, endpoint: Endpoint, where: Action) -> list[Flow]:
    vni = world.networks[endpoint.network].vni
    its = set_identity(DESTINATION_IDENTITY, world.identity_of(endpoint).id)

    def deliver(address: Address) -> Flow:
        match = (
            Match(DESTINATION_NETWORK, vni),
            ip(address.version),
            ip_destination(address.version, address.value),
        )
        actions = (SetField("eth_dst", endpoint.mac), where, *its)
        return flow(Kind.ENDPOINT, Stage.DELIVER, 100, match, actions, Stage.ADMIT)

    return [deliver(address) for address in endpoint.addresses]
