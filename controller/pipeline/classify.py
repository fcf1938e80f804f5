"""Who is speaking: from the port, or from the tunnel and its VNI, to the source's network, tenant and zone.

A packet that no known port or host sent, or whose VNI is no known network's, ends here.
"""

from __future__ import annotations

from controller.model import Endpoint, Host, Network
from controller.pipeline.flow import Flow, Kind, Match, Move, Reason, SetField, drop, flow
from controller.pipeline.packet import TUNNEL_OFPORT
from controller.pipeline.registers import (
    FROM_TUNNEL,
    SOURCE_IDENTITY,
    SOURCE_NETWORK,
    SOURCE_TENANT,
    SOURCE_ZONE,
    set_identity,
    set_source_tenant,
)
from controller.pipeline.stages import Stage
from controller.world import World


def base(world: World) -> list[Flow]:
    return [
        flow(
            Kind.BASE,
            Stage.CLASSIFY,
            100,
            (Match("in_port", TUNNEL_OFPORT),),
            (SetField(SOURCE_TENANT, FROM_TUNNEL, FROM_TUNNEL), Move("tun_id", SOURCE_NETWORK, 32)),
            Stage.TUNNEL,
        ),
        drop(Reason.UNKNOWN_PORT, Stage.CLASSIFY, 0),
        drop(Reason.UNKNOWN_TUNNEL_SOURCE, Stage.TUNNEL, 0),
        drop(Reason.UNKNOWN_NETWORK, Stage.ZONE, 0),
    ]


def local(world: World, endpoint: Endpoint) -> list[Flow]:
    vni = world.networks[endpoint.network].vni
    its = set_identity(SOURCE_IDENTITY, world.identity_of(endpoint).id)
    return [
        flow(
            Kind.ENDPOINT,
            Stage.CLASSIFY,
            100,
            (Match("in_port", endpoint.ofport),),
            (SetField(SOURCE_NETWORK, vni), *its),
            Stage.ZONE,
        )
    ]


def peer(world: World, host: Host) -> list[Flow]:
    """Another host may send through the tunnel from its own address."""
    if host.address is None:
        return []
    version, value = host.address
    source = Match("tun_src" if version == 4 else "tun_ipv6_src", value)
    return [flow(Kind.HOST, Stage.TUNNEL, 100, (source,), goto=Stage.ZONE)]


def network(world: World, network: Network) -> list[Flow]:
    """The one flow that says which zone a network is in: join and isolate rewrite it and no endpoint."""
    return [
        flow(
            Kind.NETWORK,
            Stage.ZONE,
            100,
            (Match(SOURCE_NETWORK, network.vni),),
            (SetField(SOURCE_ZONE, network.zone), set_source_tenant(network.tenant)),
            Stage.GUARD,
        )
    ]
