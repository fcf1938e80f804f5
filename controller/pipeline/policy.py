"""Policies: who may open a connection to whom, judged by identity, address and service at the host of whom it is about.

A rule becomes the fewer of two: one flow for each combination of subject, peer and service, or a conjunction, which
has a flow for each subject, each peer and each service, and one for what follows. The part that names subjects is
carried only by hosts that have them (`binding`), the rest once by each such host (`clauses`); none depends on the host.

In the tenants' tier all rules accept, so their order says nothing: a policy's flows have a priority of its own among
its tenant's policies, and no flow is ever shared by two policies. In the cluster's tiers priorities follow the order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from controller.mark import mark
from controller.model import RULES_OF_A_PRIORITY, Direction, Policy, Rule, Tier
from controller.model import Action as Verdict
from controller.pipeline.flow import (
    Action,
    Conjunction,
    Flow,
    Kind,
    Match,
    Reason,
    RuleRef,
    SetField,
    ToController,
    flow,
)
from controller.pipeline.peers import (
    Atom,
    Matches,
    named_at_peers,
    named_ports,
    named_services,
    peers,
    services,
    tenant_of_subject,
)
from controller.pipeline.registers import (
    DESTINATION_IDENTITY,
    DESTINATION_JUDGED,
    EGRESS_MARK,
    INGRESS_MARK,
    SOURCE_IDENTITY,
    SOURCE_JUDGED,
    is_identity,
    unflagged,
)
from controller.pipeline.stages import Stage
from controller.selection import Identity, subject
from controller.world import World

LOG_BYTES = 128
MOST_CONJUNCTIONS = 3_000
"""Of a policy in one direction: a flow has an action of 16 bytes for each that it is a part of, and one message."""
_TOP, _TENANTS, _DENIED = 65_000, 100, 10

_STAGES = {
    (Direction.EGRESS, Tier.ADMIN): Stage.EGRESS_ADMIN,
    (Direction.EGRESS, Tier.TENANT): Stage.EGRESS_TENANT,
    (Direction.EGRESS, Tier.BASELINE): Stage.EGRESS_BASELINE,
    (Direction.INGRESS, Tier.ADMIN): Stage.INGRESS_ADMIN,
    (Direction.INGRESS, Tier.TENANT): Stage.INGRESS_TENANT,
    (Direction.INGRESS, Tier.BASELINE): Stage.INGRESS_BASELINE,
}
_ACCEPTED = {Direction.EGRESS: Stage.INGRESS_ADMIN, Direction.INGRESS: Stage.RESTORE}
_REASON = {Direction.EGRESS: Reason.EGRESS_POLICY, Direction.INGRESS: Reason.INGRESS_POLICY}
_SUBJECT = {Direction.EGRESS: SOURCE_IDENTITY, Direction.INGRESS: DESTINATION_IDENTITY}
_MARK = {Direction.EGRESS: EGRESS_MARK, Direction.INGRESS: INGRESS_MARK}
_JUDGED = {Direction.EGRESS: SOURCE_JUDGED, Direction.INGRESS: DESTINATION_JUDGED}


def base(world: World) -> list[Flow]:
    """Each tier gives to the next whatever it does not decide; the last one lets it pass."""
    flows = []
    for (direction, tier), stage in _STAGES.items():
        flows.append(flow(Kind.BASE, stage, 0, (), goto=_next(direction, tier)))
        if tier is Tier.ADMIN:
            elsewhere = unflagged(_JUDGED[direction])  # the subject is on another host, or no policy is about it
            flows.append(flow(Kind.BASE, stage, 0xFFFF, (elsewhere,), goto=_ACCEPTED[direction]))
    return flows


def isolated(world: World, identity: Identity, direction: Direction) -> bool:
    """Whether the endpoints are denied whatever no policy of their tenant accepts."""
    if direction in world.tenants[identity.tenant].default_deny:
        return True
    selecting = (policy for policy in world.policies_selecting(identity) if policy.tier is Tier.TENANT)
    return any(policy.rules(direction) is not None for policy in selecting)


def isolation(world: World, identity: Identity) -> list[Flow]:
    """What the tenant's policies did not accept, of endpoints that they isolate."""
    return [
        _decide(
            Verdict.DENY,
            _STAGES[direction, Tier.TENANT],
            _DENIED,
            is_identity(_SUBJECT[direction], identity.id),
            RuleRef(0, direction, identity.tenant),
            (ToController(LOG_BYTES),),
        )
        for direction in Direction
        if isolated(world, identity, direction)
    ]


