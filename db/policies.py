"""Policies: documents that are applied, all of a request or none, and what they may not be beside others.

What a document says is read by `controller.calc.documents`; here it gets a tenant, a number and an ordinal. Whoever
applies to a tenant, or to the cluster, takes turns with others who do, so that ordinals and limits hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, String, and_, cast, func, or_, select
from sqlalchemy import delete as sql_delete
from sqlalchemy.orm import Session, contains_eager

from controller.calc.documents import FIREWALLS, Draft, Refused, read
from controller.calc.documents.fields import written
from controller.model import RULES_OF_A_PRIORITY, Direction, Tier
from db import quotas, zones
from db.changes import Transaction
from db.errors import Conflict, Exhausted, Invalid, NotFound
from db.pages import Page, Sort, containing, created, moment, page
from db.rows import assign, check_version
from db.tables import Policy, RuleCounter, Tenant

LAST_ORDINAL = 60_000
CLUSTER = 0
"""The owner of policies that are in no tenant."""


class Given(NamedTuple):
    """A document of a request: which one it is, what it says, and how it is called in sentences."""

    number: int
    draft: Draft
    document: dict[str, Any]

    @property
    def what(self) -> str:
        return f"{self.draft.kind} {self.draft.qualified_name}"

    def field(self, *path: str) -> str:
        return ".".join(("documents", str(self.number), *path))


def apply(tx: Transaction, documents: Sequence[Any], *, version: int | None = None) -> list[Policy]:
    """Creates or replaces a policy for each document; one that is there already as it is stays untouched. `version`:
    only in place of that one."""
    given = [_given(number, document) for number, document in enumerate(documents)]
    _refuse_doubles(given)
    tenants = _locked(tx, given)
    there = _there(tx.session, given, tenants)
    for one in given:
        if before := there[one.draft.tenant].rows.get(one.draft.name):
            check_version(before, version, f"policy {before.qualified_name}")
    rows = [_put(tx, one, tenants[one.draft.tenant], there[one.draft.tenant]) for one in given]
    _refuse_second_firewall(tx.session, given, rows)
    _refuse_crowded_priority(tx.session, given)
    return rows


def get(session: Session, name: str) -> Policy:
    """`TENANT/NAME`, or the name of one of the cluster's."""
    policy = session.execute(_query().where(_named(name))).scalar_one_or_none()
    if policy is None:
        raise NotFound(f"there is no policy {name}", "list them with `warren policy list`", "policy")
    return policy


