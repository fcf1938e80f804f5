"""What a change of isolation would do, before it is done: who reaches whom, and how many flows hosts gain and lose.

It looks at networks, because isolation is a network's; what policies say besides is `policy_preview`'s business.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import count
from typing import NamedTuple

from controller.calc.concern import concern
from controller.calc.membership import members, view
from controller.calc.reach import Reach, reach
from controller.model import Change
from controller.pipeline.flow import Flow, Item
from controller.pipeline.program import Key, fragment
from controller.world import World


class Difference(NamedTuple):
    """Reachability that changes. `source` and `destination` are a network, or `TENANT/*` for all of a tenant's."""

    source: str
    destination: str
    after: Reach

    def __str__(self) -> str:
        """`acme/* -> beta/*: denied -> allowed, acme and beta are joined`."""
        change = "denied -> allowed" if self.after.allowed else "allowed -> denied"
        return f"{self.source} -> {self.destination}: {change}, {self.after.reason}"


class Flows(NamedTuple):
    """How many flows a host would gain and lose."""

    gained: int
    lost: int


def differences(old: World, new: World, changes: Iterable[Change]) -> Iterator[Difference]:
    """What changes of who reaches whom, by the names of the tenants; as they are asked for, there may be very many."""
    touched = _touched(old, new, changes)
    by_name = [tenant.id for tenant in sorted(new.tenants.values(), key=lambda tenant: tenant.name)]
    some = [id for id in by_name if id in touched]
    for source in by_name:
        for destination in by_name if source in touched else some:
            yield from _between(old, new, source, destination)


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


def _between(old: World, new: World, source: int, destination: int) -> Iterator[Difference]:
    """From one tenant's networks to another's, or to its own others; in one line where all change alike."""
    ends = [
        [network for network in new.networks_of_tenant.get(tenant, {}).values() if network.id in old.networks]
        for tenant in (source, destination)
    ]
    all_of = f"{new.tenants[destination].name}/*"
    rows: dict[str, list[Difference]] = {}
    unchanged = 0
    for one in sorted(ends[0], key=lambda network: network.name):
        for other in sorted(ends[1], key=lambda network: network.name):
            before = reach(old, old.networks[one.id], old.networks[other.id])
            after = reach(new, one, other)
            if before.allowed != after.allowed:
                rows.setdefault(one.name, []).append(Difference(one.name, other.name, after))
            elif one.id != other.id:
                unchanged += 1
    changed = [row for differences in rows.values() for row in differences]
    if source != destination and changed and not unchanged and len({row.after for row in changed}) == 1:
        yield Difference(f"{new.tenants[source].name}/*", all_of, changed[0].after)
        return
    for name, differences in rows.items():
        alike = len(differences) == len(ends[1]) and len({row.after for row in differences}) == 1
        yield from [Difference(name, all_of, differences[0].after)] if alike else differences
