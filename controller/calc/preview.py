"""What a change of isolation would do, before it is done: who reaches whom, and how many flows hosts gain and lose.

It looks at networks, because isolation is a network's, and into them only where policies deny some of what isolation
allows before or after. What changes because policies do is `policy_preview`'s business.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import count, product
from typing import NamedTuple

from controller.calc.concern import concern
from controller.calc.membership import members, view
from controller.calc.reach import Reach, reach
from controller.calc.turned import EVERYTHING, addressed, alike, turned
from controller.model import Change, Direction, Endpoint, Network, Tier
from controller.pipeline.flow import Flow, Item
from controller.pipeline.program import Key, fragment
from controller.selection import Identity
from controller.world import World


class Difference(NamedTuple):
    """Reachability that changes. `source` and `destination` are a network, or `TENANT/*` for all of a tenant's.

    Where policies deny some of it, `service` says what is left (as in `turned`), and the ends may also be an endpoint,
    or `TENANT/NETWORK/*` for all of a network's.
    """

    source: str
    destination: str
    after: Reach
    service: str | None = None

    def __str__(self) -> str:
        """`acme/* -> beta/*: denied -> allowed, acme and beta are joined`."""
        change = "denied -> allowed" if self.after.allowed else "allowed -> denied"
        service = f" {self.service}" if self.service else ""
        return f"{self.source} -> {self.destination}{service}: {change}, {self.after.reason}"


class Flows(NamedTuple):
    """How many flows a host would gain and lose."""

    gained: int
    lost: int


class Effort:
    """How many connections between groups of endpoints may still be judged: it takes a millisecond for each. `spent`
    when some were not, and so not told."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.spent = False

    def allows(self, number: int) -> bool:
        if number > self.left:
            self.spent = True
            return False
        self.left -= number
        return True


def differences(old: World, new: World, changes: Iterable[Change], effort: Effort) -> Iterator[Difference]:
    """What changes of who reaches whom, by the names of the tenants; as they are asked for, there may be very many."""
    touched = _touched(old, new, changes)
    by_name = [tenant.id for tenant in sorted(new.tenants.values(), key=lambda tenant: tenant.name)]
    some = [id for id in by_name if id in touched]
    for source in by_name:
        for destination in by_name if source in touched else some:
            yield from _between(old, new, source, destination, effort)


def flows(old: World, new: World, changes: Iterable[Change]) -> dict[int, Flows]:
    """For each host whose program changes, by its id. Compiles only what the change concerns, as the engine would."""
    concerned = concern(old, new, changes)
    hosts = old.hosts.keys() & new.hosts.keys()
    looks = concerned.looks(old, new, hosts)
    # Each flow is compared by a number of its own: it is looked at on many hosts, and takes long to hash.
    numbers: defaultdict[Item, int] = defaultdict(count().__next__)

    @cache
    def compiled(is_new: bool, key: Key) -> frozenset[int]:
        return frozenset(numbers[item] for item in fragment(new if is_new else old, key) if isinstance(item, Flow))

    found: dict[int, Flows] = {}
    for host in sorted(looks.keys() | concerned.reviewed & hosts):
        if host in concerned.reviewed:
            before, after = members(old, host), members(new, host)
        else:
            before, after = (set(filter(view(world, host).carries, looks[host])) for world in (old, new))
        was: set[int] = set()
        now: set[int] = set()
        same = (before & after) - concerned.rewritten
        for key in before - same:
            was |= compiled(False, key)
        for key in after - same:
            now |= compiled(True, key)
        if was != now:
            found[host] = Flows(len(now - was), len(was - now))
    return found


def _touched(old: World, new: World, changes: Iterable[Change]) -> set[int]:
    """The tenants that may reach, or be reached by, others than before."""
    touched: set[int] = set()
    for change in changes:
        for world in (old, new):
            match change.noun:
                case "cluster" if old.flat != new.flat:
                    touched.update(world.tenants)
                case "tenant":
                    touched.add(change.id)
                case "network" if change.id in world.networks:
                    touched.add(world.networks[change.id].tenant)
                case "peering" if change.id in world.peerings:
                    touched.update(world.peerings[change.id].tenants)
    return touched