def binding(world: World, policy: Policy, identity: Identity) -> list[Flow]:
    """What a policy says of one identity that it selects."""
    book = _Book()
    for plan in _plans(world, policy):
        its = is_identity(_SUBJECT[plan.ref.direction], identity.id)
        if plan.conjunction:
            book.clause(plan, its, 1)
        else:
            for atom in plan.peers:
                for service in plan.services:
                    book.plain(plan, (*its, *atom.match, *service))
        if plan.ref.direction is Direction.INGRESS:
            for atom in plan.peers:
                for service in named_services(plan.names, identity):
                    book.plain(plan, (*its, *atom.match, *service))
        for called in plan.called:
            book.plain(plan, (*its, *called))
    return book.flows()


def clauses(world: World, policy: Policy) -> list[Flow]:
    """The rest of the policy's conjunctions, the same whichever of its subjects a host has."""
    book = _Book()
    for plan in _plans(world, policy):
        if not plan.conjunction:
            continue
        # Conjunctions are numbered within a tenant.
        scope = (tenant_of_subject(plan.ref.direction, policy.tenant),) if policy.tenant else ()
        for index, dimension in enumerate(plan.dimensions, 2):
            for match in dimension:
                book.clause(plan, (*scope, *match), index)
        book.plain(plan, (*scope, Match("conj_id", plan.conjunction)))
    return book.flows()


class _Plan(NamedTuple):
    """How one rule is written. `conjunction` is its number, 0 for single flows; `peers` and `services` are what must
    hold one of each. `names` are the ports that it names, `called` whom it may call by them, each with the port."""

    stage: Stage
    priority: int
    rule: Rule
    ref: RuleRef
    mark: int
    peers: list[Atom]
    services: list[Matches]
    conjunction: int
    names: frozenset[tuple[str, int]]
    called: list[Matches]

    @property
    def dimensions(self) -> list[list[Matches]]:
        """Besides the subjects; without those in which anything does."""
        both = [atom.match for atom in self.peers], self.services
        return [dimension for dimension in both if dimension != [()]]


def _plans(world: World, policy: Policy) -> list[_Plan]:
    """All rules of a policy. They are asked for once for each of its subjects, one after the other."""
    global _latest
    latest = _latest  # another thread may put its own there at any moment
    if latest is None or latest[0] is not world or latest[1] is not policy:
        _latest = latest = world, policy, list(_planned(world, policy))
    return latest[2]


_latest: tuple[World, Policy, list[_Plan]] | None = None


def _planned(world: World, policy: Policy) -> Iterator[_Plan]:
    for direction in Direction:
        priorities, rules = _priorities(world, policy, direction), policy.rules(direction) or ()
        named = [(peers(world, policy, rule, direction), services(rule)) for rule in rules]
        numbers = _conjunctions(world, policy, named)
        for index, (rule, (found, asked)) in enumerate(zip(rules, named, strict=True)):
            ref, its = RuleRef(policy.id, direction, index), mark(policy.id, direction, rule)
            names, stage = named_ports(rule), _STAGES[direction, policy.tier]
            calls = list(named_at_peers(world, names, found)) if direction is Direction.EGRESS else []
            yield _Plan(stage, priorities[index], rule, ref, its, found, asked, numbers.get(index, 0), names, calls)


