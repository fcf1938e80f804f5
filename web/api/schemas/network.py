"""Networks: one segment each, with a VNI and at most one subnet per address family."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from web.api.schemas.common import (
    AboutTenants,
    Cidr,
    Contract,
    Ip,
    LabelChanges,
    LabelledQuery,
    Labels,
    Moment,
    Name,
    Page,
    QualifiedName,
    Revision,
    Version,
    example,
    owner,
)

Mtu = Annotated[int, Field(ge=576, le=65535)]


class NetworkCreate(AboutTenants):
    """A network to make."""

    model_config = ConfigDict(json_schema_extra=example({"name": "acme/web", "subnets": ["10.20.0.0/24"]}))

    name: QualifiedName
    subnets: list[Cidr] | None = Field(
        None, max_length=2, description="At most one per address family; left out: one of each from the cluster's pool."
    )
    gateways: list[Ip] = Field(
        [], max_length=2, description="Addresses of the virtual router; left out: the first usable ones."
    )
    private: bool = Field(
        False, description="May overlap other tenants' subnets, and is reachable from its own zone only."
    )
    isolated: bool = Field(False, description="Has a zone of its own instead of its tenant's.")
    mtu: Mtu | None = Field(None, description="Null: what the underlay leaves.")
    labels: Labels = Field({})

    def tenants(self) -> Iterable[str]:
        return (owner(self.name),)


class NetworkChange(Contract):
    """What to change; fields that are left out stay."""

    model_config = ConfigDict(json_schema_extra=example({"labels": {"tier": "front"}}))

    labels: LabelChanges = Field({})
    mtu: Mtu | None = Field(None, description="Null leaves it.")
    isolated: bool | None = Field(
        None, description="True: a zone of its own; false: its tenant's; null or left out: as it is."
    )


class NetworkQuery(LabelledQuery):
    tenant: Name | SkipJsonSchema[None] = Field(None, description="Only this tenant's.")


class Subnet(Contract):
    """One address family of a network."""

    cidr: Cidr
    gateway: Ip
    size: int = Field(description="How many addresses endpoints can have.", examples=[253])
    carved: bool = Field(description="Whether it was cut from the cluster's pool.")
    used: int = Field(description="How many of them are taken.", examples=[3])


class Network(Contract):
    """One segment."""

    name: QualifiedName
    tenant: Name
    vni: int = Field(description="24-bit number on the wire.", examples=[4711])
    zone: int = Field(examples=[7])
    subnets: list[Subnet]
    private: bool
    isolated: bool
    mtu: int = Field(description="What endpoints are given.", examples=[1450])
    own_mtu: int | None = Field(description="What was asked for; null: `mtu` is what the underlay leaves.")
    labels: Labels
    endpoints: int = Field(description="How many endpoints it has.", examples=[3])
    version: Version
    revision: Revision
    created_at: Moment


class NetworkPage(Page):
    items: list[Network]
