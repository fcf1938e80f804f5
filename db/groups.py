"""Groups: users who may do the same."""

from __future__ import annotations

from sqlalchemy import delete as sql_delete
from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from db import bindings, users
from db.changes import Transaction
from db.errors import Conflict, NotFound
from db.names import dns_label
from db.pages import Page, Sort, containing, created, moment, page
from db.tables import Group


def create(tx: Transaction, name: str) -> Group:
    dns_label(name, "group")
    if tx.session.execute(select(Group.id).where(Group.name == name)).scalar() is not None:
        raise Conflict(f"group {name} exists already", "choose another name", "name")
    group = Group(name=name, members=[])
    tx.session.add(group)
    tx.session.flush()
    tx.note("group", group.id, "create")
    return group


def get(session: Session, name: str) -> Group:
    query = select(Group).where(Group.name == name).options(selectinload(Group.members))
    group = session.execute(query).scalar_one_or_none()
    if group is None:
        raise NotFound(f"there is no group {name}", f"create it with `warren group create {name}`", "group")
    return group


SORTS = {"created": Sort(Group.created_at, created, moment)}


def find(
    session: Session,
    *,
    text: str | None = None,
    sort: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> Page[Group]:
    """`text` is part of the name. `sort` is by "name" or "created"."""
    query = select(Group).options(selectinload(Group.members)).where(*containing(text, Group.name))
    return page(session, query, (Group.name,), lambda group: group.name, cursor, limit, sort, SORTS)


def add(tx: Transaction, name: str, user_name: str) -> Group:
    """Done already is done."""
    group, user = get(tx.session, name), users.get(tx.session, user_name)
    if user not in group.members:
        group.members = sorted([*group.members, user], key=lambda member: member.name)
        tx.note("group", group.id, "update")
    return group


def remove(tx: Transaction, name: str, user_name: str) -> Group:
    group, user = get(tx.session, name), users.get(tx.session, user_name)
    if user not in group.members:
        raise NotFound(f"user {user_name} is not in group {name}", f"`warren group show {name}` tells who is", "user")
    with bindings.keeping_an_admin(tx):
        group.members.remove(user)
    tx.note("group", group.id, "update")
    return group


def delete(tx: Transaction, name: str) -> None:
    """With the group go its role bindings."""
    group = get(tx.session, name)
    tx.note("group", group.id, "delete")
    with bindings.keeping_an_admin(tx):
        tx.session.execute(sql_delete(Group).where(Group.id == group.id))
