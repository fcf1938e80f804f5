"""Tunnels: the source network's VNI goes along, so one port of the bridge carries all networks to all hosts."""

from __future__ import annotations

from controller.model import Host, Network
from controller.pipeline.flow import Flow, Kind, Match, Move, Output, SetField, flow
from controller.pipeline.registers import CARRIER, FROM_TUNNEL, SOURCE_NETWORK, SOURCE_TENANT
from controller.pipeline.stages import Stage
from controller.transport.transport import Port, Transport
from controller.world import World

_ETHERNET, _IP = 14, {4: 20, 6: 40}


class Tunnel(Transport):
    """`header` is what the tunnel's own headers take after the outer IP header, in bytes."""

    port: Port

    def __init__(self, name: str, number: int, port: Port, header: int) -> None:
        self.name, self.number, self.port, self.ofport, self._header = name, number, port, port.ofport, header

    def overhead(self, version: int) -> int:
        return _ETHERNET + _IP[version] + self._header

    def base(self, world: World) -> list[Flow]:
        arrived = SetField(SOURCE_TENANT, FROM_TUNNEL, FROM_TUNNEL), Move("tun_id", SOURCE_NETWORK, 32)
        here = Match("in_port", self.port.ofport)
        return [
            flow(Kind.BASE, Stage.CLASSIFY, 100, (here,), arrived, Stage.TUNNEL),
            flow(Kind.BASE, Stage.CARRY, 100, (Match(CARRIER, self.number),), (Output(self.port.ofport),)),
        ]

    def arrival(self, near: Host, far: Host, network: Network) -> tuple[Match, ...]:
        if near.address is None or far.address is None:
            return ()
        family = "tun" if near.address[0] == 4 else "tun_ipv6"
        ends = Match(f"{family}_src", near.address[1]), Match(f"{family}_dst", far.address[1])
        return Match("in_port", self.ofport), *ends, Match("tun_id", network.vni)
