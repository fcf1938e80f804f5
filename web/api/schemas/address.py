"""Addresses: pools, reservations, how full everything is, and differences to repair."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from db import networks, pools
from web.api.schemas.common import (
    MOST_PER_PAGE,
    Cidr,
    Contract,
    Ip,
    Moment,
    Name,
    Page,
    QualifiedName,
    Revision,
    TextQuery,
    Version,
    example,
    sorting,
)
from web.api.schemas.network import Plan

State = Annotated[
    Literal["enabled", "disabled", "draining"],
    Field(description="Disabled: no new subnets. Draining: no new addresses in its subnets either."),
]


class PoolCreate(Contract):
    """A range of which networks get subnets."""

    model_config = ConfigDict(json_schema_extra=example({"name": "second", "cidr": "10.132.0.0/14"}))

    name: Name
    cidr: Cidr
    prefix: Annotated[int, Field(ge=1, le=128)] | None = Field(
        None, description="Prefix length of its subnets; null: 24 or 64."
    )


class PoolChange(Contract):
    """What becomes of a pool. What was carved of it stays."""

    model_config = ConfigDict(json_schema_extra=example({"state": "draining"}))

    state: State


class PoolQuery(TextQuery):
    sort: str | SkipJsonSchema[None] = sorting(pools.SORTS)
    family: Literal["4", "6"] | SkipJsonSchema[None] = Field(None, description="Only those of this IP version.")
    state: State | SkipJsonSchema[None] = Field(None, description="Only those in this state.")


class Pool(Contract):
    """A range of which networks get subnets; pools of a family are used in the order in which they were made."""

    name: Name
    cidr: Cidr
    family: Literal[4, 6]
    prefix: int = Field(description="Prefix length of its subnets.", examples=[24])
    state: State
    size: int = Field(description="How many subnets it has.", examples=[1024])
    used: int = Field(description="The number of subnets that networks have.", examples=[3])
    nearly_full: bool
    version: Version
    revision: Revision
    created_at: Moment


class PoolPage(Page):
    items: list[Pool]


class ReservationCreate(Contract):
    """Addresses to keep for a name."""

    model_config = ConfigDict(json_schema_extra=example({"name": "db1", "addresses": ["10.20.0.50"]}))

    name: Name = Field(description="Name of the endpoint that gets them, or by which another asks for them.")
    addresses: list[Ip] = Field([], max_length=2, description="At most one per IP version; empty: the next free ones.")
    expires_at: Moment | None = Field(None, strict=False, description="Null: never.")


class Reservation(Contract):
    """Addresses that are kept for a name."""

    network: QualifiedName
    name: Name
    addresses: list[Ip]
    expires_at: Moment | None
    created_at: Moment


class Reserved(Reservation):
    revision: Revision


class Reservations(Page):
    """Those of one network, by name."""

    items: list[Reservation]


class BlockUsage(Contract):
    """A host's part of a subnet."""

    cidr: Cidr
    host: Name
    size: int = Field(examples=[64])
    used: int = Field(examples=[3])


class SubnetUsage(Contract):
    """How full a subnet is. `size` is how many addresses are chosen from when none is asked for."""

    cidr: Cidr
    gateway: Ip | None = Field(description="Null on a physical segment without an outside router.")
    size: int = Field(examples=[253])
    used: int = Field(description="Addresses that endpoints and reservations have.", examples=[3])
    resting: int = Field(description="Addresses that were freed a moment ago.", examples=[0])
    nearly_full: bool
    blocks: list[BlockUsage]


class NetworkUsage(Contract):
    """The addresses of a network."""

    network: QualifiedName
    plan: Plan
    subnets: list[SubnetUsage]
    reservations: list[Reservation]
    revision: Revision


class UsagePage(Page):
    items: list[NetworkUsage]


class ReservationQuery(TextQuery):
    limit: int = Field(MOST_PER_PAGE, ge=1, le=MOST_PER_PAGE, description="How many items at most.")
    sort: str | SkipJsonSchema[None] = sorting({})


class UsageQuery(TextQuery):
    sort: str | SkipJsonSchema[None] = sorting(networks.SORTS)
    tenant: Name | SkipJsonSchema[None] = Field(None, description="Only this tenant's.")


class Warnings(Contract):
    """What is nearly full, one sentence each."""

    warnings: list[str]


class Difference(Contract):
    """A difference between the database, Open vSwitch and containers."""

    kind: str = Field(examples=["container-gone"])
    subject: str = Field(examples=["acme/web1"])
    sentence: str
    repair: str = Field(description="What a collection does about it; empty: nothing.", examples=["free the address"])


class Differences(Contract):
    """All differences."""

    items: list[Difference]


class Collected(Differences):
    """What was found; those with a `repair` are repaired, unless it was a dry run."""

    revision: Revision
