"""What a host's agent and the API say to each other: enrolment, attachments, wanted state, reports."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from web.api.schemas.common import (
    Contract,
    Facts,
    Interface,
    Ip,
    Labels,
    Mac,
    Name,
    QualifiedName,
    Revision,
    WaitQuery,
    example,
)
from web.api.schemas.endpoint import Bandwidth, Port

Short = Annotated[str, Field(max_length=255)]
Long = Annotated[str, Field(max_length=4096)]


class Enrol(Contract):
    """An agent presents itself with the one-time token of its host."""

    model_config = ConfigDict(json_schema_extra=example({"address": "198.18.0.11", "datapath_type": "system"}))

    address: Ip | None = Field(
        None, description="Address of its tunnels; left out: as given when the host was created."
    )
    datapath_type: Literal["system", "netdev"] = "system"
    facts: Facts = Field({}, description="Whatever helps people: kernel, versions, MTU.")


class Enrolled(Contract):
    """Who the agent is from now on."""

    host: Name
    token: str = Field(description="The agent's own token, shown once.")


class HostCertificate(Contract):
    """What a bridge shows to controllers, in PEM."""

    certificate: str
    key: str = Field(description="The secret, shown once.")
    authority: str = Field(description="Authority of the controllers' certificates, in PEM.")
    renew_at: datetime = Field(description="When to ask for another.")


class Attach(Contract):
    """An interface that wants to be an endpoint. Sent again with the same content it changes nothing."""

    model_config = ConfigDict(
        json_schema_extra=example({"network": "acme/web", "name": "web1", "netns": "/run/netns/web1"})
    )

    network: QualifiedName
    name: Name
    netns: Long
    labels: Labels = Field({})
    ports: list[Port] = Field([], max_length=64)
    addresses: list[Ip] | None = Field(
        None, max_length=8, description="At most one of each family; of a family that is left out, the next free one."
    )
    mac: Mac | None = Field(None, description="Left out: follows from the first address.")
    interface: Short = Field(
        "", description="An interface of the host's own that becomes the port, as a VM's tap; empty: one is made."
    )
    move: bool = Field(
        False,
        description="The endpoint of this name leaves the host or container where it is and comes here; an agent takes "
        "one of another host only where `move_to` of the endpoint names its own.",
    )
    reservation: Name | None = Field(
        None, description="The name whose reserved addresses it gets; left out: its own, if there are any."
    )
    aliases: list[Name] = Field([], max_length=16, description="Other names that it goes by; several may share one.")
    bandwidth: Bandwidth = Field(
        Bandwidth(), description="What to hold it to. More than the tenant's quota has is refused."
    )


class Aliases(Contract):
    """Names in DNS besides an endpoint's own."""

    aliases: list[Name] = Field(max_length=16, description="All aliases; several endpoints may share one.")


class Renamed(Contract):
    """The revision with its other names."""

    revision: Revision


class ResolvConf(Contract):
    """What its resolv.conf should say."""

    nameservers: list[Ip] = Field(
        description="The network's gateways, where the host's resolver answers; none on a physical segment."
    )
    search: list[str] = Field(examples=[["web.acme.warren.internal", "acme.warren.internal"]])


class WantedEndpoint(Contract):
    """An endpoint as its host's agent needs it."""

    id: int
    name: QualifiedName
    network: QualifiedName
    ofport: int
    port_name: str
    mac: Mac
    addresses: list[Interface]
    gateways: list[Ip]
    mtu: int
    route_mtu: int = Field(description="For what leaves the network: no more than tunnels leave.")
    container_id: str
    ifname: str
    netns: str
    interface: str
    from_host: bool = Field(description="Whether the host itself reaches it by its own addresses.")
    dns: ResolvConf
    limits: Bandwidth = Field(description="The limits to enforce.")


class Attached(WantedEndpoint):
    revision: Revision


class WantedHost(Contract):
    name: Name
    id: int
    datapath_id: str
    address: Ip | None
    mtu: int = Field(description="MTU of the underlay.")
    least_mtu: int = Field(description="The least of all hosts': what goes from host to host is no larger.")


