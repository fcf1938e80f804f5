"""Ears for DNS: the answers that are delivered to a tenant's endpoints here, copied whole to the controller.

Whose endpoints are listened to follows from whose policies say names. What an answer says, and whether it is believed,
is not decided here.
"""

from __future__ import annotations

from controller.model import Tenant
from controller.pipeline.flow import ANSWERS_METER, Flow, Kind, Match, OutputReg, ToController, flow
from controller.pipeline.packet import IPV4, IPV6, TCP, UDP
from controller.pipeline.registers import DESTINATION_TENANT, HERE, OUTPUT_PORT
from controller.pipeline.stages import Stage
from controller.selection import matches
from controller.world import World

WHOLE = 0xFFFF
DNS_PORT = 53


def is_heard(world: World, tenant: int) -> bool:
    """Whether a policy that says names may be about endpoints of the tenant."""
    if tenant in world.policies_with_domains:
        return True
    labels = world.tenants[tenant].labels
    cluster = world.policies_with_domains.get(0, {}).values()
    return any(policy.tenants is not None and matches(policy.tenants, labels) for policy in cluster)


def tenant(world: World, tenant: Tenant) -> list[Flow]:
    to_here = (HERE, Match(DESTINATION_TENANT, tenant.id))
    heard = (ToController(WHOLE, ANSWERS_METER), OutputReg(OUTPUT_PORT))
    return [
        flow(Kind.ANSWERS, Stage.OUTPUT, 110, (*to_here, ip, protocol, Match(field, DNS_PORT)), heard)
        for ip in (IPV4, IPV6)
        for protocol, field in ((UDP, "udp_src"), (TCP, "tcp_src"))
    ]
