"""Worlds by name. Each is small enough to draw; tests say which one they stand on.

Endpoints are called tenant letter, host number, counter: `a1` is tenant A's endpoint on host 1. Hosts have ids 1..,
tenants 1.., networks 10.., endpoints 100.. so that a number in a failure says what it is.
"""

from __future__ import annotations

from controller.model import (
    Address,
    Allowed,
    Change,
    Cluster,
    Direction,
    Endpoint,
    Host,
    Labels,
    Members,
    NamedPort,
    Network,
    Peering,
    Policy,
    Requirement,
    Subnet,
    Tenant,
)
from controller.world import World

TENANT_A, TENANT_B = 1, 2
NETWORK_A, NETWORK_B, NETWORK_C = 10, 11, 13


def tenant(
    id: int,
    zone: int | None = None,
    track_all: bool = False,
    labels: Labels = (),
    default_deny: frozenset[Direction] = frozenset(),
) -> Change:
    zone = id if zone is None else zone
    return Change("tenant", id, Tenant(id, f"t{id}", zone, labels, track_all, default_deny))


def host(id: int, address: bool = True, segment: int | None = None) -> Change:
    """At 198.18.0.`id`; on 198.18.`segment`.0/24, if any."""
    underlay = (4, (198 << 24) + (18 << 16) + id) if address else None
    on = None if segment is None else (4, (198 << 24) + (18 << 16) + (segment << 8), 24)
    return Change("host", id, Host(id, f"h{id}", underlay, "netdev", on))


def network(
    id: int,
    tenant: int,
    third: int | None = None,
    zone: int | None = None,
    private: bool = False,
    ipv6: bool = True,
    transport: str = "vxlan",
    vlan: int = 0,
    physical: int = 1,
    cross_subnet: bool = False,
    broadcast: bool = False,
    outbound: bool | None = None,
) -> Change:
    """10.`third`.0.0/24 and fd00:`third`::/64, gateway at 1; `third` is the id unless given. `vlan` and `physical` are
    for networks on a segment, which unlike others are `outbound` unless it is said."""
    third = id if third is None else third
    zone = tenant if zone is None else zone
    subnets = [Subnet.parse(f"10.{third}.0.0/24", f"10.{third}.0.1")]
    if ipv6:
        subnets.append(Subnet.parse(f"fd00:{third}::/64", f"fd00:{third}::1"))
    value = Network(id, f"n{id}", tenant, 1000 + id, zone, tuple(subnets), private, transport, cross_subnet, broadcast)
    value = value._replace(outbound=transport == "vlan" if outbound is None else outbound)
    return Change("network", id, value._replace(physical=physical, vlan=vlan) if transport == "vlan" else value)


def endpoint(
    id: int,
    network: int,
    host: int,
    last: int,
    third: int | None = None,
    ipv6: bool = True,
    labels: Labels = (),
    ports: tuple[NamedPort, ...] = (),
) -> Change:
    """10.`third`.0.`last` (and fd00:`third`::`last`) in `network` at `host`; ofport follows from the id."""
    third = network if third is None else third
    addresses = [Address.parse(f"10.{third}.0.{last}/24")]
    if ipv6:
        addresses.append(Address.parse(f"fd00:{third}::{last:x}/64"))
    mac = 0x0200_0000_0000 | addresses[0].value
    value = Endpoint(id, f"e{id}", network, host, 1000 + id, mac, tuple(addresses), labels, ports)
    return Change("endpoint", id, value)


def allowed(network: int, last: int, version: int = 4, mac: int = 0x0600_0000_0001, active: bool = True) -> Allowed:
    """10.`network`.0.`last`, or with `last` 0 the range 10.`network`.0.0/27; likewise of IPv6."""
    text = f"10.{network}.0.{last}" if version == 4 else f"fd00:{network}::{last:x}"
    bits, narrow = (32, 5) if version == 4 else (128, 4)
    value = Address.parse(text).value
    return Allowed(version, value, bits if last else bits - narrow, mac, active)


def sharing() -> list[Change]:
    """`two_tenants` where a1 and a2 share 10.10.0.100 and fd00:10::64, which a1 has, and a1 may use 10.10.0.0/27."""
    return [
        *two_tenants(),
        *(
            Change("endpoint", id, value._replace(allowed=tuple(sorted(pairs))))
            for id, value, pairs in (
                (101, endpoint(101, NETWORK_A, 1, 11).value, [*_shared(True), allowed(NETWORK_A, 0)]),
                (102, endpoint(102, NETWORK_A, 2, 12).value, _shared(False)),
            )
        ),
    ]


