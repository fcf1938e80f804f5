"""What rules of policies have counted: written by controllers, shown with the rules. Never bumps the revision.

A count is that of one version of a policy's document; what an older one counted is not shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from controller.calc.documents import read
from controller.calc.tally import Count, Place
from controller.mark import mark
from controller.model import Action, Direction, Tier
from db import hosts, policies
from db.pages import Page
from db.rows import insert_on
from db.tables import Host, HostStatus, Policy, RuleCounter, utcnow


class RuleCount(NamedTuple):
    """A rule, and what it did on all hosts together; `number` counts from 1. `connections` are open now; None where the
    rule admits none that is tracked, or a host could not count."""

    policy: str
    direction: Direction
    number: int
    name: str
    action: Action
    packets: int = 0
    bytes: int = 0
    last_hit: datetime | None = None
    connections: int | None = None


_COLUMNS = tuple(column for column in RuleCounter.__table__.columns if not column.primary_key)


def load(session: Session) -> dict[Place, Count]:
    """All counts, for a controller that starts; those of policies and hosts that are gone go for good."""
    for column, there in ((RuleCounter.policy_id, Policy.id), (RuleCounter.host_id, Host.id)):
        session.execute(delete(RuleCounter).where(column.not_in(select(there))))
    keys = RuleCounter.policy_id, RuleCounter.direction, RuleCounter.number, RuleCounter.host_id
    return {
        Place(policy, Direction(direction), number, host): Count(*values)
        for policy, direction, number, host, *values in session.execute(select(*keys, *_COLUMNS))
    }


def record(session: Session, counts: Mapping[Place, Count]) -> None:
    """The counts that changed, whole."""
    if not counts:
        return
    rows = [
        {"policy_id": at.policy, "direction": int(at.direction), "number": at.number, "host_id": at.host}
        | count._asdict()
        for at, count in sorted(counts.items())
    ]
    statement = insert_on(session, RuleCounter)
    keys = ["policy_id", "direction", "number", "host_id"]
    news = {column.name: statement.excluded[column.name] for column in _COLUMNS}
    session.execute(statement.on_conflict_do_update(index_elements=keys, set_=news), rows)


def find(
    session: Session,
    *,
    policy: str | None = None,
    tenant: str | None = None,
    unused: bool = False,
    cursor: str | None = None,
    limit: int = 100,
) -> Page[RuleCount]:
    """The rules of `limit` policies at a time; only those that never matched if `unused`."""
    page = policies.find(session, name=policy, tenant=tenant, cursor=cursor, limit=limit)
    sums, open = _sums(session, page.items), _open(session)
    found = [rule for row in page.items for rule in _rules(row, sums, open)]
    return Page([rule for rule in found if not unused or not rule.packets], page.next)


_Sums = dict[tuple[int, Direction, int], tuple[int, int, datetime | None]]


def _sums(session: Session, rows: Iterable[Policy]) -> _Sums:
    c = RuleCounter
    rule = c.policy_id, c.direction, c.number
    query = (
        select(*rule, func.sum(c.packets), func.sum(c.bytes), func.max(c.last_hit, type_=c.last_hit.type))
        .join(Policy, (Policy.id == c.policy_id) & (Policy.version == c.version))
        .where(c.policy_id.in_([row.id for row in rows]))
        .group_by(*rule)
    )
    return {
        (policy, Direction(direction), number): (int(packets), int(octets), last)
        for policy, direction, number, packets, octets, last in session.execute(query)
    }


_Open = dict[tuple[str, int], Counter[int]]
"""How many connections are open by direction and mark, and by the tenant that the rule's policy is about."""


def _open(session: Session) -> _Open | None:
    """The open connections that agents report; None if an agent that is heard of cannot count them."""
    query = select(HostStatus.agent_report).where(HostStatus.agent_seen_at >= utcnow() - hosts.SILENT_AFTER)
    found: _Open = {}
    for report in session.execute(query).scalars():
        counted = report.get("connections")
        if counted is None:
            return None
        for item in counted:
            key = str(item["direction"]), int(item["mark"])
            found.setdefault(key, Counter())[int(item["tenant"])] += int(item["open"])
    return found


def _rules(row: Policy, sums: _Sums, open: _Open | None) -> list[RuleCount]:
    draft = read(row.document)
    found = []
    for direction in Direction:
        shown = set()
        for number, rule in enumerate(draft.rules(direction) or ()):
            count = RuleCount(row.qualified_name, direction, number + 1, rule.name, rule.action)
            packets, octets, last = sums.get((row.id, direction, number), (0, 0, None))
            connections = None
            if open is not None and rule.action is Action.ACCEPT and draft.tier is not Tier.FIREWALL:
                its = mark(row.id, direction, rule)
                by_tenant = open.get((direction.name.lower(), its), Counter())
                connections = by_tenant[row.tenant_id] if row.tenant_id else by_tenant.total()
                # Of rules that say the same, the first one admits.
                connections, shown = 0 if its in shown else connections, shown | {its}
            found.append(count._replace(packets=packets, bytes=octets, last_hit=last, connections=connections))
    return found
