"""Rules of policies, and what they did."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from web.api.schemas.common import (
    LABEL,
    MOST_PER_PAGE,
    SUBDOMAIN,
    Contract,
    Ip,
    Moment,
    Name,
    Page,
    PageQuery,
    QualifiedName,
    Query,
    Revision,
)
from web.api.schemas.policy import PolicyName

ActionName = Literal["accept", "deny", "pass"]
DirectionName = Literal["ingress", "egress"]
# Names of what may be gone: only their shape can be wrong.
OfTenant = Annotated[Name, Field(pattern=f"^{LABEL}$", max_length=63)]
OfEndpoint = Annotated[QualifiedName, Field(pattern=f"^{LABEL}/{LABEL}$", max_length=127)]
OfPolicy = Annotated[PolicyName, Field(pattern=f"^({LABEL}/)?{SUBDOMAIN}$", max_length=317)]


class RuleQuery(PageQuery):
    policy: OfPolicy | SkipJsonSchema[None] = Field(None, description="Only this policy's.")
    tenant: OfTenant | SkipJsonSchema[None] = Field(None, description="Only those of this tenant's policies.")
    unused: bool = Field(False, description="Only those that never matched.")
    limit: int = Field(100, ge=1, le=MOST_PER_PAGE, description="The rules of at most so many policies.")


class Rule(Contract):
    """A rule, and what it has decided on all hosts since its policy's document was last changed."""

    policy: PolicyName
    direction: DirectionName
    number: int = Field(description="Its place in the document, from 1.", examples=[1])
    name: str = Field(description="Empty: it has none.", examples=["monitoring"])
    action: ActionName
    packets: int = Field(description="Packets in both directions of its connections.", examples=[42])
    bytes: int = Field(examples=[4116])
    last_hit: Moment | None = Field(description="When it last matched, to five seconds; null: never.")
    connections: int | None = Field(
        description="That are open now, and that it admitted, as of ten seconds ago at most. Null: it admits none that "
        "are tracked, as it does not accept or is of an egress firewall; or the agent of a host could not count.",
        examples=[3],
    )
    revision: Revision


class RulePage(Page):
    items: list[Rule]


class DenialQuery(Query):
    action: ActionName = Field("deny", description="What was decided; what is accepted or passed is logged if asked.")
    tenant: OfTenant | SkipJsonSchema[None] = Field(None, description="An endpoint of this tenant at one end.")
    endpoint: OfEndpoint | SkipJsonSchema[None] = Field(None, description="This endpoint at one end.")
    policy: OfPolicy | SkipJsonSchema[None] = Field(
        None, description="Only what this policy decided, or has no rule for."
    )
    limit: int = Field(100, ge=1, le=MOST_PER_PAGE, description="How many items at most.")


class Denial(Contract):
    """Connections from one to another for one service that one rule decided, in the names of that time."""

    action: ActionName
    host: Name = Field(description="The host that decided.")
    direction: DirectionName = Field(description="Whom the policy is about: egress the source, ingress the other.")
    policies: list[PolicyName] = Field(
        description="Whose rule it was. Without a rule: those that accept something for the endpoint, but not this; "
        "none: the tenant denies by default."
    )
    rule: int | None = Field(description="Its place in the document, from 1. Null: no rule accepted it.")
    rule_name: str = Field(description="Empty: it has none.")
    source: QualifiedName | None = Field(description="Who opened the connection; null: not a known endpoint.")
    source_address: Ip
    destination: QualifiedName | None
    destination_address: Ip
    protocol: str = Field(description="The protocol's name, or its number.", examples=["tcp"])
    port: int | None = Field(description="The destination port; null for protocols without ports.", examples=[5432])
    icmp_type: int | None = Field(description="The message type of ICMP or ICMPv6.")
    icmp_code: int | None
    count: int = Field(description="Packets seen: at most 100 a second of a host.", examples=[3])
    first_at: Moment
    last_at: Moment


class Denials(Contract):
    """The newest first."""

    items: list[Denial]
