"""Users, groups and role bindings over HTTP."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response
from sqlalchemy.orm import Session

from db import bindings, groups, users
from db.changes import Transaction
from db.errors import NotFound
from db.tables import RoleBinding
from web import present
from web.api.applied import added, applied, previewable, removed
from web.api.cursors import LARGEST_ID
from web.api.replies import Answer, Json, idempotent, listed, shown
from web.api.schemas.isolation import ChangeQuery, Gone, after
from web.api.schemas.people import (
    Binding,
    BindingCreate,
    BindingPage,
    BindingQuery,
    Group,
    GroupCreate,
    GroupPage,
    GroupQuery,
    NewPassword,
    User,
    UserCreate,
    UserPage,
    UserQuery,
)
from web.auth.access import BODY, CHANGERS, READERS, SIGHT, TENANT_ADMINS, allow, sight

blueprint = APIBlueprint("people", __name__, tag="Access")


@blueprint.get("/users")
@allow(READERS)
@blueprint.input(UserQuery, "query", "query")
@blueprint.output(UserPage)
def find_users(query: UserQuery) -> Json:
    """List users"""
    return listed(lambda session: users.find(session, **query.model_dump()), present.users)


@blueprint.post("/users")
@allow(CHANGERS)
@blueprint.input(UserCreate, arg_name="body")
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(after(User), 201)
@idempotent
@previewable
def create_user(body: UserCreate, query: ChangeQuery) -> Answer | Response:
    """Create a user

    The user may do nothing yet: roles are given by role bindings.
    """
    return added(lambda tx: present.user(tx.session, users.create(tx, body.name, body.password)), query, beside=False)


@blueprint.get("/users/<user>")
@allow(READERS)
@blueprint.output(User)
def get_user(user: str) -> Answer:
    """Show a user, and what it may do"""
    return shown(lambda session: present.user(session, users.get(session, user)))


@blueprint.put("/users/<user>/password")
@allow(CHANGERS)
@blueprint.input(NewPassword, arg_name="body")
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(after(User))
@previewable
def set_password(user: str, body: NewPassword, query: ChangeQuery) -> Answer | Response:
    """Give a user a new password

    Whoever is logged in as that user is logged out. Tokens stay.
    """
    return applied(lambda tx: with_password(tx, user, body), query, beside=False)


def with_password(tx: Transaction, user: str, body: NewPassword) -> Json:
    row = users.get(tx.session, user)
    users.set_password(tx, row, body.password)
    return present.user(tx.session, row)


@blueprint.delete("/users/<user>")
@allow(CHANGERS)
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(Gone)
@previewable
def delete_user(user: str, query: ChangeQuery) -> Answer | Response:
    """Delete a user, with its sessions, tokens and role bindings"""
    return removed(lambda tx: users.delete(tx, user), query)


@blueprint.get("/groups")
@allow(READERS)
@blueprint.input(GroupQuery, "query", "query")
@blueprint.output(GroupPage)
def find_groups(query: GroupQuery) -> Json:
    """List groups"""
    return listed(lambda session: groups.find(session, **query.model_dump()), present.groups)


@blueprint.post("/groups")
@allow(CHANGERS)
@blueprint.input(GroupCreate, arg_name="body")
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(after(Group), 201)
@idempotent
@previewable
def create_group(body: GroupCreate, query: ChangeQuery) -> Answer | Response:
    """Create a group"""
    return added(lambda tx: present.group(groups.create(tx, body.name)), query, beside=False)


@blueprint.get("/groups/<group>")
@allow(READERS)
@blueprint.output(Group)
def get_group(group: str) -> Answer:
    """Show a group and its members"""
    return shown(lambda session: present.group(groups.get(session, group)))


@blueprint.delete("/groups/<group>")
@allow(CHANGERS)
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(Gone)
@previewable
def delete_group(group: str, query: ChangeQuery) -> Answer | Response:
    """Delete a group, with its role bindings"""
    return removed(lambda tx: groups.delete(tx, group), query)


@blueprint.put("/groups/<group>/members/<user>")
@allow(CHANGERS)
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(after(Group))
@previewable
def add_member(group: str, user: str, query: ChangeQuery) -> Answer | Response:
    """Put a user into a group"""
    return applied(lambda tx: present.group(groups.add(tx, group, user)), query, beside=False)


@blueprint.delete("/groups/<group>/members/<user>")
@allow(CHANGERS)
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(after(Group))
@previewable
def remove_member(group: str, user: str, query: ChangeQuery) -> Answer | Response:
    """Take a user out of a group"""
    return applied(lambda tx: present.group(groups.remove(tx, group, user)), query, beside=False)


@blueprint.get("/role-bindings")
@allow(TENANT_ADMINS | READERS, by=SIGHT)
@blueprint.input(BindingQuery, "query", "query")
@blueprint.output(BindingPage)
def find_bindings(query: BindingQuery) -> Json:
    """List who may do what"""
    return listed(lambda session: bindings.find(session, **query.model_dump()), present.bindings)


@blueprint.post("/role-bindings")
@allow(TENANT_ADMINS, by=BODY)
@blueprint.input(BindingCreate, arg_name="body")
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(after(Binding), 201)
@idempotent
@previewable
def grant(body: BindingCreate, query: ChangeQuery) -> Answer | Response:
    """Give a user or a group a role"""
    return added(lambda tx: present.binding(bindings.grant(tx, **body.model_dump())), query, beside=False)


@blueprint.delete("/role-bindings/<int:binding>")
@allow(TENANT_ADMINS, by=SIGHT)
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(Gone)
@previewable
def revoke(binding: int, query: ChangeQuery) -> Answer | Response:
    """Take a role away"""
    return removed(lambda tx: revoked(tx, binding), query)


def revoked(tx: Transaction, binding: int) -> None:
    bindings.revoke(tx, get_binding(tx.session, binding))


def get_binding(session: Session, binding: int) -> RoleBinding:
    """One that the asker may take away."""
    seen = sight()
    row = bindings.get(session, min(binding, LARGEST_ID))
    if seen is not None and row.tenant_id not in seen.values():
        raise NotFound(f"there is no role binding {binding}", "list them with `warren role list`", "binding")
    return row
