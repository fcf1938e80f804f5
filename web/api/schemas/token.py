"""Tokens: how programs say who they are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from web.api.schemas.common import Contract, Moment, Name, Page, Revision, example


class TokenCreate(Contract):
    """A token for a program."""

    model_config = ConfigDict(json_schema_extra=example({"name": "ci", "role": "viewer"}))

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[ -~]+$", examples=["ci"])]
    role: Literal["admin", "viewer", "cni"] = "viewer"
    host: Name | None = Field(None, description="Bind it to one host; needed for role `cni`.")
    expires_at: Moment | None = Field(None, description="Left out: it does not expire.")


class Token(Contract):
    """A token; its secret is not kept."""

    id: int
    name: str
    role: Literal["admin", "viewer", "agent", "enrol", "cni"]
    host: Name | None
    created_at: Moment
    expires_at: Moment | None


class NewToken(Token):
    token: str | None = Field(description="Shown once; null when a retried request is answered again.")
    revision: Revision


class TokenPage(Page):
    items: list[Token]


class Whoami(Contract):
    """Who the API takes you for."""

    kind: Literal["user", "token"]
    name: str
    role: str
    host: Name | None = Field(description="The only host this token may speak for.")


class Health(Contract):
    status: Literal["ok"]
    revision: int
