"""What a rule's peers and services look like in a packet: the matches of which one must hold, on either side.

Whole tenants are matched by their number and everybody by nothing, so that a rule costs as many flows as it names
things, and not as many as there are endpoints. A port that is named is looked up at whoever is called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from controller.model import Block, Direction, DomainName, Members, Peer, Policy, Rule, Service, prefix_mask
from controller.pipeline.flow import Match
from controller.pipeline.packet import ip
from controller.pipeline.registers import (
    DESTINATION_IDENTITY,
    DESTINATION_TENANT,
    SERVICE,
    SOURCE_IDENTITY,
    SOURCE_TENANT,
    TENANT_WIDTH,
    is_identity,
    source_tenant,
)
from controller.selection import Identity, Use
from controller.world import World

Matches = tuple[Match, ...]


class Atom(NamedTuple):
    """One thing that a peer may be. `identity` and `tenant` say which one it is, when it is one of these; `inside`: it
    is part of what says that it is an endpoint, whichever."""

    match: Matches
    identity: Identity | None = None
    tenant: int | None = None
    inside: bool = False


ANYBODY = Atom(())


def tenant_of_subject(direction: Direction, tenant: int) -> Match:
    return source_tenant(tenant) if direction is Direction.EGRESS else Match(DESTINATION_TENANT, tenant)


def peers(world: World, policy: Policy, rule: Rule, direction: Direction) -> list[Atom]:
    """Each atom once, in a fixed order."""
    if rule.peers is None:
        return [ANYBODY]
    return list({atom.match: atom for peer in rule.peers for atom in _atoms(world, policy, peer, direction)}.values())


def _atoms(world: World, policy: Policy, peer: Peer, direction: Direction) -> Iterator[Atom]:
    match peer:
        case Block():
            for network, prefix in prefixes(peer):
                yield Atom(_block(peer.version, network, prefix, direction))
        case DomainName():
            for version, value in world.addresses_of(peer):
                yield Atom(_block(version, value, 32 if version == 4 else 128, direction))
        case Members((), ()):
            yield from _inside(direction)
        case Members(tenants, ()):
            numbers = [policy.tenant] if tenants is None else sorted(t.id for t in world.tenants_matching(tenants))
            for tenant in numbers:
                its = source_tenant(tenant) if direction is Direction.INGRESS else Match(DESTINATION_TENANT, tenant)
                yield Atom((its,), tenant=tenant)
        case Members(tenants, endpoints):
            use = Use(policy.tenant, tenants, endpoints)
            for identity in sorted(world.identities_of_use(use), key=lambda identity: identity.id):
                yield called_or_calling(identity, direction)


def _inside(direction: Direction) -> Iterator[Atom]:
    """All endpoints: who is outside, a host or a stranger on a physical segment, has no tenant, and so no bit of a
    tenant's number."""
    register = SOURCE_TENANT if direction is Direction.INGRESS else DESTINATION_TENANT
    for bit in range(TENANT_WIDTH):
        yield Atom((Match(register, 1 << bit, 1 << bit),), inside=True)


def called_or_calling(identity: Identity, direction: Direction) -> Atom:
    end = SOURCE_IDENTITY if direction is Direction.INGRESS else DESTINATION_IDENTITY
    return Atom(is_identity(end, identity.id), identity, identity.tenant)


def _block(version: int, network: int, prefix: int, direction: Direction) -> Matches:
    if prefix == 0:
        return (ip(version),)
    family, end = "ip" if version == 4 else "ipv6", "src" if direction is Direction.INGRESS else "dst"
    return ip(version), Match(f"{family}_{end}", network, prefix_mask(version, prefix))


def prefixes(block: Block) -> list[tuple[int, int]]:
    """The block without its exceptions, as the fewest (network, prefix) that cover just that."""
    bits = 32 if block.version == 4 else 128
    return list(_without(block.network, block.prefix, list(block.excepts), bits))


def _without(network: int, prefix: int, excepts: list[tuple[int, int]], bits: int) -> Iterator[tuple[int, int]]:
    inside = [(n, p) for n, p in excepts if p >= prefix and n >> (bits - prefix) == network >> (bits - prefix)]
    if not inside:
        yield network, prefix
    elif all(p > prefix for _, p in inside):
        for half in (network, network | 1 << (bits - prefix - 1)):
            yield from _without(half, prefix + 1, inside, bits)


def services(rule: Rule) -> list[Matches]:
    """The rule's services that are given by number; an empty match where it means everything."""
    if rule.services is None:
        return [()]
    found = {match: None for service in rule.services if not service.name for match in _numbers(service)}
    return [(match,) for match in found]


def _numbers(service: Service) -> Iterator[Match]:
    for first, size in ranges(service):
        yield Match(SERVICE, service.protocol << 16 | first, 0xFFFFFFFF ^ (size - 1))


def ranges(service: Service) -> Iterator[tuple[int, int]]:
    """A range of ports as the fewest (first, size) that one value and one mask each can say."""
    low, end = service.first, service.last + 1
    while low < end:
        size = low & -low or 1 << 16
        while low + size > end:
            size >>= 1
        yield low, size
        low += size


def named_ports(rule: Rule) -> frozenset[tuple[str, int]]:
    """Those that go by name, each with its protocol."""
    return frozenset((service.name, service.protocol) for service in rule.services or () if service.name)


def named_services(names: frozenset[tuple[str, int]], identity: Identity) -> list[Matches]:
    """What the named ports are at those of an identity."""
    its = (port for port in identity.ports if (port.name, port.protocol) in names)
    return [(Match(SERVICE, port.protocol << 16 | port.port),) for port in its]


def named_at_peers(world: World, names: frozenset[tuple[str, int]], atoms: list[Atom]) -> Iterator[Matches]:
    """Each peer together with what the named ports are there."""
    for atom in {ANYBODY if atom.inside else atom: None for atom in atoms} if names else ():
        own = () if atom.identity or atom.tenant else atom.match
        for identity in _identities(world, atom):
            for service in named_services(names, identity):
                yield *is_identity(DESTINATION_IDENTITY, identity.id), *own, *service


def _identities(world: World, atom: Atom) -> Iterable[Identity]:
    """Of whom it may be."""
    if atom.identity is not None:
        return [atom.identity]
    if atom.tenant is not None:
        return world.identities_of_tenant.get(atom.tenant, {}).values()
    return world.identities.values()
