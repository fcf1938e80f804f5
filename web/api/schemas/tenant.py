"""Tenants: who owns networks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from db.tenants import SORTS
from web.api.schemas.common import (
    Contract,
    LabelChanges,
    LabelledQuery,
    Labels,
    Moment,
    Name,
    Page,
    Revision,
    Version,
    example,
    sorting,
)

Directions = Annotated[
    list[Literal["ingress", "egress"]],
    Field(
        max_length=2,
        description="Directions in which an endpoint that no policy of the tenant selects is denied everything, too.",
        examples=[["ingress"]],
    ),
]


Bounded = Literal["networks", "endpoints", "addresses", "policies", "bandwidth"]
Most = Annotated[int, Field(ge=0, le=2**53)]
Quotas = Annotated[
    dict[Bounded, Most],
    Field(
        description="How many of what it may have at most; of `bandwidth` what each endpoint may send, and receive, in "
        "bits a second.",
        examples=[{"endpoints": 500, "bandwidth": 100_000_000}],
    ),
]
QuotaChanges = Annotated[
    dict[Bounded, Most | None],
    Field(description="Limits to set; null lifts one. Those not named stay.", examples=[{"endpoints": 500}]),
]


class TenantQuery(LabelledQuery):
    sort: str | SkipJsonSchema[None] = sorting(SORTS)


class TenantCreate(Contract):
    """A tenant to make. It gets a network called `default`, unless it shall have none."""

    model_config = ConfigDict(json_schema_extra=example({"name": "acme", "labels": {"team": "web"}}))

    name: Name
    labels: Labels = Field({})
    track_all: bool = Field(
        False, description="Send every connection through conntrack, not only what a policy or a service needs."
    )
    default_deny: Directions = Field([])
    quota: Quotas = Field({})
    default_network: bool = Field(True, description="False: it has no network to begin with.")


class TenantChange(Contract):
    """What to change; fields that are left out stay."""

    model_config = ConfigDict(json_schema_extra=example({"labels": {"team": "shop", "old": None}}))

    labels: LabelChanges = Field({})
    track_all: bool | None = Field(None, description="As on create; null leaves it.")
    default_deny: Directions | None = Field(None, description="As on create; null leaves it.")
    quota: QuotaChanges = Field({})


class ListedTenant(Contract):
    """An owner of networks; the unit of isolation."""

    name: Name
    id: int = Field(description="15-bit number; the tenant's conntrack zone on every host.", examples=[7])
    zone: int = Field(description="Networks with one zone may talk freely; 0 is reachable from all.", examples=[7])
    isolation: Literal["own", "joined", "global"] = Field(
        description="`own`: alone in its zone; `joined`: shares it; `global`: reaches all and is reached by all."
    )
    labels: Labels = Field(description="Always with `kubernetes.io/metadata.name`, the tenant's name.")
    track_all: bool
    default_deny: Directions
    quota: Quotas
    networks: int = Field(description="How many networks it has.", examples=[2])
    endpoints: int = Field(description="How many endpoints it has.", examples=[12])
    version: Version
    revision: Revision
    created_at: Moment


class Tenant(ListedTenant):
    """A tenant, and those it stands with."""

    joined: list[Name] = Field(
        description="Tenants in the same zone, of those that you may see; none for a global one.", examples=[["beta"]]
    )
    peers: list[Name] = Field(
        description="Tenants that it peers with, of those that you may see.", examples=[["gamma"]]
    )


class TenantPage(Page):
    items: list[ListedTenant]
