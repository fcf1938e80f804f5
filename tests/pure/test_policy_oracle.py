"""Programs mean what documents say: packets through compiled policies end where the oracle says, every time.

Sites, documents and questions are random. A connection that is allowed gets its replies, too; and when the documents
change, both directions of a connection that is already open follow the new ones at the next packet.
"""

from __future__ import annotations

from random import Random

from hypothesis import HealthCheck, Phase, given, settings

from controller.model import Change
from controller.world import World
from tests.oracle import EGRESS, INGRESS, Document, Question, judge, side
from tests.policies import Case, cases, policies_of, questions
from tests.pure import worlds
from tests.pure.connections import QUERIES
from tests.pure.fabric import Fabric, Tracked, untracked
from tests.sites import HOSTS, Plan

QUESTIONS = 24


def policy_changes(plan: Plan, before: list[Document], after: list[Document]) -> list[Change]:
    """From one set of policies to another; ids are used again, as when a policy is edited."""
    gone = [Change("policy", policy.id, None) for policy in policies_of(before, plan)[len(after) :]]
    return [*gone, *map(worlds.policy, policies_of(after, plan))]


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a case is large, and tells enough as it is
)
@given(cases())
def test_programs_agree_with_the_oracle_before_and_after_policies_change(case: Case) -> None:
    plan, random = case.plan, Random(case.seed)
    world = World().apply(1, [*plan.changes(), *policy_changes(plan, [], case.before)])
    fabric = Fabric(world)
    open_connections: list[tuple[Question, Tracked]] = []
    for question in questions(random, plan, case.before + case.after, QUESTIONS):
        tracked = untracked(HOSTS)
        agree(fabric, plan, case.before, question, tracked)
        if judge(plan.site, case.before, question).allowed:
            assert fabric.answer(question, tracked), f"no reply to {question} in {plan} under {case.before}"
            open_connections.append((question, tracked))

    fabric = Fabric(world.apply(2, policy_changes(plan, case.before, case.after)))
    for question, tracked in open_connections:
        reply = fabric.reply(question)
        known = all(fabric.knows(end, reply, tracked) for end in (question.source, question.destination))
        if known or backwards(question) is None:
            # Of a connection that nobody tracked, a reply that comes first may open one the other way round.
            agree_on_reply(fabric, plan, case.after, question, tracked)
        agree(fabric, plan, case.after, question, tracked)
        agree_on_reply(fabric, plan, case.after, question, tracked)


def agree(fabric: Fabric, plan: Plan, documents: list[Document], question: Question, tracked: Tracked) -> None:
    expected = judge(plan.site, documents, question)
    delivered = fabric.ask(question, tracked)
    assert delivered == expected.allowed, f"{question}: {expected}, but {delivered=} in {plan} under {documents}"


def agree_on_reply(fabric: Fabric, plan: Plan, documents: list[Document], question: Question, tracked: Tracked) -> None:
    """An end whose host knows the connection judges it; by one that never tracked it, the reply is judged as is."""
    reply, back = fabric.reply(question), backwards(question)
    verdicts = []
    ends = question.source, question.destination
    if fabric.host(ends[0]) == fabric.host(ends[1]) and len({fabric.sees(end, reply, tracked) for end in ends}) > 1:
        return  # two tenants on one host that have seen different parts of the connection
    knowing = {fabric.host(end) for end in ends if fabric.knows(end, reply, tracked)}
    for end, known, unknown in ((question.destination, INGRESS, EGRESS), (question.source, EGRESS, INGRESS)):
        if fabric.host(end) in knowing:
            verdicts.append(side(plan.site, documents, known, question))
        else:
            verdicts.append(side(plan.site, documents, unknown, back))
    expected = all(verdict.allowed for verdict in verdicts)
    delivered = fabric.answer(question, tracked)
    assert delivered == expected, f"reply to {question}: {verdicts}, but {delivered=} in {plan} under {documents}"


def backwards(question: Question) -> Question:
    """What a reply asks for that is taken by itself."""
    turned = question._replace(source=question.destination, destination=question.source)
    if question.protocol in ("icmp", "icmpv6"):
        return turned._replace(port=QUERIES[question.port])
    return turned._replace(port=question.source_port, source_port=question.port)