def _conjunctions(world: World, policy: Policy, named: list[tuple[list[Atom], list[Matches]]]) -> dict[int, int]:
    """Their numbers, by the index of the rule: of rules that are fewer flows so, and if these are too many, of those
    that gain most by it."""
    if all(len(found) * len(asked) < 2 for found, asked in named):
        return {}
    subjects = sum(1 for _ in world.identities_of_use(subject(policy)))
    spared: dict[int, int] = {}
    for index, (found, asked) in enumerate(named):
        single, apart = subjects * len(found) * len(asked), subjects + len(found) + len(asked) + 1
        if apart < single:
            spared[index] = single - apart
    chosen = sorted(sorted(spared, key=lambda index: -spared[index])[:MOST_CONJUNCTIONS])
    # Places in the document stay as they are when another rule comes to be one, but there are only so many numbers.
    places: Iterable[tuple[int, int]] = zip(chosen, chosen, strict=True)
    if len(named) > 1 << 16:
        places = enumerate(chosen)
    return {index: policy.ordinal << 16 | place for place, index in places}


def _priorities(world: World, policy: Policy, direction: Direction) -> list[int]:
    """The priority of each rule's flows. Among policies of one tier and priority the policy's name decides."""
    count = len(policy.rules(direction) or ())
    if policy.tier is Tier.TENANT:
        return [_TENANTS + policy.ordinal] * count
    alike = sorted(
        (other.name, len(other.rules(direction) or ()))
        for other in world.policies_of_tenant.get(0, {}).values()
        if (other.tier, other.priority) == (policy.tier, policy.priority)
    )
    before = sum(rules for name, rules in alike if name < policy.name)
    first = _TOP - policy.priority * RULES_OF_A_PRIORITY - before
    return [first - index for index in range(count)]


def _next(direction: Direction, tier: Tier) -> Stage:
    return _STAGES[direction, Tier(tier + 1)] if tier is not Tier.BASELINE else _ACCEPTED[direction]


def _decide(
    verdict: Verdict, stage: Stage, priority: int, match: Matches, ref: RuleRef, actions: tuple[Action, ...]
) -> Flow:
    if verdict is Verdict.DENY:
        return Flow(stage, priority, match, actions, None, Kind.DROP + _REASON[ref.direction], ref)
    tier = next(tier for (direction, tier), its in _STAGES.items() if its is stage)
    goto = _ACCEPTED[ref.direction] if verdict is Verdict.ACCEPT else _next(ref.direction, tier)
    return flow(Kind.POLICY, stage, priority, match, actions, goto, ref)


class _Book:
    """The flows of one policy: what two of its rules say of the same packets is written down once."""

    def __init__(self) -> None:
        self._plain: dict[tuple[Stage, int, frozenset[Match]], Flow] = {}
        self._clauses: dict[tuple[Stage, int, frozenset[Match]], tuple[Matches, list[Conjunction]]] = {}

    def plain(self, plan: _Plan, match: Matches) -> None:
        """What matches goes by the rule; by an earlier one, if that has said so already."""
        key = plan.stage, plan.priority, frozenset(match)
        if key not in self._plain:
            verdict = plan.rule.action
            actions: tuple[Action, ...] = ()
            if verdict is Verdict.ACCEPT:
                actions = (SetField(_MARK[plan.ref.direction], plan.mark),)
            if plan.rule.log or verdict is Verdict.DENY:
                actions += (ToController(LOG_BYTES),)
            self._plain[key] = _decide(verdict, plan.stage, plan.priority, match, plan.ref, actions)

    def clause(self, plan: _Plan, match: Matches, index: int) -> None:
        key = plan.stage, plan.priority, frozenset(match)
        said = Conjunction(plan.conjunction, index, 1 + len(plan.dimensions))
        self._clauses.setdefault(key, (match, []))[1].append(said)

    def flows(self) -> list[Flow]:
        # Where a rule takes all that a clause would match, the clause has nothing to add.
        clauses = [
            flow(Kind.CLAUSE, stage, priority, match, tuple(said))
            for key, (match, said) in self._clauses.items()
            if key not in self._plain
            for stage, priority, _ in (key,)
        ]
        return [*self._plain.values(), *clauses]
