"""Hosts: machines with an agent and a bridge."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from db.hosts import SORTS
from web.api.schemas.common import (
    Contract,
    Ip,
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
from web.api.schemas.isolation import ChangeQuery

Mtu = Annotated[int, Field(ge=1350, le=65535, examples=[1500])]


class HostCreate(Contract):
    """A host to expect. The answer holds the token with which its agent enrols."""

    model_config = ConfigDict(json_schema_extra=example({"name": "h1", "address": "198.18.0.11"}))

    name: Name
    address: Ip | None = Field(
        None, description="Address of its tunnels; left out: what the agent reports when it enrols."
    )
    mtu: Mtu | None = Field(None, description="MTU of the underlay; null: as the agent finds it, until then 1500.")
    labels: Labels = Field({})


class HostChange(Contract):
    """What to change; fields that are left out stay."""

    model_config = ConfigDict(json_schema_extra=example({"address": "198.18.0.12"}))

    address: Ip | None = Field(None, description="Null leaves it.")
    mtu: Mtu | None = Field(None, description="Null: as the agent finds it.")
    labels: LabelChanges = Field({})


class Host(Contract):
    """A machine and its state."""

    name: Name
    address: Ip | None
    labels: Labels
    datapath_id: str = Field(description="16 hex digits.", examples=["7761000000000001"])
    datapath_type: Literal["system", "netdev"] = Field(description="Kernel or user space.")
    state: Literal["new", "enrolled", "up", "degraded", "silent"] = Field(
        description="`new`: no agent yet; `enrolled`: an agent that has not reported; `up`; `degraded`: it reports "
        "problems or its bridge has no controller; `silent`: nothing heard for a while."
    )
    connected: bool = Field(description="Whether its bridge is connected to a controller.")
    endpoints: int = Field(description="How many endpoints it has.", examples=[12])
    flows: int = Field(description="How many flows its bridge has.", examples=[1204])
    drops: dict[str, int] = Field(description="Packets dropped, by reason.", examples=[{"spoofed": 3}])
    wanted_revision: int = Field(description="The newest revision that changed what its bridge should have.")
    confirmed_revision: int = Field(description="The newest revision its bridge has confirmed.")
    mtu: int = Field(description="MTU of the underlay.", examples=[1500])
    agent: dict[str, Any] = Field(
        description="The agent's last report, without the connections that it counts for rules."
    )
    error: str = Field(description="What its bridge refused; empty when nothing.", examples=[""])
    seen_at: Moment | None = Field(description="When its agent was last heard.")
    version: Version
    revision: Revision
    created_at: Moment


class NewHost(Host):
    """A host that was just made."""

    enrol_token: str | None = Field(
        description="For `warren agent --token`: works once, shown once; null when a retried request is answered again."
    )


class HostPage(Page):
    items: list[Host]


class EnrolToken(Contract):
    """A new one-time token for an agent of this host."""

    host: Name
    enrol_token: str | None = Field(description="Shown once; null when a retried request is answered again.")
    revision: Revision


class HostQuery(LabelledQuery):
    sort: str | SkipJsonSchema[None] = sorting(SORTS)


class HostDeleteQuery(ChangeQuery):
    force: bool = Field(False, description="Free whatever the host held: for a machine that will not come back.")
