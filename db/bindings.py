"""Role bindings: who may do what, in one tenant or in the whole cluster. Decides what follows of all that one has.

Of two roles the stronger counts. A role in the cluster is one in every tenant, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, bindparam, select
from sqlalchemy.orm import Session, joinedload

from db.changes import Transaction
from db.errors import Conflict, Invalid, NotFound
from db.pages import Page, Sort, number, page
from db.tables import Group, GroupMember, RoleBinding, Tenant, User

VIEWER, OPERATOR, ADMIN = "viewer", "operator", "admin"
RANKS = {VIEWER: 1, OPERATOR: 2, ADMIN: 3}
"""The ranks of roles in a tenant; in the cluster there are only `viewer` and `admin`."""


class InTenant(NamedTuple):
    id: int
    role: str


class Grants(NamedTuple):
    """What somebody may do: a role in the cluster, if any, and those in tenants by their names."""

    cluster: str | None
    tenants: Mapping[str, InTenant]

    def role_in(self, tenant: str) -> str | None:
        own = self.tenants.get(tenant)
        return stronger(self.cluster, own.role if own else None)


NOTHING = Grants(None, {})


class Owner(NamedTuple):
    """The tenant that a token is kept to."""

    id: int
    name: str


_binding, _member = RoleBinding.__table__.c, GroupMember.__table__.c
_tenant = Tenant.__table__.alias("bound")
BINDINGS, TENANTS, IN_TENANT = RoleBinding.__table__, _tenant, _tenant.c.id == _binding.tenant_id
GRANTS = BINDINGS.outerjoin(TENANTS, IN_TENANT)
GRANTED = (_binding.role.label("bound_role"), _tenant.c.id.label("bound_id"), _tenant.c.name.label("bound_to"))


def of_user(user_id: ColumnElement[int]) -> ColumnElement[bool]:
    """The condition that one of `GRANTS` is a user's, directly or through a group."""
    groups = select(_member.group_id).where(_member.user_id == user_id).correlate_except(GroupMember)
    # Two look-ups in an index each. "One or the other" would be a look at every binding there is, in each request.
    own, theirs = (table.alias().c for table in (RoleBinding.__table__, RoleBinding.__table__))
    its = select(own.id).where(own.user_id == user_id).correlate_except(own.id.table)
    return _binding.id.in_(
        its.union_all(select(theirs.id).where(theirs.group_id.in_(groups)).correlate_except(theirs.id.table))
    )


_OF_USER = select(*GRANTED).select_from(GRANTS).where(of_user(bindparam("user_id")))


def stronger(one: str | None, other: str | None) -> str | None:
    return max(one, other, key=lambda role: RANKS.get(role or "", 0))


def weaker(one: str | None, other: str | None) -> str | None:
    return min(one, other, key=lambda role: RANKS.get(role or "", 0))


def grants_of(session: Session, user_id: int) -> Grants:
    """What a user may do, directly and through groups."""
    return gathered(session.execute(_OF_USER, {"user_id": user_id}))


def gathered(granted: Iterable[Any]) -> Grants:
    """What rows of `GRANTED`, with the columns of `GRANTS`, allow together."""
    cluster: str | None = None
    tenants: dict[str, InTenant] = {}
    for role, id, tenant in granted:
        if tenant is None:
            cluster = stronger(cluster, role)
        else:
            before = tenants.get(tenant)
            tenants[tenant] = InTenant(id, stronger(role, before.role if before else None) or role)
    return Grants(cluster, tenants)


def capped(grants: Grants, role: str, tenant: Owner | None) -> Grants:
    """What is left of `grants` for a token of that role, in one tenant or in all."""
    if tenant is None:
        tenants = {name: InTenant(own.id, weaker(own.role, role) or role) for name, own in grants.tenants.items()}
        return Grants(weaker(grants.cluster, role), tenants)
    left = weaker(grants.role_in(tenant.name), role)
    return Grants(None, {tenant.name: InTenant(tenant.id, left)} if left else {})


def scope(role: str, tenant: Owner | None) -> Grants:
    """What a token of that role may do if it belongs to no user."""
    return Grants(role, {}) if tenant is None else Grants(None, {tenant.name: InTenant(tenant.id, role)})


