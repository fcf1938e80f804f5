"""What DNS names stand for."""

from __future__ import annotations

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from web.api.schemas.common import Contract, Ip, Moment, Page, Revision, TextQuery, sorting
from web.api.schemas.policy import PolicyName


class ResolvedAddress(Contract):
    address: Ip
    until: Moment = Field(description="When the answer ends that told it. It counts a minute longer.")


class ResolvedName(Contract):
    """A name, and what endpoints were told that it stands for."""

    name: str = Field(description="In lower case, without a final dot.", examples=["www.example.org"])
    addresses: list[ResolvedAddress]
    policies: list[PolicyName] = Field(description="Whose rules mean it, by itself or as a name below another.")
    revision: Revision


class ResolvedNameQuery(TextQuery):
    sort: str | SkipJsonSchema[None] = sorting({})


class ResolvedNamePage(Page):
    items: list[ResolvedName]
