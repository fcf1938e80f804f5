"""Published ports of endpoints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from db.publications import SORTS
from web.api.schemas.common import (
    AboutTenants,
    Contract,
    Ip,
    Moment,
    Name,
    Page,
    QualifiedName,
    Revision,
    TextQuery,
    example,
    owner,
    sorting,
)

Protocol = Literal["tcp", "udp", "sctp"]
Port = Annotated[int, Field(ge=1, le=65535, examples=[80])]
AnyPort = Annotated[int, Field(ge=0, le=65535, examples=[8080])]


class Published(Contract):
    """A port of the endpoint's host, or several that follow each other, that lead to the endpoint's."""

    protocol: Protocol = "tcp"
    port: Port = Field(description="The endpoint's port; of several the first.")
    host_port: AnyPort = Field(0, description="The host's port; 0: a free one is chosen.")
    count: int = Field(1, ge=1, le=1024, description="The number of consecutive ports.")
    host_ip: Ip | None = Field(
        None, description="Which address of the host; null: any, 0.0.0.0 and ::: any of that family."
    )
    mesh: bool = Field(False, description="Publish on all hosts, wherever the endpoint is.")


class PublicationCreate(AboutTenants, Published):
    """What is to be published."""

    model_config = ConfigDict(
        json_schema_extra=example({"endpoint": "acme/web1", "protocol": "tcp", "host_port": 8080, "port": 80})
    )

    endpoint: QualifiedName

    def tenants(self) -> Iterable[str]:
        return (owner(self.endpoint),)


class RuntimePublished(Published):
    host_port_end: AnyPort = Field(0, description="With `host_port`: one of these is chosen.")


class RuntimePublications(Contract):
    """All ports that a container's runtime publishes for an interface."""

    model_config = ConfigDict(json_schema_extra=example({"ports": [{"host_port": 8080, "port": 80}]}))

    ports: list[RuntimePublished] = Field(max_length=256)


class Publication(Contract):
    """A published port, or several that follow each other."""

    id: int
    endpoint: QualifiedName
    tenant: Name
    host: Name
    protocol: Protocol
    host_ip: Ip | None = Field(description="Null: any of the host's addresses.")
    host_port: Port
    port: Port
    count: int = Field(examples=[1])
    mesh: bool = Field(description="Whether all hosts have it, and not the endpoint's alone.")
    problems: list[str] = Field(
        description="Why it is not open: its network is closed to the outside or on a physical segment; or for each "
        "host where it is not, as its agent says.",
        examples=[["h1: the host has no address 192.0.2.11; give it that, or publish by another"]],
    )
    by_runtime: bool = Field(description="Whether the container's runtime asked for it, and not somebody by hand.")
    created_at: Moment
    revision: Revision


class PublicationPage(Page):
    items: list[Publication]


class PublicationQuery(TextQuery):
    sort: str | SkipJsonSchema[None] = sorting(SORTS, "created")
    tenant: Name | SkipJsonSchema[None] = Field(None, description="Only this tenant's.")
    host: Name | SkipJsonSchema[None] = Field(None, description="Only this host's.")


class RuntimePublicationsNow(Contract):
    ports: list[Publication]
    revision: Revision
