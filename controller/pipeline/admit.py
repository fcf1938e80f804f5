"""Tenant isolation: a packet passes when both ends are in one zone, or one end is in the global zone.

Everything else is dropped as *tenant isolation*. Policies decide in the stages on either side, which hold no
flows of their own until there are policies.
"""

from __future__ import annotations

from controller.model import GLOBAL_ZONE
from controller.pipeline.flow import Flow, Kind, Match, Reason, drop, flow
from controller.pipeline.registers import DESTINATION_ZONE, SOURCE_ZONE
from controller.pipeline.stages import Stage
from controller.world import World

STAGE = Stage.ADMIT


def base(world: World) -> list[Flow]:
    return [
        flow(Kind.BASE, Stage.EGRESS_POLICY, 0, (), goto=STAGE),
        flow(Kind.BASE, STAGE, 100, (Match(SOURCE_ZONE, GLOBAL_ZONE),), goto=Stage.TRACK_DESTINATION),
        flow(Kind.BASE, STAGE, 90, (Match(DESTINATION_ZONE, GLOBAL_ZONE),), goto=Stage.TRACK_DESTINATION),
        drop(Reason.TENANT_ISOLATION, STAGE, 0),
        flow(Kind.BASE, Stage.INGRESS_POLICY, 0, (), goto=Stage.COMMIT_SOURCE),
    ]


def zone(world: World, zone: int) -> list[Flow]:
    """One flow for each zone that has an endpoint on the host, however many endpoints."""
    same = (Match(SOURCE_ZONE, zone), Match(DESTINATION_ZONE, zone))
    return [flow(Kind.ZONE, STAGE, 80, same, goto=Stage.TRACK_DESTINATION)]
