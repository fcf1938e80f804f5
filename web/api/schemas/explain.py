"""Why a connection is allowed or denied."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from web.api.schemas.common import AboutTenants, Contract, Interface, Ip, Name, QualifiedName, Revision, example, owner
from web.api.schemas.endpoint import PortNumber

Byte = Annotated[int, Field(ge=0, le=255)]
Verdict = Literal["allowed", "denied"]


class Explain(AboutTenants):
    """The connection that is asked about."""

    model_config = ConfigDict(
        json_schema_extra=example(
            {"source": "acme/web1", "destination": "acme/db1", "protocol": "tcp", "port": 5432, "version": 4}
        )
    )

    source: QualifiedName
    destination: QualifiedName | Ip = Field(
        description="An endpoint, or an address outside of all networks; to a tenant's people those that they neither "
        "see nor reach are outside, too, and no switch is asked about an address."
    )
    protocol: Literal["tcp", "udp", "sctp", "icmp", "icmpv6"]
    port: PortNumber | SkipJsonSchema[None] = Field(None, description="For TCP, UDP and SCTP.")
    type: Byte | SkipJsonSchema[None] = Field(None, description="For ICMP and ICMPv6; left out: an echo request.")
    code: Byte | SkipJsonSchema[None] = Field(None, description="For ICMP and ICMPv6; left out: 0.")
    version: Literal[4, 6] | SkipJsonSchema[None] = Field(
        None, description="IP version; left out: the first that both ends have."
    )

    def tenants(self) -> Iterable[str]:
        ends = (self.source, self.destination) if "/" in self.destination else (self.source,)
        return map(owner, ends)


class End(Contract):
    """One end of the connection."""

    name: str = Field(description="An endpoint's, or an address outside.", examples=["acme/web1"])
    host: Name | None = Field(description="Its host; null for an address outside.")
    address: Interface | Ip | None = Field(description="Its address of the IP version asked for; null: it has none.")


class StageDecision(Contract):
    """What the model says at one stage; there are none after one that denies."""

    stage: Literal["address", "isolation", "outbound", "firewall", "egress", "ingress"] = Field(
        description="`address`: no packet leaves the source, as an endpoint lacks an address or speaks to itself. "
        "`outbound`: whether the network goes outside; `firewall`: the tenant's egress firewall."
    )
    verdict: Verdict
    policy: str | None = Field(
        description="The policy that decided; null when none did.", examples=["acme/db-lockdown"]
    )
    rule: int | None = Field(description="The number of the policy's rule, from 1.", examples=[2])
    reason: str = Field(examples=["by policy acme/db-lockdown: no ingress rule allows it"])


class HostSays(Contract):
    """What a host's switch would do with the connection's first packet."""

    host: Name
    verdict: Verdict | None = Field(description="Null when the host gave no answer.")
    reason: str = Field(
        description="`delivered`, `sent to` where, a reason for dropping as in the host's `drops`, `foreign_flow` when "
        "a flow that is not Warren's drops it, `no_flow` where none matches, or `no_answer`.",
        examples=["ingress_policy"],
    )
    table: str | None = Field(description="The stage where it ends.", examples=["INGRESS_TENANT"])
    agrees: bool | None = Field(description="Whether it agrees with the model; null: there is nothing to compare.")
    words: str = Field(examples=["drops it in INGRESS_TENANT (ingress policy)"])


class Explained(Contract):
    """What the model says, and what the switches would really do."""

    source: End
    destination: End
    connection: str = Field(examples=["tcp/5432"])
    version: Literal[4, 6]
    verdict: Verdict = Field(description="What the model decides.")
    decisions: list[StageDecision]
    hosts: list[HostSays] = Field(description="In the order in which the packet comes to them.")
    agreement: Literal["confirmed", "disagreement", "unconfirmed"] = Field(
        description="`unconfirmed`: a host concerned gave no answer, or none had to be asked."
    )
    remarks: list[str] = Field(description="Why it is not confirmed, in sentences.")
    words: list[str] = Field(description="The whole answer in sentences.")
    revision: Revision
