"""The audit log: who changed what."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from web.api.schemas.common import Contract, Moment, Name, Page, PageQuery

Noun = Literal[
    *("tenant", "network", "endpoint", "host", "policy", "peering", "cluster", "pool", "record", "publication", "dns"),
    *("user", "group", "binding", "token", "session"),
]
Image = dict[str, Any]


class AuditQuery(PageQuery):
    sort: Literal["created", "-created"] | SkipJsonSchema[None] = Field(
        None, description="`created`: the oldest first; `-created`, the default: the newest first."
    )
    tenant: Name | SkipJsonSchema[None] = Field(None, description="Only changes in this tenant.")
    actor: Annotated[str, Field(max_length=127)] | SkipJsonSchema[None] = Field(
        None, description="Only changes by this one, like `user ada` or `token ci`."
    )
    noun: Noun | SkipJsonSchema[None] = Field(None, description="Only changes of such objects.")
    since: Moment | SkipJsonSchema[None] = Field(None, description="Only from this moment on, with its time zone.")
    until: Moment | SkipJsonSchema[None] = Field(None, description="Only before this moment, with its time zone.")
    oldest_first: bool = Field(False, description="The same as `sort=created`.")


class Actor(Contract):
    kind: Literal["user", "token", "local", "anonymous"]
    name: str


class AuditEntry(Contract):
    """One object that was changed, or who came, left or was turned away.

    `hash` is the SHA-256 of all the other fields as canonical JSON (RFC 8785).
    """

    number: int
    at: str = Field(examples=["2026-11-27T06:32:46.120000+00:00"])
    actor: Actor
    address: str = Field(description="Where the request came from.", examples=["192.0.2.7"])
    request: str = Field(examples=["PATCH /api/v1/networks/acme/web"])
    revision: int
    noun: Noun
    op: Literal["create", "update", "delete", "login", "logout", "refuse"]
    name: str
    tenant: str | None
    before: Image | None = Field(description="What it was; of an update, the fields that changed.")
    after: Image | None = Field(description="What it became; of an update, the fields that changed.")
    previous: str = Field(description="`hash` of the previous entry.")
    hash: str


class AuditPage(Page):
    items: list[AuditEntry]


class AuditVerification(Contract):
    intact: bool
    entries: int = Field(description="How many follow each other as they were written.")
    hash: str = Field(description="Hash of the last of these. Keep it elsewhere: in a rewritten log it differs.")
    problem: str | None = Field(description="What is wrong; null: nothing.")
