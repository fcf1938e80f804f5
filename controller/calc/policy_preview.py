"""What a change of policies, or of whom they mean, would do, before it is done: which connections would be allowed or
denied from then on.

Where isolation is another than before, `preview` tells it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import product
from typing import NamedTuple

from controller.calc.policy_concern import PolicyConcern
from controller.calc.preview import Effort, judges_identity
from controller.calc.reach import reach
from controller.calc.turned import addressed, alike, turned
from controller.model import GLOBAL_ZONE, Change, Direction, Endpoint, Network
from controller.selection import subject
from controller.transport import transport
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


def openings(old: World, new: World, changes: Iterable[Change], effort: Effort) -> Iterator[Opening]:
    """By the names of the endpoints; as they are asked for, there may be very many. Endpoints that are not the same as
    before are judged with all others as far as there is effort for it."""
    changes = list(changes)
    affected, turning = _affected(old, new, changes), _turning(old, new, changes)
    tenants = {world.identities[id].tenant for world in (old, new) for _, id in affected if id in world.identities}
    tenants |= {new.networks[new.endpoints[id].network].tenant for id in turning}
    found: dict[tuple[str, str], dict[Opening, None]] = defaultdict(dict)
    for tenant in sorted(tenants & new.tenants.keys()):
        for direction, subjects, peers in _groups(old, new, tenant, affected, turning):
            sources, destinations = (subjects, peers) if direction is Direction.EGRESS else (peers, subjects)
            known = (direction, new.identity_of(subjects[0]).id) in affected
            for near, pairs in _by_nearness(old, new, product(sources, destinations)).items():
                one = pairs[0]
                if not known and near[0] == near[1] and not (_judged((old, new), *one) and effort.allows(1)):
                    continue
                for service, after, reason, _ in turned(old, new, *one):
                    for source, destination in pairs:
                        ends = source.name, destination.name
                        found[ends][Opening(*ends, service, after, reason)] = None
    for ends in sorted(found):
        yield from found[ends]


_Pair = tuple[Endpoint, Endpoint]


def _by_nearness(old: World, new: World, pairs: Iterable[_Pair]) -> dict[tuple[bool, bool], list[_Pair]]:
    """The pairs by whether transports let them talk, before and after."""
    found: dict[tuple[bool, bool], list[_Pair]] = defaultdict(list)
    for one, other in pairs:
        if one.id != other.id:
            found[_near(old, one, other), _near(new, one, other)].append((one, other))
    return found


def _near(world: World, *ends: Endpoint) -> bool:
    """Whether neither keeps to its host, or they are on the same one."""
    one, other = (world.endpoints[end.id] for end in ends)
    return one.host == other.host or (_leaves(world, one.network) and _leaves(world, other.network))


def _leaves(world: World, network: int) -> bool:
    return transport(world.networks[network].transport).leaves_host


def _judged(worlds: tuple[World, World], source: Endpoint, destination: Endpoint) -> bool:
    """Whether a policy, or a default, may deny something between the two in one of the worlds."""
    ends = (Direction.EGRESS, source.id), (Direction.INGRESS, destination.id)
    return any(
        judges_identity(world, world.identity_of(world.endpoints[id]), direction)
        for world, (direction, id) in product(worlds, ends)
    )


def _turning(old: World, new: World, changes: Iterable[Change]) -> set[int]:
    """Endpoints that policies, or transports, may take for others than before."""
    found: set[int] = set()
    for change in changes:
        tables = (old.endpoints, new.endpoints) if change.noun == "endpoint" else (old.networks, new.networks)
        if change.noun not in ("endpoint", "network") or not all(change.id in table for table in tables):
            continue
        if change.noun == "network":
            if _leaves(old, change.id) != _leaves(new, change.id):
                found |= old.endpoints_of_network.get(change.id, {}).keys()
            continue
        was, now = old.endpoints[change.id], new.endpoints[change.id]
        if (was.labels, was.ports, was.addresses, was.host) != (now.labels, now.ports, now.addresses, now.host):
            found.add(change.id)
    return found & new.endpoints.keys()


def _affected(old: World, new: World, changes: Iterable[Change]) -> set[tuple[Direction, int]]:
    """Identities of which other things may be said than before, and in which direction."""
    concern = PolicyConcern(old, new)
    affected: set[tuple[Direction, int]] = set()
    for change in changes:
        if change.noun == "policy":
            concern.policy(change.id)
        elif change.noun == "name":
            concern.name(change.id)
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


def _groups(
    old: World, new: World, tenant: int, affected: set[tuple[Direction, int]], turning: set[int]
) -> Iterator[tuple[Direction, list[Endpoint], list[Endpoint]]]:
    """Endpoints of the tenant that have to be asked about, and whom isolation lets them talk to and did, in groups that
    no policy tells apart."""
    own = list(new.networks_of_tenant.get(tenant, {}).values())

    @cache
    def reached(network: int) -> list[Network]:
        its = new.networks[network]
        return [n for n in around(new, its) if reach(new, its, n).allowed and _reached(old, network, n.id)]

    tenants = {network.tenant for one in own for network in reached(one.id)} | {tenant}
    by_address = addressed((old, new), tenants)

    @cache
    def peers(network: int) -> list[list[Endpoint]]:
        return alike((old, new), reached(network), by_address)

    for subjects in alike((old, new), own, by_address):
        identity = new.identity_of(subjects[0]).id
        turns = any(endpoint.id in turning for endpoint in subjects)
        for direction in Direction:
            if turns or (direction, identity) in affected:
                for group in peers(subjects[0].network):
                    yield direction, subjects, group


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