def grant(
    tx: Transaction, role: str, *, user: str | None = None, group: str | None = None, tenant: str | None = None
) -> RoleBinding:
    """Gives a user or a group a role, in place of the one it has there."""
    session = tx.session
    known = tuple(RANKS) if tenant is not None else (VIEWER, ADMIN)
    if role not in known:
        where = "a tenant" if tenant is not None else "the cluster"
        raise Invalid(f"there is no role {role!r} in {where}", f"use {' or '.join(known)}", "role")
    if (user is None) == (group is None):
        raise Invalid("a role is given to a user or to a group", "name one of them", "user")
    row = _there(session, user, group, tenant)
    if row is None:
        # Who gives the same at the same moment comes before or after: of roles in the cluster two would be kept.
        subject = (User, user, "user") if user is not None else (Group, group, "group")
        whom = _named(session, *subject, lock=True)
        row = _there(session, user, group, tenant)
    if row is None:
        row = RoleBinding(role=role, created_at=tx.now)
        row.user, row.group = (whom, None) if user is not None else (None, whom)
        row.tenant = _named(session, Tenant, tenant, "tenant") if tenant is not None else None
        session.add(row)
        session.flush()
        tx.note("binding", row.id, "create")
    elif row.role != role:
        with keeping_an_admin(tx):
            row.role = role
        tx.note("binding", row.id, "update")
    return row


def get(session: Session, id: int) -> RoleBinding:
    row = session.execute(_query().where(RoleBinding.id == id)).scalar_one_or_none()
    if row is None:
        raise NotFound(f"there is no role binding {id}", "list them with `warren role list`", "binding")
    return row


SORTS = {"role": Sort(RoleBinding.role, lambda row: row.role)}


def find(
    session: Session,
    *,
    user: str | None = None,
    group: str | None = None,
    tenant: str | None = None,
    role: str | None = None,
    sort: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> Page[RoleBinding]:
    """The role bindings, in the order in which they were made. `sort` is by "created" or "role"."""
    query = _query()
    asked = ((user, User.name), (group, Group.name), (tenant, Tenant.name), (role, RoleBinding.role))
    query = query.where(*(column == value for value, column in asked if value is not None))
    order = (RoleBinding.id,)
    return page(session, query, order, lambda row: str(row.id), cursor, limit, sort, SORTS, own="created", read=number)


def revoke(tx: Transaction, row: RoleBinding) -> None:
    tx.note("binding", row.id, "delete")
    with keeping_an_admin(tx):
        tx.session.delete(row)


def admins(session: Session) -> set[int]:
    """The users who administer the cluster, by themselves or as members of groups."""
    cluster = RoleBinding.tenant_id.is_(None), RoleBinding.role == ADMIN
    direct = select(RoleBinding.user_id).where(*cluster, RoleBinding.user_id.is_not(None))
    through = (
        select(GroupMember.user_id).join(RoleBinding, RoleBinding.group_id == GroupMember.group_id).where(*cluster)
    )
    return set(session.execute(direct.union(through)).scalars())


@contextmanager
def keeping_an_admin(tx: Transaction) -> Iterator[None]:
    """Refuses a change after which nobody would administer the cluster any more."""
    # Of two who would each leave the other one, the second looks when the first is done.
    turn = select(RoleBinding.id).where(RoleBinding.tenant_id.is_(None), RoleBinding.role == ADMIN)
    tx.session.execute(turn.order_by(RoleBinding.id).with_for_update())
    before = admins(tx.session)
    yield
    tx.session.flush()
    if before and not admins(tx.session):
        raise Conflict("the cluster would be left without an admin", "make another user an admin first")


def _query():  # type: ignore[no-untyped-def]
    joined = select(RoleBinding).outerjoin(RoleBinding.user).outerjoin(RoleBinding.group)
    return joined.outerjoin(RoleBinding.tenant).options(
        joinedload(RoleBinding.user), joinedload(RoleBinding.group), joinedload(RoleBinding.tenant)
    )


def _there(session: Session, user: str | None, group: str | None, tenant: str | None) -> RoleBinding | None:
    found: RoleBinding | None = (
        session.execute(
            _query().where(
                User.name == user if user is not None else RoleBinding.user_id.is_(None),
                Group.name == group if group is not None else RoleBinding.group_id.is_(None),
                Tenant.name == tenant if tenant is not None else RoleBinding.tenant_id.is_(None),
            )
        )
        .unique()
        .scalar_one_or_none()
    )
    return found


def _named(session: Session, table, name: str, noun: str, lock: bool = False):  # type: ignore[no-untyped-def]
    query = select(table).where(table.name == name)
    row = session.execute(query.with_for_update() if lock else query).scalar_one_or_none()
    if row is None:
        raise NotFound(f"there is no {noun} {name}", f"create it with `warren {noun} create {name}`", noun)
    return row
