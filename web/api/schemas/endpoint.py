"""Endpoints: one interface of a container, pod, VM or namespace."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from db.endpoints import SORTS
from web.api.schemas.common import (
    Contract,
    Interface,
    LabelChanges,
    LabelledQuery,
    Labels,
    Mac,
    Moment,
    Name,
    Page,
    QualifiedName,
    Revision,
    Version,
    example,
    sorting,
)

PortNumber = Annotated[int, Field(ge=1, le=65535, examples=[80])]


class Port(Contract):
    """A port that others may name."""

    name: Name
    port: PortNumber
    protocol: Literal["tcp", "udp", "sctp"] = "tcp"


class Allow(Contract):
    """An address, or a range of them, that the endpoint may send from and be reached at besides its own."""

    address: Annotated[str, Field(max_length=64, examples=["10.20.0.100"])] = Field(
        description="`10.20.0.100`, or a range like `10.20.0.96/28`, of its network."
    )
    mac: Mac | None = Field(None, description="The MAC that goes with it; left out: the endpoint's own.")
    active: bool = Field(
        False, description="True: take the address over from others that declare it. Left out: no change."
    )


class Allowed(Contract):
    address: str = Field(examples=["10.20.0.100"])
    mac: Mac
    active: bool = Field(description="Whether it has the address now, among those that declare it.")


Bits = Annotated[int, Field(ge=0, le=2**53, examples=[10_000_000])]


class Bandwidth(Contract):
    """Rates in bits a second, and what may come at once in bits; 0: no limit. A rate needs its burst."""

    ingress_rate: Bits = Field(0, description="What it may receive.")
    ingress_burst: Bits = 0
    egress_rate: Bits = Field(0, description="What it may send.")
    egress_burst: Bits = 0


class EndpointChange(Contract):
    """What to change; fields that are left out stay."""

    model_config = ConfigDict(json_schema_extra=example({"labels": {"app": "web", "canary": None}}))

    labels: LabelChanges = Field({})
    ports: list[Port] | None = Field(None, max_length=64, description="All named ports, replacing those there are.")
    allowed: list[Allow] | None = Field(
        None, max_length=64, description="All further addresses, replacing those there are."
    )
    move_to: Name | Literal[""] | None = Field(
        None, description="The host whose agent may take it once, with `move`; empty: none; null: as it is."
    )


class EndpointQuery(LabelledQuery):
    sort: str | SkipJsonSchema[None] = sorting(SORTS)
    tenant: Name | SkipJsonSchema[None] = Field(None, description="Only this tenant's.")
    network: QualifiedName | SkipJsonSchema[None] = Field(None, description="Only this network's, `tenant/network`.")
    host: Name | SkipJsonSchema[None] = Field(None, description="Only those on this host.")
    state: Literal["pending", "up", "down"] | SkipJsonSchema[None] = Field(
        None, description="Only those in this state."
    )


class Endpoint(Contract):
    """One interface and where it is."""

    name: QualifiedName
    tenant: Name
    network: QualifiedName
    host: Name
    mac: Mac
    addresses: list[Interface]
    allowed: list[Allowed] = Field(description="Addresses that it may use besides its own.")
    labels: Labels
    ports: list[Port]
    aliases: list[Name] = Field(description="Other names that it goes by in DNS.")
    bandwidth: Bandwidth = Field(description="What it is held to: asked for when attached, or by its tenant's quota.")
    move_to: Name | None = Field(description="The host whose agent may take it.")
    state: Literal["pending", "up", "down"] = Field(
        description="`pending` until its host's agent has said something about its port."
    )
    ofport: int = Field(description="Number of its port on its host's bridge.", examples=[104])
    container_id: str
    ifname: str = Field(examples=["eth0"])
    interface: str = Field(description="The host's own interface that is its port; empty: the agent made one.")
    port_name: str = Field(description="Name of its port on its host's bridge.", examples=["wrn1a"])
    version: Version
    revision: Revision
    created_at: Moment


class EndpointPage(Page):
    items: list[Endpoint]
