"""Which services of a connection are judged otherwise in one world than in another, and which ends need to be asked.

Endpoints that no policy can tell apart are asked about once, and so are ports between two that some rule names; the
answers are those of `judge`, before and after.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, product
from typing import NamedTuple

from controller.calc.judge import PROTOCOLS, Asked, Decision, judge, within
from controller.model import Block, Direction, DomainName, Endpoint, Network, Rule
from controller.selection import Identity, rules
from controller.world import World

EVERYTHING = "everything"

Addressed = Block | DomainName
"""What policies name by address, so that it tells endpoints apart."""


def addressed(worlds: Iterable[World], tenants: Iterable[int]) -> list[Addressed]:
    """The addresses that policies of the tenants, or of the cluster, name."""
    found: dict[Addressed, None] = {}
    for world, tenant in product(worlds, {0, *tenants}):
        for policy in world.policies_of_tenant.get(tenant, {}).values():
            for rule in rules(policy):
                found.update((peer, None) for peer in rule.peers or () if isinstance(peer, Addressed))
    return list(found)


def alike(worlds: Sequence[World], networks: Iterable[Network], by_address: list[Addressed]) -> list[list[Endpoint]]:
    """The networks' endpoints in groups of one network, one identity, and the same addresses as policies see them, in
    each of the worlds; as the last one has them, without those that some world has not."""
    groups: dict[tuple[object, ...], list[Endpoint]] = defaultdict(list)
    for network in networks:
        for id, endpoint in worlds[-1].endpoints_of_network.get(network.id, {}).items():
            if all(id in world.endpoints for world in worlds):
                groups[tuple(likeness(w, w.endpoints[id], by_address) for w in worlds)].append(endpoint)
    return list(groups.values())


def likeness(world: World, endpoint: Endpoint, by_address: list[Addressed]) -> tuple[object, ...]:
    """What endpoints have in common that are alike."""
    inside = tuple(_is(world, one, endpoint) for one in by_address)
    versions = tuple(address.version for address in endpoint.addresses)
    return endpoint.network, world.identity_of(endpoint).id, versions, inside


def _is(world: World, one: Addressed, endpoint: Endpoint) -> bool:
    if isinstance(one, DomainName):
        return not {(a.version, a.value) for a in endpoint.addresses}.isdisjoint(world.addresses_of(one))
    return any(a.version == one.version and within(one, a.value) for a in endpoint.addresses)


class Said(NamedTuple):
    """A service in words, whether it is allowed, and why; `asked` is a connection of it, None where none can be asked
    about."""

    service: str
    allowed: bool
    reason: str
    asked: Asked | None


_Ranges = dict[int, list[tuple[int, int]]]  # of ports, by protocol
_Found = dict[int, dict[tuple[bool, str], _Ranges]]  # by version, then by what is said


def turned(old: World, new: World, source: Endpoint, destination: Endpoint) -> list[Said]:
    """The services whose connections are judged otherwise than before."""
    found: _Found = {}
    for asked, last, (before, after) in _judged((old, new), source, destination):
        of = found.setdefault(asked.version, defaultdict(lambda: defaultdict(list)))
        if before[-1].allowed != after[-1].allowed:
            key = after[-1].allowed, _because(before, after)
            _extend(of[key][asked.protocol], asked.port, last)
    return _in_words(found)


def opened(world: World, source: Endpoint, destination: Endpoint) -> list[Said]:
    """What is said of every service; none where the two have no address family in common."""
    found: _Found = {}
    for asked, last, (said,) in _judged((world,), source, destination):
        of = found.setdefault(asked.version, defaultdict(lambda: defaultdict(list)))
        _extend(of[said[-1].allowed, why(said)][asked.protocol], asked.port, last)
    return _in_words(found)


def why(said: list[Decision]) -> str:
    """Who denies; or which policies allow, and if none has to, why isolation does."""
    if not said[-1].allowed:
        return said[-1].reason
    return " and ".join(one.reason for one in said if one.policy is not None) or f"as {said[0].reason}"


_Answer = tuple[Asked, int, list[list[Decision]]]


def _judged(worlds: tuple[World, ...], source: Endpoint, destination: Endpoint) -> Iterator[_Answer]:
    """A connection to the first of each range of ports that all rules treat alike, the last of the range, and what each
    world says of it."""
    ends = [(_in(world, source), _in(world, destination)) for world in worlds]
    called = [world.identity_of(destination) for world, (_, destination) in zip(worlds, ends, strict=True)]
    judging = [
        rule
        for world, its in zip(worlds, ends, strict=True)
        for direction, end in zip((Direction.EGRESS, Direction.INGRESS), its, strict=True)
        for policy in {policy.id: policy for policy in world.policies_selecting(world.identity_of(end))}.values()
        for rule in policy.rules(direction) or ()
    ]
    versions = [{address.version for address in end.addresses} for its in ends for end in its]
    for version in set.intersection(*versions):
        for protocol in (6, 17, 132, 1 if version == 4 else 58, _OTHERS):
            for first, last in _ranges(judging, protocol, called):
                asked = Asked(version, protocol, first)
                yield asked, last, [judge(world, *its, asked) for world, its in zip(worlds, ends, strict=True)]


def _in(world: World, endpoint: Endpoint) -> Endpoint:
    """The endpoint as that world has it: its labels, ports and host may be others in the next."""
    return world.endpoints.get(endpoint.id, endpoint)


_OTHERS = 0
"""Stands for all protocols that no rule can name."""
_ALL = [(0, 0xFFFF)]


def _ranges(judging: list[Rule], protocol: int, called: list[Identity]) -> Iterator[tuple[int, int]]:
    """All ports, cut wherever a rule begins or ends, for whichever of the identities is called."""
    cuts = {0, 0x10000}
    for rule in judging:
        for service in rule.services or ():
            if service.protocol != protocol:
                continue
            if not service.name:
                cuts.update((service.first, service.last + 1))
                continue
            for port in [its.port(service.name, protocol) for its in called]:
                cuts.update(() if port is None else (port, port + 1))
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


def _in_words(found: _Found) -> list[Said]:
    versions: dict[tuple[str, bool, str], dict[int, Asked | None]] = defaultdict(dict)
    for version, said in found.items():
        for (allowed, reason), by_protocol in said.items():
            for service, protocol, port in _services(by_protocol):
                asked = None if protocol == _OTHERS or port is None else Asked(version, protocol, port)
                versions[service, allowed, reason][version] = asked
    return [
        Said(
            service if len(of) == len(found) or service.startswith("icmp") else f"{service} over IPv{next(iter(of))}",
            allowed,
            reason,
            next(iter(of.values())),
        )
        for (service, allowed, reason), of in versions.items()
    ]


def _services(by_protocol: _Ranges) -> Iterator[tuple[str, int, int | None]]:
    """Each service in words, with its protocol and one of its ports; 0 is no port, except with ICMP."""
    if len(by_protocol) == 5 and all(ranges == _ALL for ranges in by_protocol.values()):
        yield EVERYTHING, 6, 1
        return
    for protocol, ranges in by_protocol.items():
        name = PROTOCOLS.get(protocol, "other protocols")
        for first, last in ranges:
            if protocol in (1, 58):
                messages = _message(first) if first == last else _messages(first, last)
                yield name if (first, last) == _ALL[0] else f"{name}/{messages}", protocol, first
                continue
            port = first or min(last, 1) or None
            if (first, last) == _ALL[0]:
                yield name, protocol, port
            else:
                yield f"{name}/{first}" if first == last else f"{name}/{first}-{last}", protocol, port


def _message(number: int) -> str:
    return f"{number >> 8}:{number & 0xFF}"


def _messages(first: int, last: int) -> str:
    """Types where all of their codes are meant."""
    if first & 0xFF == 0 and last & 0xFF == 0xFF:
        return str(first >> 8) if first >> 8 == last >> 8 else f"{first >> 8}-{last >> 8}"
    return f"{_message(first)}-{_message(last)}"
