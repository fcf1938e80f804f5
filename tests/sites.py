"""Random sites: a few tenants, networks, hosts and endpoints, with labels so few that selectors hit.

A `Plan` holds what the oracle reads (`site`) and what it need not know: where endpoints are, and why tenants may talk.
The same plan makes a world for the software pipeline or is built in a lab; `random` may be hypothesis' or the
standard library's.
"""

from __future__ import annotations

from itertools import combinations
from random import Random
from typing import NamedTuple

from controller.model import Change, Cluster, Direction, Labels, NamedPort
from tests.oracle import EGRESS, INGRESS, Endpoint, Port, Site, Tenant
from tests.pure import worlds

HOSTS = (1, 2, 3)
ENDPOINT_LABELS = {"app": ("web", "db", "api"), "tier": ("front", "back")}
TENANT_LABELS = {"team": ("red", "blue"), "env": ("prod", "dev")}
PORT_NAMES = ("http", "dns", "metrics")
PORTS = (53, 80, 443, 5432, 8080, 8090)
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58, "sctp": 132}
SHARED = 7
"""The third byte of the subnet that private networks of two tenants both use."""


class Segment(NamedTuple):
    """A network: 10.`third`.0.0/24 and fd00:`third`::/64 of a tenant."""

    tenant: int
    third: int
    private: bool


class Place(NamedTuple):
    network: int
    host: int
    last: int  # byte of the address


class Plan(NamedTuple):
    """By id: tenants are called t1, t2 .., endpoints e101, e102 .. ."""

    site: Site
    zones: dict[int, int]
    peerings: list[tuple[int, int]]
    flat: bool
    tracked: frozenset[int]
    networks: dict[int, Segment]
    places: dict[int, Place]

    def tenant_of(self, endpoint: str) -> int:
        return self.networks[self.places[int(endpoint[1:])].network].tenant

    def can_address(self, source: str, destination: str) -> bool:
        """Whether the destination's address means the destination at the source: no overlap hides it."""
        here, there = (self.networks[self.places[int(name[1:])].network] for name in (source, destination))
        own = {segment.third for segment in self.networks.values() if segment.tenant == here.tenant}
        return source != destination and (here.tenant == there.tenant or there.third not in own)

    def changes(self) -> list[Change]:
        """The site as a world sees it, without policies."""
        changes = [Change("cluster", 1, Cluster(1, self.flat)), *map(worlds.host, HOSTS)]
        for id, zone in self.zones.items():
            tenant = self.site.tenants[f"t{id}"]
            default_deny = frozenset(Direction[direction.upper()] for direction in tenant.default_deny)
            changes.append(worlds.tenant(id, zone, id in self.tracked, pairs(tenant.labels), default_deny))
        for id, segment in self.networks.items():
            zone = self.zones[segment.tenant]
            changes.append(worlds.network(id, segment.tenant, segment.third, zone, segment.private))
        changes += [worlds.peering(id, *two) for id, two in enumerate(self.peerings, 1)]
        for id, place in self.places.items():
            endpoint = self.site.endpoints[f"e{id}"]
            ports = sorted(NamedPort(port.name, PROTOCOLS[port.protocol], port.number) for port in endpoint.ports)
            third = self.networks[place.network].third
            changes.append(
                worlds.endpoint(id, *place, third, labels=pairs(endpoint.labels), ports=tuple(ports)),
            )
        return changes


def pairs(labels: dict[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def plan(random: Random) -> Plan:
    tenants = range(1, random.randint(2, 4) + 1)
    private = frozenset({1, 2} if _one_in(random, 4) else ())
    open_tenants = [id for id in tenants if id not in private]
    zones = {id: random.choice((id, id, open_tenants[0], 0)) if id in open_tenants else id for id in tenants}
    flat = _one_in(random, 3)
    peerings = [two for two in combinations(open_tenants, 2) if _one_in(random, 3)]
    owners = [*tenants, *(random.choice(tenants) for _ in range(random.randint(0, 4 - len(tenants))))]
    networks = {
        10 + index: Segment(
            owner, SHARED if owner in private and index < len(tenants) else 10 + index, owner in private
        )
        for index, owner in enumerate(owners)
    }
    places: dict[int, Place] = {}
    for id in range(101, 101 + random.randint(5, 8)):
        network = random.choice(sorted(networks))
        last = 11 + sum(place.network == network for place in places.values())
        places[id] = Place(network, random.choice(HOSTS), last)
    site = Site(
        {f"t{id}": _tenant(random, f"t{id}") for id in tenants},
        {f"e{id}": _endpoint(random, f"e{id}", networks[place.network], place) for id, place in places.items()},
        frozenset(
            frozenset((f"t{one}", f"t{two}"))
            for one, two in combinations(open_tenants, 2)
            if flat or zones[one] == zones[two] or 0 in (zones[one], zones[two]) or (one, two) in peerings
        ),
    )
    tracked = frozenset(id for id in tenants if _one_in(random, 3))
    return Plan(site, zones, peerings, flat, tracked, networks, places)


def _tenant(random: Random, name: str) -> Tenant:
    default_deny = frozenset(direction for direction in (INGRESS, EGRESS) if _one_in(random, 12))
    return Tenant(name, {"kubernetes.io/metadata.name": name, **_labels(random, TENANT_LABELS)}, default_deny)


def _endpoint(random: Random, name: str, network: Segment, place: Place) -> Endpoint:
    ports = tuple(
        Port(port, random.choice(("tcp", "tcp", "udp", "sctp")), random.choice(PORTS))
        for port in PORT_NAMES
        if _one_in(random, 2)
    )
    addresses = f"10.{network.third}.0.{place.last}", f"fd00:{network.third}::{place.last:x}"
    return Endpoint(name, f"t{network.tenant}", _labels(random, ENDPOINT_LABELS), ports, addresses)


def _labels(random: Random, vocabulary: dict[str, tuple[str, ...]]) -> dict[str, str]:
    return {key: random.choice(values) for key, values in vocabulary.items() if not _one_in(random, 4)}


def _one_in(random: Random, number: int) -> bool:
    return random.randrange(number) == number - 1
