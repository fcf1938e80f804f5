"""Networks: one segment each, with a VNI and the subnets of its addresses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from controller.transport import TRANSPORTS
from db.networks import SORTS
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
    sorting,
)

Mtu = Annotated[int, Field(ge=576, le=65535)]
Transport = Annotated[str, WithJsonSchema({"type": "string", "enum": list(TRANSPORTS), "examples": ["vxlan"]})]

Segment = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?$", examples=["lan"])]
Tag = Annotated[int, WithJsonSchema({"type": "integer", "minimum": 0, "maximum": 4094, "examples": [50]})]


Excluded = Annotated[str, Field(max_length=90)]
BlockSize = Annotated[int, Field(ge=1, le=128)]
Plan = Annotated[
    Literal["shared", "per-host"],
    Field(description="Hosts share the addresses of each subnet, or each has blocks of them."),
]


class SubnetLayout(Contract):
    """How addresses are given out; each address and range belongs to the subnet that contains it."""

    gateways: list[Ip] = Field(
        [],
        max_length=16,
        description="Addresses of the virtual router; left out: the first usable ones. On a physical segment those of "
        "outside routers; left out: none.",
    )
    ip_ranges: list[Cidr] = Field(
        [], max_length=16, description="Range in which addresses are chosen if none is asked for; left out: the subnet."
    )
    excludes: list[Excluded] = Field(
        [], max_length=256, description="Addresses, CIDRs and ranges FIRST-LAST that nobody gets.", examples=[[]]
    )
    aux_addresses: dict[Name, Ip] = Field(
        {}, max_length=64, description="Addresses that others use, by name; no endpoint gets them.", examples=[{}]
    )
    block_sizes: list[BlockSize] = Field(
        [], max_length=2, description="Prefix lengths of hosts' blocks, one per IP version; left out: 26 and 122."
    )


class SubnetCreate(SubnetLayout):
    """One more subnet of a network."""

    model_config = ConfigDict(json_schema_extra=example({"subnet": "10.21.0.0/24"}))

    subnet: Cidr | None = Field(None, description="Left out: one of the cluster's pools, of `family`.")
    family: Literal[4, 6] = Field(4, description="Which family, when no subnet is chosen.")


class NetworkCreate(SubnetLayout, AboutTenants):
    """A network to make."""

    model_config = ConfigDict(json_schema_extra=example({"name": "acme/web", "subnets": ["10.20.0.0/24"]}))

    name: QualifiedName
    subnets: list[Cidr] | None = Field(
        None, max_length=16, description="IPv4, IPv6 or both; left out: one of each from the cluster's pools."
    )
    plan: Plan = "shared"
    strict: bool = Field(False, description="A host never takes an address of another's block.")
    private: bool = Field(False, description="May overlap other tenants' subnets; only its own zone reaches it.")
    isolated: bool = Field(False, description="Has a zone of its own instead of its tenant's.")
    broadcast: bool = Field(False, description="Broadcast and multicast reach all of its endpoints.")
    outbound: bool = Field(True, description="Its endpoints reach the outside, with their host's address.")
    mtu: Mtu | None = Field(None, description="Null: what the underlay leaves.")
    transport: Transport = Field("vxlan", description="What carries its packets from host to host.")
    physical: Segment | None = Field(
        None, description="For vlan: the physical segment that it sits on, by administrators only."
    )
    vlan: Tag | None = Field(None, description="For vlan: its tag there; 0 or null: frames without one.")
    cross_subnet: bool = Field(False, description="With host-gw: a tunnel to hosts on other segments.")
    labels: Labels = Field({})
    of_pools: bool = Field(False, description="`subnets` may be some that pools give out; they count there.")

    def tenants(self) -> Iterable[str]:
        return (owner(self.name),)


class NetworkChange(Contract):
    """What to change; fields that are left out stay."""

    model_config = ConfigDict(json_schema_extra=example({"labels": {"tier": "front"}}))

    labels: LabelChanges = Field({})
    mtu: Mtu | None = Field(None, description="Null leaves it.")
    transport: Transport | None = Field(None, description="Moves it to another while it is used; null leaves it.")
    physical: Segment | None = Field(None, description="For vlan: another physical segment; null leaves it.")
    vlan: Tag | None = Field(None, description="For vlan: another tag, 0 for none; null leaves it.")
    cross_subnet: bool | None = Field(None, description="Null: as it is, and false when the transport changes.")
    isolated: bool | None = Field(
        None, description="True: a zone of its own; false: its tenant's; null or left out: as it is."
    )
    broadcast: bool | None = Field(
        None, description="Whether broadcast and multicast reach all of its endpoints; null or left out: as it is."
    )
    outbound: bool | None = Field(
        None, description="Whether its endpoints reach the outside; null or left out: as it is."
    )
    ip_ranges: list[Cidr] | None = Field(
        None,
        max_length=16,
        description="Ranges in which addresses are chosen from now on; empty: everywhere; null: no change.",
        examples=[["10.20.0.128/25"]],
    )
    excludes: list[Excluded] | None = Field(
        None,
        max_length=256,
        description="Addresses that no endpoint gets from now on, none of them in use; null: no change.",
        examples=[["10.20.0.8/31"]],
    )
    strict: bool | None = Field(
        None, description="Refused while a host has an address of another's block; null or left out: as it is."
    )


class EngineNetwork(Contract):
    """What a host's container engine says of a network. What is left out may be anything."""

    model_config = ConfigDict(json_schema_extra=example({"subnets": ["10.20.0.0/24"]}))

    subnets: list[Cidr] | None = Field(None, max_length=2)
    gateways: list[Ip] = Field([], max_length=2)
    ip_ranges: list[Cidr] = Field(
        [], max_length=2, description="Range in which addresses are chosen if none is asked for."
    )
    aux_addresses: dict[Name, Ip] = Field(
        {}, max_length=64, description="Addresses that others use, by name; no endpoint gets them.", examples=[{}]
    )
    isolated: bool = Field(False, description="Has a zone of its own instead of its tenant's, and does not go out.")
    mtu: Mtu | None = None
    transport: Transport | None = Field(None, description="A new network's is vxlan if none is said.")
    physical: Segment | None = Field(None, description="For vlan: the physical segment that it sits on.")
    vlan: Tag | None = Field(None, description="For vlan: its tag there; 0 or null: frames without one.")


