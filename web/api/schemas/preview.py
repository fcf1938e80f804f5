"""Previews: what a change would do, told instead of done."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from web.api.schemas.common import Contract, Name, Revision, example

Verdict = Literal["allowed", "denied"]


class ReachChange(Contract):
    """Networks that come to reach each other, or cease to."""

    model_config = ConfigDict(
        json_schema_extra=example(
            {
                "from": "acme/*",
                "to": "beta/*",
                "before": "denied",
                "after": "allowed",
                "reason": "acme and beta are joined",
            }
        )
    )

    source: str = Field(alias="from", description="A network, or `TENANT/*` for all networks of a tenant.")
    to: str = Field(description="The same.")
    before: Verdict
    after: Verdict
    reason: str = Field(description="Why it is so afterwards.")


class HostFlows(Contract):
    """A host whose flows change."""

    host: Name
    gained: int = Field(description="Flows that its bridge would get.", examples=[3])
    lost: int = Field(description="Flows that it would lose.", examples=[4])


class Preview(Contract):
    """What a change with `dry_run=true` would do. Nothing was changed."""

    dry_run: Literal[True]
    revision: Revision
    words: list[str] = Field(
        description="The changes as sentences.",
        examples=[["acme/* -> beta/*: denied -> allowed, acme and beta are joined"]],
    )
    changes: list[ReachChange]
    more: bool = Field(description="Whether there are more changes than are told here.")
    hosts: list[HostFlows] = Field(description="The hosts whose flows would change.")
