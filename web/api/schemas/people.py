"""Users, groups, and what they may do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from db import bindings, groups, users
from web.api.schemas.common import (
    AboutTenants,
    Contract,
    Moment,
    Name,
    Page,
    PageQuery,
    Revision,
    TextQuery,
    example,
    sorting,
)

Password = Annotated[str, Field(min_length=8, max_length=1024, examples=["correct horse battery"])]
RoleName = Annotated[
    Literal["admin", "operator", "viewer"],
    Field(description="In a tenant; in the cluster there are `admin` and `viewer`.", examples=["operator"]),
]


class UserCreate(Contract):
    """A person to make."""

    model_config = ConfigDict(json_schema_extra=example({"name": "ada", "password": "correct horse battery"}))

    name: Name
    password: Password | None = Field(None, description="Left out: nobody logs in with a password.")


class User(Contract):
    """A person."""

    name: Name
    has_password: bool
    role: Literal["admin", "viewer"] | None = Field(
        description="The role in the cluster, given directly or through a group."
    )
    tenants: dict[Name, RoleName] = Field(description="Roles in tenants, by tenant.")
    created_at: Moment
    revision: Revision


class UserPage(Page):
    items: list[User]


class NewPassword(Contract):
    model_config = ConfigDict(json_schema_extra=example({"password": "correct horse battery"}))

    password: Password


class GroupCreate(Contract):
    """A group to make."""

    model_config = ConfigDict(json_schema_extra=example({"name": "shop-team"}))

    name: Name


class Group(Contract):
    """People who may do the same."""

    name: Name
    members: list[Name]
    created_at: Moment
    revision: Revision


class GroupPage(Page):
    items: list[Group]


class BindingCreate(AboutTenants):
    """A role to give, in place of the one that the user or group has there."""

    model_config = ConfigDict(json_schema_extra=example({"role": "operator", "user": "ada", "tenant": "acme"}))

    role: RoleName
    user: Name | None = Field(None, description="Either this or `group`.")
    group: Name | None = Field(None)
    tenant: Name | None = Field(None, description="Null: in the whole cluster.")

    def tenants(self) -> Iterable[str]:
        return (self.tenant or "",)


class Binding(Contract):
    """Who may do what where."""

    id: int
    role: RoleName
    user: Name | None
    group: Name | None
    tenant: Name | None = Field(description="Null: in the whole cluster.")
    created_at: Moment
    revision: Revision


class UserQuery(TextQuery):
    sort: str | SkipJsonSchema[None] = sorting(users.SORTS)


class GroupQuery(TextQuery):
    sort: str | SkipJsonSchema[None] = sorting(groups.SORTS)


class BindingQuery(PageQuery):
    sort: str | SkipJsonSchema[None] = sorting(bindings.SORTS, "created")
    role: Literal["admin", "operator", "viewer"] | SkipJsonSchema[None] = Field(
        None, description="Only those that give this role."
    )
    user: Name | SkipJsonSchema[None] = Field(None, description="Only this user's.")
    group: Name | SkipJsonSchema[None] = Field(None, description="Only this group's.")
    tenant: Name | SkipJsonSchema[None] = Field(None, description="Only those in this tenant.")


class BindingPage(Page):
    items: list[Binding]
