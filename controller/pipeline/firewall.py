"""The egress firewall: which addresses outside of all networks a tenant's endpoints may reach, by rules in their order.

It is asked apart from policies, and only of packets that no network is found for. Names count for the addresses that
endpoints were told. Where a packet goes that may leave is not decided here.
"""

from __future__ import annotations

from itertools import product

from controller.model import Action, Direction, Policy, Rule, Service, Tenant, Tier
from controller.pipeline.flow import Flow, Kind, Match, Reason, RuleRef, ToController, drop, flow
from controller.pipeline.peers import Matches, peers, ranges
from controller.pipeline.policy import LOG_BYTES
from controller.pipeline.registers import FROM_TUNNEL, flagged, local_source_tenant
from controller.pipeline.stages import Stage
from controller.world import World

STAGE = Stage.FIREWALL
_TOP = 60_000
_PORTS = {6: "tcp_dst", 17: "udp_dst", 132: "sctp_dst"}


def base(world: World) -> list[Flow]:
    return [
        flow(Kind.BASE, STAGE, 0xFFFF, (flagged(FROM_TUNNEL),), goto=Stage.WAY_OUT),
        flow(Kind.BASE, STAGE, 0, (), goto=Stage.WAY_OUT),
        drop(Reason.NO_ROUTE, Stage.WAY_OUT, 0),
    ]


def firewall(world: World, tenant: int) -> Policy | None:
    its = world.policies_of_tenant.get(tenant, {}).values()
    return next((policy for policy in its if policy.tier is Tier.FIREWALL), None)


def tenant(world: World, tenant: Tenant) -> list[Flow]:
    """The tenant's rules."""
    policy = firewall(world, tenant.id)
    if policy is None:
        return []
    flows: dict[tuple[int, frozenset[Match]], Flow] = {}
    for number, rule in enumerate(policy.egress or ()):
        ref = RuleRef(policy.id, Direction.EGRESS, number)
        for to, service in product(peers(world, policy, rule, Direction.EGRESS), _services(rule)):
            match = (local_source_tenant(tenant.id), *to.match, *service)
            priority = _TOP - number
            flows.setdefault((priority, frozenset(match)), _decide(rule, priority, match, ref))
    return list(flows.values())


def _decide(rule: Rule, priority: int, match: Matches, ref: RuleRef) -> Flow:
    if rule.action is Action.ACCEPT:
        return flow(Kind.POLICY, STAGE, priority, match, (), Stage.WAY_OUT, ref)
    owner = Kind.DROP + Reason.EGRESS_FIREWALL
    return Flow(STAGE, priority, match, (ToController(LOG_BYTES),), None, owner, ref)


def _services(rule: Rule) -> list[Matches]:
    """On the packet's own fields: what leaves is not tracked."""
    return [()] if rule.services is None else [match for service in rule.services for match in _ports(service)]


def _ports(service: Service) -> list[Matches]:
    protocol = Match("ip_proto", service.protocol)
    if service.protocol not in _PORTS or (service.first, service.last) == (0, 0xFFFF):
        return [(protocol,)]
    field = _PORTS[service.protocol]
    return [(protocol, Match(field, first, 0x10000 - size)) for first, size in ranges(service)]
