"""The objects that decide where a packet may go, as plain values in the units the wire uses.

Addresses, MACs and ids are integers. The model knows nothing of rows, sessions, flows or time;
`controller.world` puts these objects together into a snapshot.
"""

from __future__ import annotations

import ipaddress
from enum import IntEnum
from typing import NamedTuple

GLOBAL_ZONE = 0
"""Endpoints in zone 0 reach, and are reached from, every routable network."""


DATAPATH_PREFIX = 0x7761 << 48
"""`wa`: the first two bytes of every bridge's datapath id; the rest is its host's id."""


class Address(NamedTuple):
    """An endpoint's address with the prefix length of its subnet. `value` is the address as an integer."""

    version: int  # 4 or 6
    value: int
    prefix: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """`10.20.0.9/24` or `fd00::9/64`. Raises ValueError on anything else."""
        interface = ipaddress.ip_interface(text)
        return cls(interface.version, int(interface.ip), interface.network.prefixlen)

    @property
    def ip(self) -> str:
        return str(ip_address(self.version, self.value))

    def __str__(self) -> str:
        return f"{self.ip}/{self.prefix}"


class Direction(IntEnum):
    """As seen by the endpoint that a policy selects."""

    INGRESS = 0
    EGRESS = 1


Labels = tuple[tuple[str, str], ...]
"""Sorted by key, each key once."""


def prefix_mask(version: int, prefix: int) -> int:
    bits = 32 if version == 4 else 128
    return ((1 << prefix) - 1) << (bits - prefix)


class Subnet(NamedTuple):
    """One address family of a network. `network` and `gateway` are integers; `gateway` 0: none."""

    version: int
    network: int
    prefix: int
    gateway: int

    @classmethod
    def parse(cls, cidr: str, gateway: str | None) -> Subnet:
        network = ipaddress.ip_network(cidr)
        at = int(ipaddress.ip_address(gateway)) if gateway else 0
        return cls(network.version, int(network.network_address), network.prefixlen, at)

    @property
    def mask(self) -> int:
        return prefix_mask(self.version, self.prefix)

    def has(self, version: int, value: int) -> bool:
        return self.version == version and value & self.mask == self.network

    def __str__(self) -> str:
        return f"{ip_address(self.version, self.network)}/{self.prefix}"


class Tenant(NamedTuple):
    """`id` is the tenant's 15-bit number, its conntrack zone on every host.

    `track_all` sends every connection of the tenant through conntrack, not only what a policy or a
    service needs. `default_deny` are the directions in which an endpoint that no policy of the tenant selects is
    denied everything all the same.
    """

    id: int
    name: str
    zone: int
    labels: Labels = ()
    track_all: bool = False
    default_deny: frozenset[Direction] = frozenset()


class Network(NamedTuple):
    """One segment. `zone` is the tenant's, or the network's own when it is isolated.

    A `private` network's subnets may overlap other tenants': it is reachable from its own zone only. `transport` is the
    name of what carries its packets between hosts (`controller.transport`), `cross_subnet` allows it tunnels.
    `broadcast`: what is sent to all reaches all of its endpoints. On a `physical` segment (a number, 0: none) `vlan` is
    its tag, 0 for frames without one. `outbound`: its endpoints reach what is outside of all networks.
    """

    id: int
    name: str
    tenant: int
    vni: int
    zone: int
    subnets: tuple[Subnet, ...]
    private: bool = False
    transport: str = "vxlan"
    cross_subnet: bool = False
    broadcast: bool = False
    physical: int = 0
    vlan: int = 0
    outbound: bool = False


class Host(NamedTuple):
    """A machine with a bridge. `address` is where its tunnels end, None until it is known; `segment` the subnet of the
    underlay that its bridge has a port to, if any."""

    id: int
    name: str
    address: tuple[int, int] | None  # (version, value)
    datapath_type: str = "system"  # "system" (kernel) or "netdev" (user space)
    segment: tuple[int, int, int] | None = None  # (version, network, prefix)


class NamedPort(NamedTuple):
    """A port that policies may name; `protocol` is the IP protocol's number."""

    name: str
    protocol: int
    port: int


class Allowed(NamedTuple):
    """An address, or a range of them, that an endpoint was declared to use besides its own, with the MAC it uses there.

    Of several endpoints that share one the `active` one has it; the others may only announce that they take it over.
    """

    version: int
    network: int
    prefix: int
    mac: int
    active: bool = True

    @property
    def is_address(self) -> bool:
        return self.prefix == (32 if self.version == 4 else 128)

    @property
    def mask(self) -> int:
        return prefix_mask(self.version, self.prefix)

    def has(self, version: int, value: int) -> bool:
        return self.version == version and value & self.mask == self.network


class Endpoint(NamedTuple):
    """One interface of a container. Flows are made for `ofport` before the port exists. `mesh` (1 to 4095) is its
    number among those that all hosts publish, 0: it is none.
    """

    id: int
    name: str
    network: int
    host: int
    ofport: int
    mac: int
    addresses: tuple[Address, ...]
    labels: Labels = ()
    ports: tuple[NamedPort, ...] = ()  # sorted
    allowed: tuple[Allowed, ...] = ()  # sorted
    mesh: int = 0


