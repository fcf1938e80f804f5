"""The last step: to the port of an endpoint here, or by a transport to the endpoint's host.

The wire carries the VNI of the *source's* network, over its transport; the receiving host derives zone and tenant from
it. A packet that came from another host never leaves for one (split horizon), so packets cannot circle between hosts.
"""

from __future__ import annotations

from controller.model import Host
from controller.pipeline.flow import Flow, Kind, Match, Move, OutputReg, Reason, SetField, drop, flow
from controller.pipeline.registers import DESTINATION_HOST, HERE, LOCAL_SOURCE, OUTPUT_PORT, SOURCE_NETWORK
from controller.pipeline.stages import Stage
from controller.world import World

STAGE = Stage.OUTPUT


def base(world: World) -> list[Flow]:
    return [
        flow(Kind.BASE, STAGE, 100, (HERE,), (OutputReg(OUTPUT_PORT),)),
        drop(Reason.NO_TUNNEL, STAGE, 0),
        drop(Reason.NO_STAGE, Stage.CARRY, 0),
    ]


def peer(world: World, host: Host) -> list[Flow]:
    """One flow for each other host, shared by all endpoints there."""
    if host.address is None:
        return []
    version, value = host.address
    actions = SetField("tun_dst" if version == 4 else "tun_ipv6_dst", value), Move(SOURCE_NETWORK, "tun_id", 32)
    return [flow(Kind.HOST, STAGE, 100, (Match(DESTINATION_HOST, host.id), LOCAL_SOURCE), actions, Stage.CARRY)]
