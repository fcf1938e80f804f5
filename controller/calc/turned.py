"""Which services of a connection are judged otherwise in one world than in another, and which ends need to be asked.

Endpoints that no policy can tell apart are asked about once, and so are ports between two that some rule names; the
answers are those of `judge`, before and after.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise, product

from controller.calc.judge import PROTOCOLS, Asked, Decision, judge, within
from controller.model import Block, Direction, DomainName, Endpoint, Network, Rule
from controller.selection import Identity, rules
from controller.world import World

EVERYTHING = "everything"

Addressed = Block | DomainName
"""What policies name by address, so that it tells endpoints apart."""


def addressed(worlds: Iterable[World], tenants: Iterable[int]) -> list[Addressed]:
    """That policies of the tenants, or of the cluster, name."""
    found: dict[Addressed, None] = {}
    for world, tenant in product(worlds, {0, *tenants}):
        for policy in world.policies_of_tenant.get(tenant, {}).values():
            for rule in rules(policy):
                found.update((peer, None) for peer in rule.peers or () if isinstance(peer, Addressed))
    return list(found)


def alike(world: World, networks: Iterable[Network], by_address: list[Addressed]) -> list[list[Endpoint]]:
    """The networks' endpoints in groups of one network, one identity, and the same addresses as policies see them."""
    groups: dict[tuple[object, ...], list[Endpoint]] = defaultdict(list)
    for network in networks:
        for endpoint in world.endpoints_of_network.get(network.id, {}).values():
            inside = tuple(_is(world, one, endpoint) for one in by_address)
            versions = tuple(address.version for address in endpoint.addresses)
            groups[network.id, world.identity_of(endpoint).id, versions, inside].append(endpoint)
    return list(groups.values())


def _is(world: World, one: Addressed, endpoint: Endpoint) -> bool:
    if isinstance(one, DomainName):
        return not {(a.version, a.value) for a in endpoint.addresses}.isdisjoint(world.addresses_of(one))
    return any(a.version == one.version and within(one, a.value) for a in endpoint.addresses)


Said = tuple[str, bool, str]
"""A service in words, whether it is allowed from then on, and why."""
_Turned = dict[tuple[bool, str], dict[int, list[tuple[int, int]]]]  # by that: ranges of ports by protocol


def turned(old: World, new: World, source: Endpoint, destination: Endpoint) -> list[Said]:
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
        found: _Turned = defaultdict(lambda: defaultdict(list))
        for protocol in (6, 17, 132, 1 if version == 4 else 58, _OTHERS):
            for first, last in _ranges(judging, protocol, ends[1][1]):
                asked = Asked(version, protocol, first)
                before, after = (judge(world, source, destination, asked) for world in (old, new))
                if before[-1].allowed != after[-1].allowed:
                    key = after[-1].allowed, _because(before, after)
                    _extend(found[key][protocol], first, last)
        by_version[version] = found
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


def _in_words(found: dict[int, _Turned]) -> list[Said]:
    versions: dict[Said, list[int]] = defaultdict(list)
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
        yield EVERYTHING
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
