"""May this endpoint open that connection? Answered from the world, step by step and in words.

The pipeline carries out the same rules as flows; that the two agree, packet by packet, is tested over random worlds.
Here nothing is compiled: the answer names the stage, the policy and the rule that decided.
"""

from __future__ import annotations

from typing import NamedTuple

from controller.calc.reach import reach
from controller.model import Action, Block, Direction, DomainName, Endpoint, Members, Peer, Policy, Rule, Tier
from controller.selection import Identity, Use
from controller.transport import transport
from controller.world import World

PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}


class Asked(NamedTuple):
    """What a connection is opened to; `port` is `type << 8 | code` for ICMP (1) and ICMPv6 (58)."""

    version: int
    protocol: int
    port: int

    def __str__(self) -> str:
        """`tcp/5432`, `icmp/8:0`."""
        name = PROTOCOLS.get(self.protocol, f"protocol {self.protocol}")
        if self.protocol in (1, 58):
            return f"{name}/{self.port >> 8}:{self.port & 0xFF}"
        return f"{name}/{self.port}"


class End(NamedTuple):
    """An endpoint as policies see it; its address is that of the family asked for. `identity` None: who is outside."""

    identity: Identity | None
    address: int | None

    @classmethod
    def of(cls, world: World, endpoint: Endpoint, version: int) -> End:
        address = next((a.value for a in endpoint.addresses if a.version == version), None)
        return cls(world.identity_of(endpoint), address)


class Decision(NamedTuple):
    """`stage` is `isolation`, `transport`, `egress` or `ingress`. `policy` and `rule` (from 0) say who decided,
    when one did; `reason` says it in words that follow on "allowed" or "denied"."""

    stage: str
    allowed: bool
    reason: str
    policy: Policy | None = None
    rule: int | None = None


def judge(world: World, source: Endpoint, destination: Endpoint, asked: Asked) -> list[Decision]:
    """What each stage says, up to the first that denies. The connection is allowed when the last one allows it."""
    ends = End.of(world, source, asked.version), End.of(world, destination, asked.version)
    between = reach(world, world.networks[source.network], world.networks[destination.network])
    said = [Decision("isolation", between.allowed, between.reason)]
    if said[-1].allowed and (keeps := _kept_apart(world, source, destination)):
        said.append(keeps)
    for direction in (Direction.EGRESS, Direction.INGRESS):
        if said[-1].allowed:
            said.append(decide(world, direction, *ends, asked))
    return said


def _kept_apart(world: World, source: Endpoint, destination: Endpoint) -> Decision | None:
    """Nothing comes to another host from a network that keeps to its own, or to one."""
    if source.host == destination.host:
        return None
    for end in (source, destination):
        network = world.networks[end.network]
        if not transport(network.transport).leaves_host:
            return Decision("transport", False, f"as {network.name} keeps to its host")
    return None


def decide(world: World, direction: Direction, source: End, destination: End, asked: Asked) -> Decision:
    """What policies about one of the ends say: about the source for EGRESS, about the destination for INGRESS."""
    subject, peer = (source, destination) if direction is Direction.EGRESS else (destination, source)
    assert subject.identity is not None, "policies are about endpoints"
    found = {policy.id: policy for policy in world.policies_selecting(subject.identity)}
    selecting = [policy for policy in found.values() if policy.rules(direction) is not None]
    stage = direction.name.lower()

    def first(tier: Tier) -> Decision | None:
        """The decision of the first rule that matches; None when none does, or it passes."""
        for policy in sorted((p for p in selecting if p.tier is tier), key=lambda p: (p.priority, p.name)):
            for number, rule in enumerate(policy.rules(direction) or ()):
                if _matches(world, policy, rule, peer, destination.identity, asked):
                    if rule.action is Action.PASS:
                        return None
                    return Decision(
                        stage,
                        rule.action is Action.ACCEPT,
                        f"by {named_rule(policy, direction, number)}",
                        policy,
                        number,
                    )
        return None

    if decision := first(Tier.ADMIN):
        return decision
    isolating = [policy for policy in selecting if policy.tier is Tier.TENANT]
    denied = direction in world.tenants[subject.identity.tenant].default_deny
    if isolating or denied:
        return first(Tier.TENANT) or _left_over(world, stage, subject, isolating)
    return first(Tier.BASELINE) or Decision(stage, True, f"as no {stage} policy decides")


def _left_over(world: World, stage: str, subject: End, isolating: list[Policy]) -> Decision:
    if not isolating and subject.identity is not None:
        tenant = world.tenants[subject.identity.tenant].name
        return Decision(stage, False, f"by default: tenant {tenant} denies {stage} that no policy allows")
    names = sorted(policy.name for policy in isolating)
    which = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    plural = "policy" if len(names) == 1 else "policies"
    first = isolating[0] if len(isolating) == 1 else None
    return Decision(stage, False, f"by {plural} {which}: no {stage} rule allows it", first)


def named_rule(policy: Policy, direction: Direction, number: int) -> str:
    """`policy acme/db-lockdown ingress rule 2`, with the rule's own name where it has one."""
    rule = (policy.rules(direction) or ())[number]
    own = f" ({rule.name})" if rule.name else ""
    return f"policy {policy.name} {direction.name.lower()} rule {number + 1}{own}"


def _matches(world: World, policy: Policy, rule: Rule, peer: End, called: Identity | None, asked: Asked) -> bool:
    if rule.peers is not None and not any(_is(world, policy, candidate, peer, asked) for candidate in rule.peers):
        return False
    if rule.services is None:
        return True
    for service in rule.services:
        if service.protocol != asked.protocol:
            continue
        if service.name:
            if called is not None and called.port(service.name, service.protocol) == asked.port:
                return True
        elif service.first <= asked.port <= service.last:
            return True
    return False


def _is(world: World, policy: Policy, candidate: Peer, end: End, asked: Asked) -> bool:
    match candidate:
        case Members() if end.identity is None:
            return False
        case Members(tenants, endpoints):
            assert end.identity is not None
            labels = world.tenants[end.identity.tenant].labels
            return Use(policy.tenant, tenants, endpoints).of(end.identity, labels)
        case Block():
            return candidate.version == asked.version and end.address is not None and within(candidate, end.address)
        case DomainName():
            return (asked.version, end.address) in world.addresses_of(candidate)


def within(block: Block, address: int) -> bool:
    bits = 32 if block.version == 4 else 128

    def inside(network: int, prefix: int) -> bool:
        return address >> (bits - prefix) == network >> (bits - prefix)

    return inside(block.network, block.prefix) and not any(inside(*hole) for hole in block.excepts)
