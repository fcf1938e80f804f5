"""What a change of policies would do, before it is done: which connections would be allowed or denied from then on.

Where isolation is another than before, `preview` tells it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import product
from typing import NamedTuple

from controller.calc.policy_concern import PolicyConcern
from controller.calc.reach import reach
from controller.calc.turned import addressed, alike, turned
from controller.model import GLOBAL_ZONE, Change, Direction, Endpoint, Network
from controller.selection import subject
from controller.world import World


class Opening(NamedTuple):
    """Connections that come to be allowed, or cease to be. `service` reads like `tcp/5432`, `udp`, `everything`."""

    source: str
    destination: str
    service: str
    allowed: bool
    reason: str

    def __str__(self) -> str:
        """`acme/web1 -> acme/db1 tcp/5432: allowed -> denied by policy acme/lockdown: no ingress rule allows it`."""
        change = "denied -> allowed" if self.allowed else "allowed -> denied"
        return f"{self.source} -> {self.destination} {self.service}: {change} {self.reason}"


def openings(old: World, new: World, changes: Iterable[Change]) -> Iterator[Opening]:
    """By the names of the endpoints; as they are asked for, there may be very many."""
    found: dict[tuple[str, str], dict[Opening, None]] = defaultdict(dict)
    for direction, identity in sorted(_affected(old, new, changes)):
        for subjects, peers in _pairs(old, new, direction, identity):
            sources, destinations = (subjects, peers) if direction is Direction.EGRESS else (peers, subjects)
            pairs = [(one, other) for one, other in product(sources, destinations) if one.id != other.id]
            for service, after, reason, _ in turned(old, new, *pairs[0]) if pairs else ():
                for source, destination in pairs:
                    ends = source.name, destination.name
                    found[ends][Opening(*ends, service, after, reason)] = None
    for ends in sorted(found):
        yield from found[ends]


def _affected(old: World, new: World, changes: Iterable[Change]) -> set[tuple[Direction, int]]:
    """Identities of which other things may be said than before, and in which direction."""
    concern = PolicyConcern(old, new)
    affected: set[tuple[Direction, int]] = set()
    for change in changes:
        if change.noun == "policy":
            concern.policy(change.id)
        elif change.noun == "tenant" and change.id in old.tenants and change.id in new.tenants:
            was, now = old.tenants[change.id], new.tenants[change.id]
            concern.tenant(was, now)
            for direction in was.default_deny ^ now.default_deny:
                affected.update((direction, identity) for identity in new.identities_of_tenant.get(change.id, ()))
    for id, world in product(concern.policies, (old, new)):
        policy = world.policies.get(id)
        for identity in world.identities_of_use(subject(policy)) if policy else ():
            affected.update((way, identity.id) for way in Direction if policy and policy.rules(way) is not None)
    return affected


def _pairs(
    old: World, new: World, direction: Direction, identity: int
) -> Iterator[tuple[list[Endpoint], list[Endpoint]]]:
    """Endpoints of the identity, and whom isolation lets them talk to and did, in groups that no policy tells apart."""
    its = new.identities.get(identity)
    if its is None:
        return
    own = list(new.networks_of_tenant.get(its.tenant, {}).values())
    reached = {
        network.id: [
            n for n in around(new, network) if reach(new, network, n).allowed and _reached(old, network.id, n.id)
        ]
        for network in own
    }
    tenants = {network.tenant for networks in reached.values() for network in networks} | {its.tenant}
    by_address = addressed((old, new), tenants)
    for subjects in alike(new, own, by_address):
        if new.identity_of(subjects[0]).id == identity:
            for peers in alike(new, reached[subjects[0].network], by_address):
                yield subjects, peers


def _reached(world: World, one: int, other: int) -> bool:
    networks = world.networks
    return one in networks and other in networks and reach(world, networks[one], networks[other]).allowed


def around(world: World, network: Network) -> Iterator[Network]:
    """Whatever the network may reach, and more."""
    if world.flat or network.zone == GLOBAL_ZONE:
        yield from world.networks.values()
        return
    found = {**world.networks_of_zone.get(network.zone, {}), **world.networks_of_zone.get(GLOBAL_ZONE, {})}
    for peer in world.peers(network.tenant):
        found.update(world.networks_of_tenant.get(peer, {}))
    yield from found.values()
