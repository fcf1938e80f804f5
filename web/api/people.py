"""Users, groups and role bindings over HTTP."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response

from db import bindings, groups, users
from db.changes import Transaction
from db.errors import NotFound
from web import present
from web.api.cursors import LARGEST_ID
from web.api.replies import Answer, Json, changed, created, deleted, idempotent, listed, shown
from web.api.schemas.common import Deleted
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
@blueprint.output(User, 201)
@idempotent
def create_user(body: UserCreate) -> Answer | Response:
    """Create a user

    Who may do nothing yet: roles are given by role bindings.
    """
    return created(lambda tx: present.user(tx.session, users.create(tx, body.name, body.password)))


@blueprint.get("/users/<user>")
@allow(READERS)
@blueprint.output(User)
def get_user(user: str) -> Answer:
    """Show a user, and what it may do"""
    return shown(lambda session: present.user(session, users.get(session, user)))


@blueprint.put("/users/<user>/password")
@allow(CHANGERS)
@blueprint.input(NewPassword, arg_name="body")
@blueprint.output(User)
def set_password(user: str, body: NewPassword) -> Answer:
    """Give a user a new password

    Whoever is logged in as that user is logged out. Tokens stay.
    """

    return changed(lambda tx: with_password(tx, user, body))


def with_password(tx: Transaction, user: str, body: NewPassword) -> Json:
    row = users.get(tx.session, user)
    users.set_password(tx, row, body.password)
    return present.user(tx.session, row)


@blueprint.delete("/users/<user>")
@allow(CHANGERS)
@blueprint.output(Deleted)
def delete_user(user: str) -> Json:
    """Delete a user, with its sessions, tokens and role bindings"""
    return deleted(lambda tx: users.delete(tx, user))


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
@blueprint.output(Group, 201)
@idempotent
def create_group(body: GroupCreate) -> Answer | Response:
    """Create a group"""
    return created(lambda tx: present.group(groups.create(tx, body.name)))


@blueprint.get("/groups/<group>")
@allow(READERS)
@blueprint.output(Group)
def get_group(group: str) -> Answer:
    """Show a group and its members"""
    return shown(lambda session: present.group(groups.get(session, group)))


@blueprint.delete("/groups/<group>")
@allow(CHANGERS)
@blueprint.output(Deleted)
def delete_group(group: str) -> Json:
    """Delete a group, with its role bindings"""
    return deleted(lambda tx: groups.delete(tx, group))


@blueprint.put("/groups/<group>/members/<user>")
@allow(CHANGERS)
@blueprint.output(Group)
def add_member(group: str, user: str) -> Answer:
    """Put a user into a group"""
    return changed(lambda tx: present.group(groups.add(tx, group, user)))


@blueprint.delete("/groups/<group>/members/<user>")
@allow(CHANGERS)
@blueprint.output(Group)
def remove_member(group: str, user: str) -> Answer:
    """Take a user out of a group"""
    return changed(lambda tx: present.group(groups.remove(tx, group, user)))


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
@blueprint.output(Binding, 201)
@idempotent
def grant(body: BindingCreate) -> Answer | Response:
    """Give a user or a group a role"""
    return created(lambda tx: present.binding(bindings.grant(tx, **body.model_dump())))


@blueprint.delete("/role-bindings/<int:binding>")
@allow(TENANT_ADMINS, by=SIGHT)
@blueprint.output(Deleted)
def revoke(binding: int) -> Json:
    """Take a role away"""
    return deleted(lambda tx: revoked(tx, binding))


def revoked(tx: Transaction, binding: int) -> None:
    seen = sight()
    row = bindings.get(tx.session, min(binding, LARGEST_ID))
    if seen is not None and row.tenant_id not in seen.values():
        raise NotFound(f"there is no role binding {binding}", "list them with `warren role list`", "binding")
    bindings.revoke(tx, row)
