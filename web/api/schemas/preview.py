"""Previews: what a change would do, told instead of done."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from web.api.schemas.common import Contract, Name, Revision, example

Verdict = Literal["allowed", "denied"]


class ReachChange(Contract):
    """Networks that come to reach each other, or endpoints that may open connections; or cease to."""

    model_config = ConfigDict(
        json_schema_extra=example(
            {
                "from": "acme/*",
                "to": "beta/*",
                "service": None,
                "before": "denied",
                "after": "allowed",
                "reason": "acme and beta are joined",
            }
        )
    )

    source: str = Field(
        alias="from",
        description="A network, `TENANT/*` for all networks of a tenant; where policies change, or deny some of what "
        "isolation allows, also an endpoint, or `TENANT/NETWORK/*` for all of a network's.",
    )
    to: str = Field(description="The other end, likewise.")
    service: str | None = Field(
        description="What connections are opened to: `tcp/80`, `udp/1000-2000`, `icmp/8`, `everything`. Null between "
        "networks, where no policy makes a difference."
    )
    before: Verdict
    after: Verdict
    reason: str = Field(description="The reason afterwards.")


class GoneEndpoint(Contract):
    """An endpoint that would be there no more."""

    endpoint: str = Field(examples=["acme/web1"])
    reached_by: int = Field(
        description="How many other endpoints may open some connection to it now, those that go with it too; of "
        "tenants whose endpoints the asker may see.",
        examples=[5],
    )
    at_most: bool = Field(
        description="Whether there may be fewer: so many does isolation let through, but not all policies were asked."
    )
    words: str = Field(description="The same in words.", examples=["5 endpoints reach it now"])


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
        examples=[
            [
                "acme/* -> beta/*: denied -> allowed, acme and beta are joined",
                "acme/web1 -> acme/db1 tcp/80: allowed -> denied by policy acme/db-lockdown: no ingress rule allows it",
            ]
        ],
    )
    gone: list[GoneEndpoint] = Field(description="The first 20 of the endpoints that would go, by name.")
    gone_more: int = Field(description="How many more would go.", examples=[0])
    changes: list[ReachChange]
    beyond: list[str] = Field(
        description="What may change for hosts and the outside, and which published ports close or open with it; "
        "`words` has it, too.",
        examples=[["TCP port 8080 of h1 leads nowhere any more, as acme/web1 goes"]],
    )
    more: bool = Field(
        description="Whether there may be more changes than are told here: more than 1,000, or where policies make a "
        "difference between so many endpoints that not all were looked at."
    )
    hosts: list[HostFlows] = Field(description="The hosts whose flows would change.")