class Peering(NamedTuple):
    """Two tenants whose networks reach each other, but for those that are isolated. Not transitive."""

    id: int
    tenants: tuple[int, int]

    def other(self, tenant: int) -> int:
        return self.tenants[1] if tenant == self.tenants[0] else self.tenants[0]


class Cluster(NamedTuple):
    """What holds for all tenants; its id is 1. `flat` lets every tenant reach every other. `tunnel_ports` are the UDP
    ports on which hosts take tunnels' packets."""

    id: int
    flat: bool = False
    tunnel_ports: tuple[int, ...] = (4789, 6081)


class Requirement(NamedTuple):
    """One line of a label selector; `operator` is In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


Selector = tuple[Requirement, ...]
"""Kubernetes' label selector: all requirements must hold, so the empty one selects everything."""


class Members(NamedTuple):
    """Endpoints by their labels, in tenants by theirs; `tenants` None means the policy's own tenant."""

    tenants: Selector | None
    endpoints: Selector


class Block(NamedTuple):
    """Addresses: those of a CIDR that are in none of `excepts`, each a (network, prefix) inside it."""

    version: int
    network: int
    prefix: int
    excepts: tuple[tuple[int, int], ...] = ()


class DomainName(NamedTuple):
    """The addresses of a DNS name in lower case without a final dot; `*.example.org` is every name below it."""

    name: str

    def means(self, name: str) -> bool:
        return name.endswith(self.name[1:]) if self.name.startswith("*.") else name == self.name


Peer = Members | Block | DomainName


class Service(NamedTuple):
    """What a connection asks for: an IP protocol's number and a range of ports, or a port by the name it has at the
    destination. For ICMP (1) and ICMPv6 (58) a "port" is `type << 8 | code`. 0 to 65535 is all of a protocol."""

    protocol: int
    first: int = 0
    last: int = 0xFFFF
    name: str = ""


class Action(IntEnum):
    ACCEPT = 0
    DENY = 1
    PASS = 2  # to the next tier


class Rule(NamedTuple):
    """`peers` None: everybody; an empty tuple: nobody. `services` None: everything; likewise."""

    name: str
    action: Action
    peers: tuple[Peer, ...] | None
    services: tuple[Service, ...] | None
    log: bool = False


class Tier(IntEnum):
    """The tiers of policies, in the order in which they are asked."""

    ADMIN = 0  # ordered by priority; ACCEPT and DENY end the matter
    TENANT = 1  # additive: whom one selects is denied whatever none accepts, and BASELINE is not asked
    BASELINE = 2  # ordered by priority
    FIREWALL = 3  # egress to addresses outside of all networks; ordered; asked apart from the others


RULES_OF_A_PRIORITY = 64
"""How many rules of one direction the policies of one of the cluster's tiers may have together at one priority."""


class Policy(NamedTuple):
    """A policy of any kind. It selects the endpoints that match `endpoints` in the tenants that match `tenants` (None:
    its own). `ingress` or `egress` None: it says nothing about that direction.

    `tenant` is 0 and `name` unqualified for a policy of the cluster's. `ordinal` (1 to 60,000) is its own among the
    policies of its tenant, or of the cluster, as long as it lives. Lower `priority` (0 to 1,000) is asked first; equal
    ones by their names. `version` grows with each change of its document.
    """

    id: int
    name: str
    tenant: int
    tier: Tier
    ordinal: int
    priority: int
    tenants: Selector | None
    endpoints: Selector
    ingress: tuple[Rule, ...] | None
    egress: tuple[Rule, ...] | None
    version: int = 1

    def rules(self, direction: Direction) -> tuple[Rule, ...] | None:
        return self.ingress if direction is Direction.INGRESS else self.egress


class ResolvedName(NamedTuple):
    """What a DNS name stands for now, as endpoints were told: each address as (version, value), sorted."""

    id: int
    name: str
    addresses: tuple[tuple[int, int], ...]


Value = Tenant | Network | Host | Endpoint | Peering | Cluster | Policy | ResolvedName


class Change(NamedTuple):
    """One object as it is now; `value` is None when it is gone. `noun` is the class's name in lower case."""

    noun: str
    id: int
    value: Value | None


def ip_address(version: int, value: int) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.IPv4Address(value) if version == 4 else ipaddress.IPv6Address(value)


def format_mac(mac: int) -> str:
    """48-bit integer to `02:00:0a:14:00:09`."""
    return ":".join(f"{byte:02x}" for byte in mac.to_bytes(6, "big"))


def parse_mac(text: str) -> int:
    """`02:00:0a:14:00:09` to a 48-bit integer. Raises ValueError."""
    parts = text.split(":")
    if len(parts) != 6 or not all(len(part) == 2 for part in parts):
        raise ValueError(f"{text!r} is not a MAC address; write six pairs of hex digits joined by colons")
    return int("".join(parts), 16)
