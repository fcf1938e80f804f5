"""No encapsulation: hosts of one segment send each other packets as they are, as Flannel's host-gw and Calico do.

Every host takes packets under a MAC that follows from its number, by the port that joins the bridge with the segment.
Nothing in such a packet tells its network; the receiver finds it by the source's address, so these networks' addresses
overlap nobody's. A host on another segment gets a tunnel where the network allows that.
"""

from __future__ import annotations

from controller.model import Host, Network
from controller.pipeline.flow import Action, Flow, Kind, Match, Output, Reason, SetField, drop, flow
from controller.pipeline.packet import from_subnet, ip
from controller.pipeline.registers import (
    CARRIER,
    DESTINATION_HOST,
    FROM_TUNNEL,
    LOCAL_SOURCE,
    SOURCE_NETWORK,
    SOURCE_TENANT,
)
from controller.pipeline.stages import Stage
from controller.transport.transport import Transport
from controller.transport.vxlan import VXLAN
from controller.world import World

SEGMENT_OFPORT = 9
_NUMBER = 0xFF
_TUNNEL_BEYOND, _DIRECT = 0x100, 0x200  # flags beside the number in `CARRIER`


def mac(host: int) -> int:
    """Under which a host takes packets: 02:77:67 and its number."""
    return 0x0277_6700_0000 | host


class HostGw(Transport):
    name, number, ofport = "host-gw", 4, SEGMENT_OFPORT

    def carrier(self, network: Network) -> int:
        return self.number | (_TUNNEL_BEYOND if network.cross_subnet else 0)

    def base(self, world: World) -> list[Flow]:
        beyond = Match(CARRIER, self.number | _TUNNEL_BEYOND)
        return [
            drop(Reason.SEGMENT, Stage.CLASSIFY, 50, (Match("in_port", SEGMENT_OFPORT),)),
            drop(Reason.UNKNOWN_NETWORK, Stage.SEGMENT, 0),
            drop(Reason.OTHER_SEGMENT, Stage.CARRY, 100, (Match(CARRIER, self.number),)),
            flow(Kind.BASE, Stage.CARRY, 100, (beyond,), (Output(VXLAN.ofport),)),
        ]

    def itself(self, world: World, host: Host) -> list[Flow]:
        to_us = Match("in_port", SEGMENT_OFPORT), Match("eth_dst", mac(host.id))
        arrived = (SetField(SOURCE_TENANT, FROM_TUNNEL, FROM_TUNNEL),)
        sent = SetField("eth_src", mac(host.id)), Output(SEGMENT_OFPORT)
        direct = Match(CARRIER, self.number | _DIRECT)
        return [
            flow(Kind.HOST, Stage.CLASSIFY, 100, to_us, arrived, Stage.TUNNEL),
            flow(Kind.HOST, Stage.CARRY, 100, (direct,), sent),
        ]

    def near(self, world: World, host: Host) -> list[Flow]:
        its = Match("in_port", SEGMENT_OFPORT), Match("eth_src", mac(host.id))
        to_it = Match(DESTINATION_HOST, host.id), LOCAL_SOURCE, Match(CARRIER, self.number, _NUMBER)
        direct = SetField("eth_dst", mac(host.id)), SetField(CARRIER, self.number | _DIRECT)
        return [
            flow(Kind.HOST, Stage.TUNNEL, 100, its, goto=Stage.SEGMENT),
            flow(Kind.HOST, Stage.OUTPUT, 110, to_it, direct, Stage.CARRY),
        ]

    def network(self, world: World, network: Network) -> list[Flow]:
        found = (SetField(SOURCE_NETWORK, network.vni),)
        return [
            flow(Kind.NETWORK, Stage.SEGMENT, 100, (ip(subnet.version), from_subnet(subnet)), found, Stage.ZONE)
            for subnet in network.subnets
        ]

    def to_host(self, world: World, network: Network, host: Host) -> tuple[Action, ...]:
        """By tunnel: without one, a broadcast would have to bear the MAC of a single host."""
        actions = super().to_host(world, network, host)
        return (SetField(CARRIER, VXLAN.number), *actions) if actions else ()

    def arrival(self, near: Host, far: Host, network: Network) -> tuple[Match, ...]:
        if near.segment is None or near.segment != far.segment:
            return VXLAN.arrival(near, far, network) if network.cross_subnet else ()
        return Match("in_port", SEGMENT_OFPORT), Match("eth_src", mac(near.id)), Match("eth_dst", mac(far.id))


HOST_GW = HostGw()
