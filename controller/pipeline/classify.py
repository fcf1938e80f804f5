"""Who is speaking: from the port, or from the tunnel and its VNI, to the source's network, tenant and zone.

A packet that no known port or host sent, or whose VNI is no known network's, ends here.
"""

from __future__ import annotations

from controller.model import Endpoint, Host, Network
from controller.pipeline.flow import Flow, Kind, Match, Reason, SetField, drop, flow
from controller.pipeline.registers import (
    CARRIER,
    SOURCE_IDENTITY,
    SOURCE_NETWORK,
    SOURCE_ZONE,
    set_identity,
    set_source_tenant,
)
from controller.pipeline.stages import Stage
from controller.transport import transport
from controller.world import World


def base(world: World) -> list[Flow]:
    return [
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
    """The one flow that says which zone a network is in and what carries it: whoever changes that rewrites it and no
    endpoint."""
    carrier = SetField(CARRIER, transport(network.transport).carrier(network))
    return [
        flow(
            Kind.NETWORK,
            Stage.ZONE,
            100,
            (Match(SOURCE_NETWORK, network.vni),),
            (SetField(SOURCE_ZONE, network.zone), set_source_tenant(network.tenant), carrier),
            Stage.GUARD,
        )
    ]