def _shared(active: bool) -> list[Allowed]:
    return [allowed(NETWORK_A, 100, version, active=active) for version in (4, 6)]


def peering(id: int, one: int, two: int) -> Change:
    return Change("peering", id, Peering(id, (one, two)))


def members_of(labels: Labels) -> Members:
    """Endpoints of the policy's own tenant that have the labels."""
    return Members(None, tuple(Requirement(key, "In", (value,)) for key, value in labels))


def policy(value: Policy) -> Change:
    return Change("policy", value.id, value)


def world(*changes: Change) -> World:
    return World().apply(1, changes)


def two_tenants() -> list[Change]:
    """Tenants A and B on three hosts, one endpoint each per host: a1 a2 a3 = 101..103, b1 b2 b3 = 201..203."""
    return [
        tenant(TENANT_A),
        tenant(TENANT_B),
        network(NETWORK_A, TENANT_A),
        network(NETWORK_B, TENANT_B),
        *(host(h) for h in (1, 2, 3)),
        *(endpoint(100 + h, NETWORK_A, h, 10 + h) for h in (1, 2, 3)),
        *(endpoint(200 + h, NETWORK_B, h, 10 + h) for h in (1, 2, 3)),
    ]


def overlapping() -> list[Change]:
    """As `two_tenants`, but both tenants use 10.7.0.0/24, and the same addresses in it."""
    return [
        tenant(TENANT_A),
        tenant(TENANT_B),
        network(NETWORK_A, TENANT_A, third=7, private=True),
        network(NETWORK_B, TENANT_B, third=7, private=True),
        *(host(h) for h in (1, 2, 3)),
        *(endpoint(100 + h, NETWORK_A, h, 10 + h, third=7) for h in (1, 2, 3)),
        *(endpoint(200 + h, NETWORK_B, h, 10 + h, third=7) for h in (1, 2, 3)),
    ]


def two_networks() -> list[Change]:
    """Tenant A has two networks, 10 and 12: a1 (101) on the first at host 1, a2 (112) on the second at host 2."""
    return [
        tenant(TENANT_A),
        network(NETWORK_A, TENANT_A),
        network(12, TENANT_A),
        host(1),
        host(2),
        endpoint(101, NETWORK_A, 1, 11),
        endpoint(112, 12, 2, 12),
    ]


def outbound() -> list[Change]:
    """`overlapping`, and both tenants get out."""
    return [
        *overlapping(),
        network(NETWORK_A, TENANT_A, third=7, private=True, outbound=True),
        network(NETWORK_B, TENANT_B, third=7, private=True, outbound=True),
    ]


def meshed() -> list[Change]:
    """`outbound`, and all hosts publish a1 as number 1 and b1 as number 2."""
    changes = outbound()
    for number, id in ((1, 101), (2, 201)):
        (value,) = (change.value for change in changes if (change.noun, change.id) == ("endpoint", id))
        changes.append(Change("endpoint", id, value._replace(mesh=number)))
    return changes


def joined() -> list[Change]:
    """`two_tenants` after B joined A's zone."""
    return [*two_tenants(), tenant(TENANT_B, zone=TENANT_A), network(NETWORK_B, TENANT_B, zone=TENANT_A)]


def b_global() -> list[Change]:
    """`two_tenants` after B became global."""
    return [*two_tenants(), tenant(TENANT_B, zone=0), network(NETWORK_B, TENANT_B, zone=0)]


def peered() -> list[Change]:
    """A peers with B, and C (tenant 3, c1 c2 c3 = 301..303) has joined A: C gains nothing by the peering."""
    return [
        *two_tenants(),
        tenant(3, zone=TENANT_A),
        network(NETWORK_C, 3, zone=TENANT_A),
        *(endpoint(300 + h, NETWORK_C, h, 10 + h) for h in (1, 2, 3)),
        peering(1, TENANT_A, TENANT_B),
    ]


def flat() -> list[Change]:
    """`two_tenants` in a flat cluster, where B also has an isolated network: b9 (209) on host 2."""
    return [
        *two_tenants(),
        network(NETWORK_C, TENANT_B, zone=99),
        endpoint(209, NETWORK_C, 2, 19),
        Change("cluster", 1, Cluster(1, flat=True)),
    ]


def tracked() -> list[Change]:
    """`two_tenants` with all of A's connections tracked."""
    return [*two_tenants(), tenant(TENANT_A, track_all=True)]
