"""What a change of policies would do, before it is done: which connections would be allowed or denied from then on.

Endpoints that no policy can tell apart are asked about once, and so are ports between two that some rule names; the
answers are those of `judge`, before and after. What isolation allows is `preview`'s business.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise, product
from typing import NamedTuple

from controller.calc.judge import PROTOCOLS, Asked, Decision, judge, within
from controller.calc.policy_concern import PolicyConcern
from controller.calc.reach import reach
from controller.model import GLOBAL_ZONE, Block, Change, Direction, Endpoint, Network, Rule
from controller.selection import Identity, rules, subject
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
            for service, after, reason in _turned(old, new, *pairs[0]) if pairs else ():
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
    """Endpoints of the identity, and whom isolation lets them talk to, in groups that no policy tells apart."""
    its = new.identities.get(identity)
    if its is None:
        return
    own = list(new.networks_of_tenant.get(its.tenant, {}).values())
    reached = {network.id: [n for n in _around(new, network) if reach(new, network, n).allowed] for network in own}
    tenants = {network.tenant for networks in reached.values() for network in networks} | {its.tenant, 0}
    blocks = list(
        dict.fromkeys(block for world in (old, new) for tenant in tenants for block in _blocks(world, tenant))
    )
    for subjects in _alike(new, own, blocks):
        if new.identity_of(subjects[0]).id == identity:
            for peers in _alike(new, reached[subjects[0].network], blocks):
                yield subjects, peers


def _blocks(world: World, tenant: int) -> Iterator[Block]:
    """That policies of the tenant, or of the cluster, name."""
    for policy in world.policies_of_tenant.get(tenant, {}).values():
        for rule in rules(policy):
            yield from (peer for peer in rule.peers or () if isinstance(peer, Block))


def _around(world: World, network: Network) -> Iterator[Network]:
    """Whatever the network may reach, and more."""
    if world.flat or network.zone == GLOBAL_ZONE:
        yield from world.networks.values()
        return
    found = {**world.networks_of_zone.get(network.zone, {}), **world.networks_of_zone.get(GLOBAL_ZONE, {})}
    for peer in world.peers(network.tenant):
        found.update(world.networks_of_tenant.get(peer, {}))
    yield from found.values()


def _alike(world: World, networks: Iterable[Network], blocks: list[Block]) -> list[list[Endpoint]]:
    """The networks' endpoints in groups of one network, one identity, and the same blocks."""
    groups: dict[tuple[object, ...], list[Endpoint]] = defaultdict(list)
    for network in networks:
        for endpoint in world.endpoints_of_network.get(network.id, {}).values():
            inside = tuple(_inside(block, endpoint) for block in blocks)
            versions = tuple(address.version for address in endpoint.addresses)
            groups[network.id, world.identity_of(endpoint).id, versions, inside].append(endpoint)
    return list(groups.values())


def _inside(block: Block, endpoint: Endpoint) -> bool:
    return any(a.version == block.version and within(block, a.value) for a in endpoint.addresses)


_Said = tuple[str, bool, str]  # the service in words, whether it is allowed from then on, and why
_Turned = dict[tuple[bool, str], dict[int, list[tuple[int, int]]]]  # by that: ranges of ports by protocol


def _turned(old: World, new: World, source: Endpoint, destination: Endpoint) -> list[_Said]:
    """The services whose connections are judged otherwise than before."""
    by_version: dict[int, _Turned] = {}
    ends = (Direction.EGRESS, new.identity_of(source)), (Direction.INGRESS, new.identity_of(destination))
    judging = [
        rule
        for world, (direction, its) in product((old, new), ends)
        for policy in {policy.id: policy for policy in world.policies_selecting(its)}.values()
        for rule in policy.rules(direction) or ()
    ]
    for version in {a.version for a in source.addresses} & {a.version for a in destination.addresses}:
        turned: _Turned = defaultdict(lambda: defaultdict(list))
        for protocol in (6, 17, 132, 1 if version == 4 else 58, _OTHERS):
            for first, last in _ranges(judging, protocol, ends[1][1]):
                asked = Asked(version, protocol, first)
                before, after = (judge(world, source, destination, asked) for world in (old, new))
                if before[-1].allowed != after[-1].allowed:
                    key = after[-1].allowed, _because(before, after)
                    _extend(turned[key][protocol], first, last)
        by_version[version] = turned
    return _in_words(by_version)


_OTHERS = 0
"""Stands for all protocols that no rule can name."""
_ALL = [(0, 0xFFFF)]


def _ranges(judging: list[Rule], protocol: int, called: Identity) -> Iterator[tuple[int, int]]:
    """All ports, cut wherever a rule begins or ends."""
    cuts = {0, 0x10000}
    for rule in judging:
        for service in rule.services or ():
            if service.protocol != protocol:
                continue
            port = called.port(service.name, protocol) if service.name else None
            if not service.name:
                cuts.update((service.first, service.last + 1))
            elif port is not None:
                cuts.update((port, port + 1))
    for first, end in pairwise(sorted(cuts)):
        yield first, end - 1


def _extend(found: list[tuple[int, int]], first: int, last: int) -> None:
    if found and found[-1][1] == first - 1:
        found[-1] = found[-1][0], last
    else:
        found.append((first, last))


def _because(before: list[Decision], after: list[Decision]) -> str:
    """Who denies now; or, of what was denied, who allows it now."""
    return after[-1].reason if not after[-1].allowed else after[len(before) - 1].reason


def _in_words(found: dict[int, _Turned]) -> list[_Said]:
    versions: dict[_Said, list[int]] = defaultdict(list)
    for version, turned in found.items():
        for (allowed, reason), by_protocol in turned.items():
            for service in _services(by_protocol):
                versions[service, allowed, reason].append(version)
    return [
        (
            service if len(of) == len(found) or service.startswith("icmp") else f"{service} over IPv{of[0]}",
            allowed,
            reason,
        )
        for (service, allowed, reason), of in versions.items()
    ]


def _services(by_protocol: dict[int, list[tuple[int, int]]]) -> Iterator[str]:
    if len(by_protocol) == 5 and all(ranges == _ALL for ranges in by_protocol.values()):
        yield "everything"
        return
    for protocol, ranges in by_protocol.items():
        name = PROTOCOLS.get(protocol, "other protocols")
        for first, last in ranges:
            if (first, last) == _ALL[0]:
                yield name
            elif protocol in (1, 58):
                yield f"{name}/{_message(first)}" if first == last else f"{name}/{_messages(first, last)}"
            else:
                yield f"{name}/{first}" if first == last else f"{name}/{first}-{last}"


def _message(number: int) -> str:
    return f"{number >> 8}:{number & 0xFF}"


def _messages(first: int, last: int) -> str:
    """Types where all of their codes are meant."""
    if first & 0xFF == 0 and last & 0xFF == 0xFF:
        return str(first >> 8) if first >> 8 == last >> 8 else f"{first >> 8}-{last >> 8}"
    return f"{_message(first)}-{_message(last)}"
