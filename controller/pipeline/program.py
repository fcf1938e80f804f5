"""The program of a host: every flow and group that its bridge should have, put together from fragments.

A *fragment* is the flows and buckets of groups that follow from one object (an endpoint, a network, another host ...).
It does not depend on the host that carries it, so it is computed once for all of them. Which fragments a host carries
is `calc.membership`'s business; this module knows only what is in each. `program` is the definition: however flows are
computed step by step elsewhere, the result must equal it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum, unique
from typing import NamedTuple

from controller.model import Host
from controller.pipeline import (
    admit,
    allowed,
    answer,
    broadcast,
    classify,
    conntrack,
    firewall,
    gateway,
    guard,
    hearing,
    normalize,
    output,
    policy,
    resolver,
    route,
)
from controller.pipeline.flow import Bucket, Flow, Item
from controller.transport import TRANSPORTS, transport, vlan
from controller.transport.transport import Transport
from controller.world import World


@unique
class Part(IntEnum):
    """What a fragment is about; the comment says what `Key.id` is."""

    BASE = 0  # always 0
    HOST = 1  # a host's id: what every bridge says of it, its own included
    PEER = 2  # a host's id: what every other bridge says of it
    SELF = 14  # a host's id: what its own bridge says of it
    NEAR = 15  # a host's id: what other bridges on its segment say of it
    TENANT = 3
    NETWORK = 4
    ZONE = 5  # the zone's number
    LOCAL = 6  # an endpoint's id, on the host that holds it
    REMOTE = 7  # an endpoint's id, on every other host that needs it
    PEERING = 8
    SUBJECT = 9  # an identity's number, on hosts that hold it, when a policy may be about it
    POLICY = 10
    BINDING = 11  # `bound(policy, identity)`, on hosts that hold the identity
    FIREWALL = 12  # a tenant's id, on hosts that hold the tenant
    HEARING = 13  # likewise
    SEGMENT = 16  # a physical segment's number, on every host
    ANNOUNCED = 17  # `bound(network, host)`, on the host, of a network on a physical segment
    BROADCAST = 18  # a network's id, on hosts that hold endpoints of it, if it broadcasts
    ELSEWHERE = 19  # `bound(network, host)`, on the other ones of those hosts
    MESH = 20  # an endpoint's id, on all hosts but its own, if all publish it


class Key(NamedTuple):
    part: Part
    id: int


def bound(one: int, other: int) -> int:
    """One number for two, of which the second has at most 64 bits: a policy and an identity that it selects, a network
    and a host."""
    return one << 64 | other


def unbound(id: int) -> tuple[int, int]:
    return id >> 64, id & (1 << 64) - 1


_Maker = Callable[[World, int], Iterable[Item]]


def _base(*makers: Callable[[World], list[Flow]]) -> tuple[_Maker, ...]:
    return tuple((lambda world, _id, make=make: make(world)) for make in makers)


def _host(*makers: Callable[[World, Host], list[Flow]]) -> tuple[_Maker, ...]:
    return tuple((lambda world, id, make=make: make(world, world.hosts[id])) for make in makers)


_MAKERS: Mapping[Part, tuple[_Maker, ...]] = {
    Part.BASE: _base(
        *(
            classify.base,
            resolver.base,
            guard.base,
            answer.base,
            conntrack.base,
            route.base,
            admit.base,
            broadcast.base,
        ),
        *(gateway.base, firewall.base, normalize.base, policy.base, output.base),
        *(its.base for its in TRANSPORTS.values()),
    ),
    Part.HOST: (lambda world, id: guard.host(world, world.hosts[id]),),
    Part.PEER: (
        lambda world, id: classify.peer(world, world.hosts[id]),
        lambda world, id: output.peer(world, world.hosts[id]),
    ),
    Part.SELF: _host(*(its.itself for its in TRANSPORTS.values())),
    Part.NEAR: _host(*(its.near for its in TRANSPORTS.values())),
    Part.TENANT: (lambda world, id: conntrack.tenant(world, world.tenants[id]),),
    Part.NETWORK: (
        lambda world, id: classify.network(world, world.networks[id]),
        lambda world, id: answer.network(world, world.networks[id]),
        lambda world, id: route.network(world, world.networks[id]),
        lambda world, id: gateway.network(world, world.networks[id]),
        lambda world, id: admit.network(world, world.networks[id]),
        lambda world, id: transport(world.networks[id].transport).network(world, world.networks[id]),
    ),
    Part.ZONE: (admit.zone,),
    Part.PEERING: (lambda world, id: admit.peering(world, world.peerings[id]),),
    Part.LOCAL: (
        lambda world, id: classify.local(world, world.endpoints[id]),
        lambda world, id: guard.local(world, world.endpoints[id]),
        lambda world, id: answer.local(world, world.endpoints[id]),
        lambda world, id: answer.endpoint(world, world.endpoints[id]),
        lambda world, id: resolver.local(world, world.endpoints[id]),
        lambda world, id: gateway.local(world, world.endpoints[id]),
        lambda world, id: route.local(world, world.endpoints[id]),
        lambda world, id: _carried(world, id).local(world, world.endpoints[id]),
        lambda world, id: allowed.local(world, world.endpoints[id]),
        lambda world, id: broadcast.local(world, world.endpoints[id]),
    ),
    Part.REMOTE: (
        lambda world, id: answer.endpoint(world, world.endpoints[id]),
        lambda world, id: route.remote(world, world.endpoints[id]),
        lambda world, id: normalize.remote(world, world.endpoints[id]),
        lambda world, id: allowed.remote(world, world.endpoints[id]),
        lambda world, id: broadcast.remote(world, world.endpoints[id]),
    ),
    Part.MESH: (lambda world, id: gateway.elsewhere(world, world.endpoints[id]),),
    Part.SUBJECT: (
        lambda world, id: conntrack.subject(world, world.identities[id]),
        lambda world, id: policy.isolation(world, world.identities[id]),
    ),
    Part.FIREWALL: (lambda world, id: firewall.tenant(world, world.tenants[id]),),
    Part.HEARING: (lambda world, id: hearing.tenant(world, world.tenants[id]),),
    Part.SEGMENT: (vlan.segment,),
    Part.ANNOUNCED: (lambda world, id: _announced(world, *unbound(id)),),
    Part.POLICY: (lambda world, id: policy.clauses(world, world.policies[id]),),
    Part.BINDING: (lambda world, id: _binding(world, *unbound(id)),),
    Part.BROADCAST: (lambda world, id: broadcast.network(world, world.networks[id]),),
    Part.ELSEWHERE: (lambda world, id: _elsewhere(world, *unbound(id)),),
}


def _binding(world: World, id: int, identity: int) -> list[Flow]:
    return policy.binding(world, world.policies[id], world.identities[identity])


def _carried(world: World, endpoint: int) -> Transport:
    return transport(world.networks[world.endpoints[endpoint].network].transport)


def _announced(world: World, network: int, host: int) -> list[Flow]:
    return vlan.heard_by_all(world, world.networks[network], host)


def _elsewhere(world: World, network: int, host: int) -> list[Bucket]:
    return broadcast.host(world, world.networks[network], world.hosts[host])


def fragment(world: World, key: Key) -> tuple[Item, ...]:
    """The flows and buckets that follow from one object. Raises KeyError when the world does not have it."""
    return tuple(item for make in _MAKERS[key.part] for item in make(world, key.id))


def program(world: World, keys: Iterable[Key]) -> frozenset[Item]:
    """All flows and buckets of a host that carries `keys`. Raises ValueError when two could not both be installed."""
    items: dict[object, Item] = {}
    for key in keys:
        for item in fragment(world, key):
            place = (item.table, item.priority, frozenset(item.match)) if isinstance(item, Flow) else item
            if place in items:
                raise ValueError(f"these cannot both be there: {item} and {items[place]}")
            items[place] = item
    return frozenset(items.values())
