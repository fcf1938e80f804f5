"""Tokens: how programs say who they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from db.tokens import SORTS
from web.api.schemas.common import (
    MOST_PER_PAGE,
    AboutTenants,
    Contract,
    Moment,
    Name,
    Page,
    Revision,
    TextQuery,
    example,
    sorting,
)

TenantRole = Literal["admin", "operator", "viewer"]


class TokenCreate(AboutTenants):
    """A token for a program."""

    model_config = ConfigDict(json_schema_extra=example({"name": "ci", "role": "viewer"}))

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[ -~]+$", examples=["ci"])]
    role: Literal["admin", "operator", "viewer", "cni"] = "viewer"
    tenant: Name | None = Field(None, description="Limit it to one tenant; needed for role `operator`.")
    host: Name | None = Field(None, description="Limit it to one host, for role `cni`.")
    expires_at: Moment | None = Field(None, description="Left out: it does not expire.")

    def tenants(self) -> Iterable[str]:
        return (self.tenant or "",)


class Token(Contract):
    """A token; its secret is not kept."""

    id: int
    name: str
    role: Literal["admin", "operator", "viewer", "agent", "enrol", "cni"]
    tenant: Name | None = Field(description="The only tenant it may act on; null: whatever its role allows.")
    user: Name | None = Field(description="Its owner; it can do no more than that user and is deleted with it.")
    host: Name | None
    created_at: Moment
    expires_at: Moment | None


class NewToken(Token):
    token: str | None = Field(description="Shown once; null when a retried request is answered again.")
    revision: Revision


class TokenQuery(TextQuery):
    limit: int = Field(MOST_PER_PAGE, ge=1, le=MOST_PER_PAGE, description="How many items at most.")
    sort: str | SkipJsonSchema[None] = sorting(SORTS, "created")
    role: Literal["admin", "operator", "viewer", "agent", "enrol", "cni"] | SkipJsonSchema[None] = Field(
        None, description="Only those of this role."
    )
    tenant: Name | SkipJsonSchema[None] = Field(None, description="Only those kept to this tenant.")
    host: Name | SkipJsonSchema[None] = Field(None, description="Only this host's.")


class TokenPage(Page):
    items: list[Token]


class Whoami(Contract):
    """Who the API takes you for."""

    kind: Literal["user", "token"]
    name: str
    role: str = Field(description="In the cluster; `member`: none but what `tenants` says.", examples=["admin"])
    tenants: dict[Name, TenantRole] = Field(description="Roles in tenants, by tenant.")
    host: Name | None = Field(description="The only host this token may speak for.")


class Health(Contract):
    status: Literal["ok"]
    revision: int
