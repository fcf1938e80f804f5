"""Names: static records, Warren's domain, and what a host's resolver knows."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from db.records import SORTS
from web.api.schemas.common import (
    Cidr,
    Contract,
    Ip,
    Known,
    Moment,
    Name,
    Page,
    Revision,
    TextQuery,
    Version,
    WaitQuery,
    example,
    sorting,
)

Domain = Annotated[str, Field(max_length=255, examples=["warren.internal"])]


class Dns(Contract):
    """Settings for all DNS names."""

    domain: Domain = Field(description="What full names end in: `web1.web.acme.warren.internal`.")
    version: Version
    revision: Revision


class DnsChange(Contract):
    """What to change."""

    model_config = ConfigDict(json_schema_extra=example({"domain": "warren.internal"}))

    domain: Domain


class RecordPut(Contract):
    """What a name stands for."""

    model_config = ConfigDict(json_schema_extra=example({"addresses": ["10.20.0.200"]}))

    addresses: list[Ip] = Field(min_length=1, max_length=32)


class Record(Contract):
    """A static record: a name that no endpoint has."""

    scope: str = Field(description="Where it belongs: a tenant, or TENANT/NETWORK.", examples=["acme", "acme/web"])
    name: Name
    full_name: str = Field(description="The name in full.", examples=["db.acme.warren.internal"])
    addresses: list[Ip]
    version: Version
    created_at: Moment
    revision: Revision


class RecordPage(Page):
    items: list[Record]


class RecordQuery(TextQuery):
    sort: str | SkipJsonSchema[None] = sorting(SORTS, "created")
    tenant: Name | SkipJsonSchema[None] = Field(None, description="Only this tenant's.")


class SeenNetwork(Contract):
    name: Name
    tenant: Name
    subnets: list[Cidr]


class Entry(Contract):
    """An endpoint or a static record; the first label is its own name, the others are aliases."""

    tenant: Name
    network: int = Field(description="The network's id; 0 for a record of the tenant as a whole.")
    labels: list[Name]
    addresses: list[Ip]


class Names(Contract):
    """What a host's resolver knows: all of it, or the names that changed."""

    revision: Revision
    whole: bool = Field(description="False: `names` are those that changed since `after`, null for one that is gone.")
    new: list[int] = Field(description="Networks that the host sees only since then; all their names are in `names`.")
    domain: Domain
    networks: dict[str, SeenNetwork] = Field(description="Those that some endpoint of the host may see, by id.")
    seen: dict[str, list[int]] = Field(description="Of each network with endpoints on the host, the others it may see.")
    askers: dict[str, int] = Field(description="The network of each of the host's ports.")
    names: dict[str, Entry | None]


class NamesQuery(WaitQuery):
    after: Known | SkipJsonSchema[None] = Field(
        None,
        description="The revision of the names that the host answers from, which is thereby known; "
        "204 when nothing that it may see came after it.",
    )


class NamesKnownQuery(WaitQuery):
    but: Name | SkipJsonSchema[None] = Field(
        None, description="A host that is not waited for: the asker's own, which knows what it did itself."
    )


class NamesKnown(Contract):
    """Which hosts answer from older names than a revision's."""

    revision: Revision
    waiting: list[Name] = Field(description="Hosts that may be asked for the changed names and do not know them yet.")