class _Pair(NamedTuple):
    """Two networks between which isolation changes: what turns for each two endpoints of them. `services` is what it
    is for all alike, None where they differ."""

    after: Reach
    services: tuple[str, ...] | None
    source: str
    destination: str
    ends: tuple[dict[str, int], dict[str, int]]  # group by the name of the endpoint, sorted
    said: dict[tuple[int, int], tuple[str, ...] | None]  # by groups; None where nothing can be asked

    def rows(self) -> Iterator[Difference]:
        if self.services is not None:
            yield from self.between(self.source, self.destination)
            return
        same = self._same(0), self._same(1)
        words = [
            sum(1 if same[side][group] is not None else len(self.ends[1 - side]) for group in self.ends[side].values())
            for side in (0, 1)
        ]
        # One end by its endpoints, whichever needs fewer words; of the other the network where it makes no difference.
        near = 0 if words[0] < words[1] else 1
        network = (self.destination, self.source)[near]
        for name, group in self.ends[near].items():
            if (its := same[near][group]) is not None:
                yield from self._turns(near, name, f"{network}/*", its)
                continue
            for other, its_group in self.ends[1 - near].items():
                groups = (group, its_group) if near == 0 else (its_group, group)
                yield from self._turns(near, name, other, self.said[groups] or ())

    def between(self, source: str, destination: str) -> Iterator[Difference]:
        """Between all of both, in the names of networks or of tenants."""
        if self.services == (EVERYTHING,):
            yield Difference(source, destination, self.after)
        else:
            one, other = (name if name.endswith("/*") else f"{name}/*" for name in (source, destination))
            yield from self._turns(0, one, other, self.services or ())

    def _turns(self, side: int, name: str, other: str, services: tuple[str, ...]) -> Iterator[Difference]:
        """`name` is at that side."""
        ends = (name, other) if side == 0 else (other, name)
        return (Difference(*ends, self.after, service) for service in services)

    def _same(self, side: int) -> dict[int, tuple[str, ...] | None]:
        """What turns for a group at one end, if it is the same with all of the other end."""
        by_group: defaultdict[int, set[tuple[str, ...]]] = defaultdict(set)
        for groups, its in self.said.items():
            by_group[groups[side]].update(() if its is None else (its,))
        return {group: None if len(its) > 1 else next(iter(its), ()) for group, its in by_group.items()}


def _between(old: World, new: World, source: int, destination: int, effort: Effort) -> Iterator[Difference]:
    """What changes from one tenant's networks to another's, or among its own; in one line where all change alike."""
    ends = [
        [network for network in new.networks_of_tenant.get(tenant, {}).values() if network.id in old.networks]
        for tenant in (source, destination)
    ]
    all_of = f"{new.tenants[destination].name}/*"
    rows: dict[str, list[_Pair]] = {}
    unchanged = 0
    for one in sorted(ends[0], key=lambda network: network.name):
        for other in sorted(ends[1], key=lambda network: network.name):
            before = reach(old, old.networks[one.id], old.networks[other.id])
            after = reach(new, one, other)
            if before.allowed != after.allowed:
                rows.setdefault(one.name, []).append(_pair(old, new, one, other, after, effort))
            elif one.id != other.id:
                unchanged += 1
    changed = [pair for pairs in rows.values() for pair in pairs]
    if source != destination and changed and not unchanged and _all_alike(changed):
        yield from changed[0].between(f"{new.tenants[source].name}/*", all_of)
        return
    for name, pairs in rows.items():
        if len(pairs) == len(ends[1]) and _all_alike(pairs):
            yield from pairs[0].between(name, all_of)
        else:
            for pair in pairs:
                yield from pair.rows()


def _all_alike(pairs: list[_Pair]) -> bool:
    return pairs[0].services is not None and len({(pair.after, pair.services) for pair in pairs}) == 1


def _pair(old: World, new: World, one: Network, other: Network, after: Reach, effort: Effort) -> _Pair:
    """What policies leave of it, those of the world in which isolation allows it; nothing is told without effort."""
    allowing = new if after.allowed else old
    if not (judges(allowing, one, Direction.EGRESS) or judges(allowing, other, Direction.INGRESS)):
        return _Pair(after, (EVERYTHING,), one.name, other.name, ({}, {}), {})
    unknown = _Pair(after, None, one.name, other.name, ({}, {}), {})
    if not effort.allows(1):
        return unknown
    by_address = addressed((allowing,), (one.tenant, other.tenant))
    groups = [alike((old, new), [network], by_address) for network in (one, other)]
    if not effort.allows(len(groups[0]) * len(groups[1])):
        return unknown
    said: dict[tuple[int, int], tuple[str, ...] | None] = {}
    for (i, sources), (j, destinations) in product(enumerate(groups[0]), enumerate(groups[1])):
        asked = sources[0], destinations[0]
        its = tuple(said.service for said in turned(old, new, *asked)) if may_talk(*asked) else None
        said[i, j] = its
    told = {its for its in said.values() if its is not None}
    services = None if len(told) > 1 else next(iter(told), (EVERYTHING,))
    ends = [dict(sorted((e.name, i) for i, of in enumerate(side) for e in of)) for side in groups]
    return _Pair(after, services, one.name, other.name, (ends[0], ends[1]), said)


def may_talk(one: Endpoint, other: Endpoint) -> bool:
    return not {a.version for a in one.addresses}.isdisjoint(a.version for a in other.addresses)


def judges(world: World, network: Network, direction: Direction) -> bool:
    """Whether a policy may deny something to an endpoint of the network."""
    if direction in world.tenants[network.tenant].default_deny:
        return True
    identities = {world.identity_of(e) for e in world.endpoints_of_network.get(network.id, {}).values()}
    return any(judges_identity(world, identity, direction) for identity in identities)


def judges_identity(world: World, identity: Identity, direction: Direction) -> bool:
    """Whether a policy, or the tenant's default, may deny something to endpoints of the identity."""
    return direction in world.tenants[identity.tenant].default_deny or any(
        policy.tier is not Tier.FIREWALL and policy.rules(direction) is not None
        for policy in world.policies_selecting(identity)
    )