class Tunnel(Contract):
    """A port of the bridge that joins it with all other hosts."""

    type: str = Field(description="The name in Open vSwitch.", examples=["vxlan"])
    suffix: str = Field(description="The end of the port's name, after the bridge's.", examples=["tun"])
    port: int | None = Field(description="UDP port; null for a protocol of IP's own.", examples=[4789])
    ofport: int


class Segment(Contract):
    """A port of the bridge to a physical segment, on hosts that have it."""

    name: str = Field(examples=["lan"], description="The segment's name; `underlay` is the one of the host's address.")
    ofport: int


class Gateway(Contract):
    ofport: int
    mac: Mac


class TraceAsked(Contract):
    """A packet of which the agent shall ask its switch what it would do with it."""

    id: int
    packet: str = Field(
        description="A flow in the syntax of ovs-fields(7).", examples=["in_port=100,eth_src=02:00:0a:14:00:09,icmp"]
    )


class Traced(Contract):
    """What the switch would do with a packet."""

    model_config = ConfigDict(
        json_schema_extra=example({"table": 96, "cookie": "0x77e0886250e377da", "outputs": [], "tunnel": None})
    )

    table: int | None = Field(None, ge=0, le=255, description="Where it ends; null when the switch did not say.")
    cookie: Annotated[str, Field(pattern="^0x[0-9a-f]{1,16}$")] | None = Field(
        None, description="Cookie of the last flow that it matches; null: none."
    )
    outputs: list[Annotated[int, Field(ge=0, le=2**32 - 1)]] = Field(
        [], max_length=64, description="The ports by which it leaves."
    )
    tunnel: Ip | None = Field(None, description="The address that it is tunnelled to.")
    trouble: Long = Field("", description="Why the switch gave no answer, or could not send the packet.")


class DumpAsked(Contract):
    """The agent shall tell which flows its switch has."""

    id: int


class Dumped(Contract):
    """The flows that a bridge has."""

    model_config = ConfigDict(
        json_schema_extra=example({"flows": ["77050c9af1b2d3e4 20 100 12 1176"], "foreign": [], "left_off": 0})
    )

    flows: list[Annotated[str, Field(pattern=r"^[0-9a-f]{16}( [0-9]{1,20}){4}$")]] = Field(
        [], max_length=12_000, description="Warren's own: cookie, table, priority, packets and bytes of each."
    )
    foreign: list[Annotated[str, Field(max_length=400)]] = Field(
        [], max_length=100, description="Flows whose cookie is not Warren's, as ovs-ofctl prints them."
    )
    left_off: int = Field(0, ge=0, le=2**31, description="How many more there are.")
    trouble: Long = Field("", description="Why the switch gave no answer.")


class Peer(Contract):
    """Another host."""

    name: Name
    address: Ip


class PublishedPort(Contract):
    """Ports of the host that lead to an endpoint, on it or, if all hosts publish it, elsewhere."""

    id: int
    endpoint: QualifiedName
    ofport: int = Field(description="0: the endpoint is elsewhere.")
    mesh: int = Field(description="For an endpoint elsewhere: its number among those that all hosts publish.")
    families: list[Literal[4, 6]] = Field(description="IP versions of its addresses.")
    protocol: Literal["tcp", "udp", "sctp"]
    host_ip: str = Field(description="Address of the host; empty: any; 0.0.0.0 or ::: any of that IP version.")
    host_port: int
    port: int
    count: int


class Wanted(Contract):
    """Everything that one host's agent has to make true, and what it is asked."""

    revision: Revision
    host: WantedHost
    controllers: list[str] = Field(examples=[["tcp:198.18.0.1:6653"]])
    tunnels: list[Tunnel]
    segments: list[Segment]
    gateway: Gateway
    endpoints: list[WantedEndpoint]
    peers: list[Peer] = Field(description="All other hosts that have an address.")
    published: list[PublishedPort] = Field(description="Ports of this host that lead to endpoints.")
    tunnels_revision: int = Field(description="Revision of the newest change of `tunnels`, `segments` or `peers`.")
    traces: list[TraceAsked] = Field([], description="Packets that wait for this agent's answer.")
    dumps: list[DumpAsked] = Field([], description="Questions for its flows that wait for this agent's answer.")


