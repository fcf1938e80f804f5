"""Tenants: who owns networks."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from web.api.schemas.common import Contract, LabelChanges, Labels, Moment, Name, Page, Revision, Version, example


class TenantCreate(Contract):
    """A tenant to make. It gets a network called `default`."""

    model_config = ConfigDict(json_schema_extra=example({"name": "acme", "labels": {"team": "web"}}))

    name: Name
    labels: Labels = Field({})
    track_all: bool = Field(
        False, description="Send every connection through conntrack, not only what a policy or a service needs."
    )


class TenantChange(Contract):
    """What to change; fields that are left out stay."""

    model_config = ConfigDict(json_schema_extra=example({"labels": {"team": "shop", "old": None}}))

    labels: LabelChanges = Field({})
    track_all: bool | None = Field(None, description="As on create; null leaves it.")


class Tenant(Contract):
    """Who owns networks; the unit of isolation."""

    name: Name
    id: int = Field(description="16-bit number; the tenant's conntrack zone on every host.", examples=[7])
    zone: int = Field(description="Networks with one zone may talk freely; 0 is reachable from all.", examples=[7])
    labels: Labels
    track_all: bool
    networks: int = Field(description="How many networks it has.", examples=[2])
    endpoints: int = Field(description="How many endpoints it has.", examples=[12])
    version: Version
    revision: Revision
    created_at: Moment


class TenantPage(Page):
    items: list[Tenant]