class NetworkQuery(LabelledQuery):
    sort: str | SkipJsonSchema[None] = sorting(SORTS)
    tenant: Name | SkipJsonSchema[None] = Field(None, description="Only this tenant's.")


class Subnet(Contract):
    """A range of addresses of a network."""

    cidr: Cidr
    gateway: Ip | None = Field(description="Null on a physical segment without an outside router.")
    ip_range: Cidr | None = Field(
        description="Range in which addresses are chosen if none is asked for; null: everywhere."
    )
    excludes: list[str] = Field(description="Addresses that no endpoint gets.", examples=[["10.20.0.8/31"]])
    aux_addresses: dict[Name, Ip] = Field(examples=[{"router": "10.20.0.254"}])
    block_size: int | None = Field(
        description="Prefix length of hosts' blocks; null: hosts share the subnet.", examples=[26]
    )
    pool: Name | None = Field(description="The pool it is of; null: somebody chose it.")
    size: int = Field(description="How many addresses endpoints can have.", examples=[253])
    used: int = Field(description="The number of them in use.", examples=[3])


class Network(Contract):
    """One segment."""

    name: QualifiedName
    tenant: Name
    vni: int = Field(description="24-bit number on the wire.", examples=[4711])
    zone: int = Field(examples=[7])
    subnets: list[Subnet]
    plan: Plan
    strict: bool
    private: bool
    isolated: bool
    broadcast: bool
    outbound: bool
    mtu: int = Field(description="What endpoints are given.", examples=[1450])
    own_mtu: int | None = Field(description="What was asked for; null: `mtu` is what the transport leaves.")
    transport: Transport
    physical: Segment | None = Field(description="The physical segment that it sits on.")
    vlan: Tag | None = Field(description="Its tag there; 0: frames without one.")
    cross_subnet: bool
    labels: Labels
    endpoints: int = Field(description="How many endpoints it has.", examples=[3])
    version: Version
    revision: Revision
    created_at: Moment


class NetworkPage(Page):
    items: list[Network]