class WantedQuery(WaitQuery):
    after: int | SkipJsonSchema[None] = Field(
        None, ge=0, le=2**53, description="The revision that is known; 204 when nothing for this host came after it."
    )


class AgentFacts(Contract):
    version: Short
    pid: int = Field(ge=0)
    started_at: Short


class Underlay(Contract):
    """The interface that has the host's address."""

    interface: Short
    mtu: int = Field(ge=68, le=65535, examples=[1500])
    prefix: int = Field(ge=0, le=128, description="The prefix length of its subnet.", examples=[24])
    bridged: bool = Field(False, description="Whether Warren's bridge has a way to it, as host-gw networks need.")


class Stray(Contract):
    """A port of the bridge that nothing wants."""

    name: Short
    endpoint: int | None = Field(None, ge=0, le=2**53, description="The id that Open vSwitch has for it.")
    container_id: Short = ""


Ids = Annotated[list[Annotated[int, Field(ge=0, le=2**53)]], Field(max_length=4096)]


class Admitted(Contract):
    """Connections that are open, and that a rule admitted which is about an endpoint of the tenant here."""

    tenant: int = Field(ge=0, le=0xFFFF, description="The tenant's number.")
    direction: Literal["ingress", "egress"]
    mark: int = Field(ge=1, le=0xFFFFFFFF, description="The rule's number in the connections' labels.")
    open: int = Field(ge=1, le=2**32)


Counter = Annotated[int, Field(ge=0, le=2**63 - 1)]


class Listening(Contract):
    protocol: Literal["tcp", "udp", "sctp"]
    address: Ip
    port: int = Field(ge=0, le=65535)


class Report(Contract):
    """What an agent found and could not repair."""

    model_config = ConfigDict(
        json_schema_extra=example(
            {
                "agent": {"version": "0.1.0", "pid": 4711, "started_at": "2026-11-20T10:00:00Z"},
                "bridge": {"name": "warren0"},
                "ports": {"12": "up"},
                "problems": [],
            }
        )
    )

    agent: AgentFacts
    bridge: Facts = Field({}, description="Facts about the bridge, for people.")
    underlay: Underlay | None = Field(None, description="Null while no interface has the host's address.")
    ports: dict[str, Literal["up", "down"]] = Field({}, max_length=4096, description="State by endpoint id.")
    revision: int | None = Field(None, ge=0, le=2**53, description="The revision with which the host was compared.")
    tunnels_revision: int | None = Field(
        None, ge=0, le=2**53, description="The newest revision for whose tunnels and segments the bridge has all ports."
    )
    limits_revision: int | None = Field(
        None, ge=0, le=2**53, description="The newest revision whose bandwidth limits all endpoints have."
    )
    ports_revision: int | None = Field(
        None,
        ge=0,
        le=2**53,
        description="The newest revision whose published ports are open, except those in `closed`.",
    )
    closed: dict[str, Long] = Field(
        {}, max_length=4096, description="Why a published port is not open on the host, by its id."
    )
    addresses: list[Ip] | None = Field(
        None, max_length=4096, description="Addresses by which others reach the host; null: not yet known."
    )
    missing: Ids = Field([], description="Ids of endpoints without a port.")
    gone: Ids = Field([], description="Ids of endpoints whose container's network namespace is no more.")
    strays: list[Stray] = Field([], max_length=4096, description="Ports that belong to no endpoint.")
    listening: list[Listening] = Field(
        [], max_length=4096, description="At which ports programs of the host listen: none of these is published."
    )
    physical: list[Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?$")]] = Field(
        [], max_length=80, description="The physical segments that the host has."
    )
    problems: list[Long] = Field([], max_length=100, description="One sentence each.")
    connections: list[Admitted] | None = Field(
        None, max_length=4096, description="By the rules that admitted them; null when they could not be counted."
    )
    traffic: dict[str, Annotated[list[Counter], Field(min_length=6, max_length=6)]] | None = Field(
        None,
        max_length=4096,
        description="What ports have counted, by endpoint id: packets, bytes and dropped packets that the endpoint "
        "received, and those that it sent; null: nothing new.",
    )


class Reported(Contract):
    """What an agent told is kept."""

    revision: Revision
