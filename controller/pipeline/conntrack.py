"""Connections: which packets go through conntrack, in which zone, and when a connection is committed.

The zone is the tenant of the endpoint on this host: the source's before policy at the source's host, the
destination's at the destination's host. A packet between two tenants on one host is looked up twice. Tenants that
nothing tracks pay nothing: without their flows every packet falls through these stages.
"""

from __future__ import annotations

from controller.model import Tenant
from controller.pipeline.flow import Ct, Flow, Kind, Match, Reason, drop, flow
from controller.pipeline.packet import IPV4, IPV6
from controller.pipeline.registers import DESTINATION_TENANT, HERE, local_source_tenant
from controller.pipeline.stages import Stage
from controller.world import World

_NEW, _INVALID, _TRACKED = 0x01, 0x10, 0x20  # bits of ct_state, ovs-fields(7)
INVALID = Match("ct_state", _INVALID | _TRACKED, _INVALID | _TRACKED)
NEW = Match("ct_state", _NEW | _TRACKED, _NEW | _TRACKED)


def base(world: World) -> list[Flow]:
    return [
        flow(Kind.BASE, Stage.TRACK_SOURCE, 0, (), goto=Stage.SERVICE),
        drop(Reason.INVALID_CONNECTION, Stage.STATE_SOURCE, 100, (INVALID,)),
        flow(Kind.BASE, Stage.STATE_SOURCE, 0, (), goto=Stage.SERVICE),
        flow(Kind.BASE, Stage.TRACK_DESTINATION, 0, (), goto=Stage.INGRESS_POLICY),
        drop(Reason.INVALID_CONNECTION, Stage.STATE_DESTINATION, 100, (INVALID,)),
        flow(Kind.BASE, Stage.STATE_DESTINATION, 0, (), goto=Stage.INGRESS_POLICY),
        flow(Kind.BASE, Stage.COMMIT_SOURCE, 0, (), goto=Stage.COMMIT_DESTINATION),
        flow(Kind.BASE, Stage.COMMIT_DESTINATION, 0, (), goto=Stage.OUTPUT),
    ]


def tenant(world: World, tenant: Tenant) -> list[Flow]:
    """A tracked tenant's connections, in its own zone. Nothing for a tenant that is not tracked."""
    if not tenant.track_all:
        return []
    zone = tenant.id
    from_here, to_here = local_source_tenant(zone), (Match(DESTINATION_TENANT, zone), HERE)
    commit = (Ct(zone, commit=True),)
    flows = []
    for ip in (IPV4, IPV6):
        flows += [
            flow(Kind.TENANT, Stage.TRACK_SOURCE, 100, (ip, from_here), (Ct(zone, table=Stage.STATE_SOURCE),)),
            # Both ends here and of one tenant: the first look-up was in the right zone.
            flow(Kind.TENANT, Stage.TRACK_DESTINATION, 110, (ip, from_here, *to_here), goto=Stage.INGRESS_POLICY),
            flow(Kind.TENANT, Stage.TRACK_DESTINATION, 100, (ip, *to_here), (Ct(zone, table=Stage.STATE_DESTINATION),)),
            flow(Kind.TENANT, Stage.COMMIT_SOURCE, 100, (ip, NEW, from_here), commit, Stage.COMMIT_DESTINATION),
            flow(Kind.TENANT, Stage.COMMIT_DESTINATION, 110, (ip, NEW, from_here, *to_here), goto=Stage.OUTPUT),
            flow(Kind.TENANT, Stage.COMMIT_DESTINATION, 100, (ip, NEW, *to_here), commit, Stage.OUTPUT),
        ]
    return flows