def find(
    session: Session,
    *,
    name: str | None = None,
    tenant: str | None = None,
    kind: str | None = None,
    text: str | None = None,
    sort: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> Page[Policy]:
    """By name the cluster's come first. `text` is part of the qualified name. `sort` is by "name", "kind" or
    "created"."""
    query = _query().where(*containing(text, _OWNER + "/" + Policy.name))
    if kind is not None:
        query = query.where(Policy.kind == kind)
    if name is not None:
        query = query.where(_named(name))
    if tenant is not None:
        query = query.where(Tenant.name == tenant)
    return page(session, query, (_OWNER, Policy.name), _name, cursor, limit, sort, SORTS)


_OWNER = func.coalesce(Tenant.name, "")
SORTS = {
    "kind": Sort(Policy.kind, lambda row: row.kind),
    "created": Sort(Policy.created_at, created, moment),
}


def _name(row: Policy) -> str:
    return f"{row.tenant.name if row.tenant else ''}/{row.name}"


def saying_names(session: Session) -> Iterator[Policy]:
    """Policies whose rules may have DNS names: their documents hold a field of that name."""
    words = or_(*(cast(Policy.document, String).contains(word) for word in ("dnsName", "domainNames")))
    kinds = (*FIREWALLS, "ClusterNetworkPolicy")
    return iter(session.execute(_query().where(Policy.kind.in_(kinds), words)).scalars())


def delete(tx: Transaction, name: str, *, version: int | None = None) -> None:
    policy = get(tx.session, name)
    check_version(policy, version, f"policy {name}")
    tx.session.delete(policy)
    tx.session.flush()
    tx.session.execute(sql_delete(RuleCounter).where(RuleCounter.policy_id == policy.id))
    tx.record("policy", policy.id, "delete", tenant_id=policy.tenant_id)


def delete_of(tx: Transaction, tenant: Tenant) -> None:
    """All of a tenant's, before it goes."""
    # Whoever applies one meanwhile comes before this, or finds no tenant any more.
    tx.session.execute(select(Tenant.id).where(Tenant.id == tenant.id).with_for_update(key_share=True))
    gone = sql_delete(Policy).where(Policy.owner == tenant.id).returning(Policy.id)
    ids = sorted(tx.session.execute(gone).scalars())
    for id in ids:
        tx.record("policy", id, "delete", tenant_id=tenant.id)
    tx.session.execute(sql_delete(RuleCounter).where(RuleCounter.policy_id.in_(ids)))


def _query() -> Select[tuple[Policy]]:
    return select(Policy).outerjoin(Policy.tenant).options(contains_eager(Policy.tenant))


def _named(name: str) -> ColumnElement[bool]:
    tenant, slash, short = name.rpartition("/")
    return and_(Policy.name == short, Tenant.name == tenant if slash else Policy.owner == CLUSTER)


def _given(number: int, document: Any) -> Given:
    try:
        return Given(number, read(document), document)
    except Refused as fault:
        field = ".".join(("documents", str(number), *map(str, fault.path)))
        what = _called(number, document)
        raise Invalid(f"{what}: {written(fault.path)}: {fault.problem}", fault.remedy, field) from None


def _called(number: int, document: Any) -> str:
    """A document that cannot be read, by what can be read of it."""
    found = document if isinstance(document, dict) else {}
    metadata = found.get("metadata")
    names = [metadata.get(key) for key in ("namespace", "name")] if isinstance(metadata, dict) else []
    name = "/".join(part for part in names if isinstance(part, str))
    kind = found.get("kind")
    return f"{kind} {name}" if isinstance(kind, str) and name and len(kind + name) < 400 else f"document {number + 1}"


def _refuse_doubles(given: Iterable[Given]) -> None:
    seen: dict[str, Given] = {}
    for one in given:
        other = seen.setdefault(one.draft.qualified_name, one)
        if other is not one:
            problem = f"{one.what} comes after {other.what}, document {other.number + 1}, in the same request"
            raise Invalid(problem, "give each policy a name of its own", one.field("metadata", "name"))


def _locked(tx: Transaction, given: Sequence[Given]) -> dict[str, Tenant | None]:
    """The tenants by name, the cluster under none; nobody else applies to them until the transaction ends."""
    found: dict[str, Tenant | None] = {}
    names = {one.draft.tenant for one in given}
    if "" in names:
        # Before any tenant, as everywhere.
        zones.take_turn(tx.session)
        found[""] = None
    query = select(Tenant).where(Tenant.name.in_(names)).order_by(Tenant.id)
    found |= {tenant.name: tenant for tenant in tx.session.execute(query.with_for_update(key_share=True)).scalars()}
    for one in given:
        if one.draft.tenant not in found:
            name = one.draft.tenant
            remedy = f"create it with `warren tenant create {name}`"
            raise NotFound(f"{one.what}: there is no tenant {name}", remedy, one.field("metadata", "namespace"))
    return found


class _There(NamedTuple):
    """What an owner has: the policies that a request names, and the ordinals that no policy of his has."""

    rows: dict[str, Policy]
    free: Iterator[int]


def _there(session: Session, given: Iterable[Given], tenants: Mapping[str, Tenant | None]) -> dict[str, _There]:
    found: dict[str, _There] = {}
    for name, tenant in tenants.items():
        own = Policy.owner == (tenant.id if tenant else CLUSTER)
        taken = set(session.execute(select(Policy.ordinal).where(own)).scalars())
        names = {one.draft.name for one in given if one.draft.tenant == name}
        rows = session.execute(_query().where(own, Policy.name.in_(names)).execution_options(populate_existing=True))
        found[name] = _There({row.name: row for row in rows.scalars()}, _free(taken))
    return found


def _free(taken: set[int]) -> Iterator[int]:
    return (ordinal for ordinal in range(1, LAST_ORDINAL + 1) if ordinal not in taken)


def _put(tx: Transaction, one: Given, tenant: Tenant | None, there: _There) -> Policy:
    draft = one.draft
    row = there.rows.get(draft.name)
    if row is None:
        if tenant is not None:
            quotas.take(tx.session, tenant.id, tenant.quota, {"policies": 1})
        ordinal = next(there.free, None)
        if ordinal is None:
            whose = f"tenant {tenant.name}" if tenant else "the cluster"
            raise Exhausted(f"{one.what}: {whose} has {LAST_ORDINAL} policies", "delete some, or say more in fewer")
        row = Policy(name=draft.name, kind=draft.kind, ordinal=ordinal, document=one.document, tenant=tenant)
        row.owner = tenant.id if tenant else CLUSTER
        tx.session.add(row)
        tx.session.flush()
        tx.record("policy", row.id, "create", tenant_id=row.tenant_id)
        return row
    if row.kind != draft.kind and not {row.kind, draft.kind} <= set(FIREWALLS):
        problem = f"{one.what}: policy {row.qualified_name} exists already, and is of kind {row.kind}"
        raise Conflict(problem, "choose another name, or delete it first", one.field("metadata", "name"))
    if assign(row, kind=draft.kind, document=one.document):
        tx.session.flush()
        tx.record("policy", row.id, "update", tenant_id=row.tenant_id)
    return row


def _refuse_second_firewall(session: Session, given: Iterable[Given], rows: Iterable[Policy]) -> None:
    """The order of rules is that within one document, so there is one for a tenant."""
    for one, row in zip(given, rows, strict=True):
        if one.draft.tier is not Tier.FIREWALL:
            continue
        beside = select(Policy).where(Policy.owner == row.owner, Policy.kind.in_(FIREWALLS), Policy.id != row.id)
        if other := session.execute(beside.limit(1)).scalar():
            problem = f"{one.what}: tenant {one.draft.tenant} has {other.kind} {other.name} for its egress already"
            remedy = "write all rules into that one, or delete it first"
            raise Conflict(problem, remedy, one.field("metadata", "name"))


def _refuse_crowded_priority(session: Session, given: Iterable[Given]) -> None:
    crowd: Counter[tuple[Tier, int, Direction]] = Counter()
    asked = [one for one in given if not one.draft.tenant]
    documents = select(Policy.document).where(Policy.owner == CLUSTER)
    for draft in map(read, session.execute(documents).scalars() if asked else ()):
        for direction in Direction:
            crowd[draft.tier, draft.priority, direction] += len(draft.rules(direction) or ())
    for one in asked:
        for direction in Direction:
            count = crowd[one.draft.tier, one.draft.priority, direction]
            if count > RULES_OF_A_PRIORITY and one.draft.rules(direction):
                rules = f"{count} {direction.name.lower()} rules of priority {one.draft.priority}"
                tier = one.draft.tier.name.capitalize()
                problem = f"{one.what}: tier {tier} would have {rules}, and at most {RULES_OF_A_PRIORITY} are possible"
                raise Conflict(problem, "use another priority", one.field("spec", "priority"))
