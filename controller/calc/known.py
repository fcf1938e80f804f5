"""A host's flows by their cookies, with whom each is owned by: so that what a switch says can be told in names.

It decides what a flow is called; it neither asks switches nor knows what they count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from controller.calc.membership import members
from controller.pipeline import registers
from controller.pipeline.flow import Flow, Kind, Reason, SetField
from controller.pipeline.packet import GATEWAY_OFPORT, RESOLVER_MAC, RESOLVER_OFPORT, ROUTER_MAC
from controller.pipeline.program import Key, Part, fragment, unbound
from controller.transport import TRANSPORTS
from controller.world import World

FIELDS = {
    "in_port": "from",
    registers.SOURCE_ZONE: "source zone",
    registers.OUTPUT_PORT: "to",
    registers.SOURCE_NETWORK: "source network",
    registers.DESTINATION_NETWORK: "destination network",
    registers.DESTINATION_ZONE: "destination zone",
    registers.DESTINATION_TENANT: "destination tenant",
    registers.DESTINATION_HOST: "destination host",
    registers.CARRIER: "carrier",
    registers.SERVICE: "service",
    "tun_id": "tunnelled network",
}


class Owned(NamedTuple):
    """A flow and the object that it follows from: what that is, and its name."""

    flow: Flow
    what: str
    owner: str


def reason(flow: Flow) -> str | None:
    """Why it drops packets, if it does."""
    number = flow.owner - Kind.DROP
    return Reason(number).name.lower() if number in Reason._value2member_map_ else None


def owned(world: World, host: int) -> Iterator[Owned]:
    """Every flow of the host's program."""
    for key in sorted(members(world, host)):
        what, owner = owner_of(world, key)
        for item in fragment(world, key):
            if isinstance(item, Flow):
                yield Owned(item, what, owner)


def owner_of(world: World, key: Key) -> tuple[str, str]:
    id = key.id
    match key.part:
        case Part.BASE:
            return "all hosts", "Warren"
        case Part.HOST | Part.PEER | Part.SELF | Part.NEAR:
            return "host", world.hosts[id].name
        case Part.TENANT | Part.FIREWALL | Part.HEARING:
            return "tenant", world.tenants[id].name
        case Part.NETWORK | Part.BROADCAST:
            return "network", world.networks[id].name
        case Part.ZONE:
            return "zone", zone(world, id)
        case Part.LOCAL | Part.REMOTE | Part.MESH:
            return "endpoint", world.endpoints[id].name
        case Part.PEERING:
            return "peering", " and ".join(world.tenants[one].name for one in world.peerings[id].tenants)
        case Part.SUBJECT:
            return "endpoints", _identity(world, id)
        case Part.POLICY:
            return "policy", world.policies[id].name
        case Part.BINDING:
            policy, _ = unbound(id)
            return "policy", world.policies[policy].name
        case Part.ANNOUNCED | Part.ELSEWHERE:
            network, _ = unbound(id)
            return "network", world.networks[network].name
    return key.part.name.lower(), str(id)


def zone(world: World, number: int) -> str:
    """A zone by whose networks are in it."""
    its = world.networks_of_zone.get(number, {}).values()
    return _zone(number, {world.tenants[one.tenant].name for one in its})


def zones(world: World) -> dict[int, str]:
    """Every zone that is in use, and the global one, each by whose networks are in it."""
    tenants: dict[int, set[str]] = {0: set()}
    for one in world.networks.values():
        tenants.setdefault(one.zone, set()).add(world.tenants[one.tenant].name)
    return {number: _zone(number, names) for number, names in tenants.items()}


def _zone(number: int, tenants: Collection[str]) -> str:
    if number == 0:
        return "global"
    names = sorted(tenants)
    return " and ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or str(number)


def _identity(world: World, id: int) -> str:
    its = world.identities[id]
    labels = ", ".join(f"{key}={value}" if value else key for key, value in its.labels)
    return f"{world.tenants[its.tenant].name} ({labels or 'without labels'})"


class Names:
    """Names for the numbers in the flows of one host."""

    def __init__(self, world: World, host: int) -> None:
        here = [one for one in world.endpoints.values() if one.host == host]
        ports = {one.ofport: one.name for one in here}
        ports |= {GATEWAY_OFPORT: "the host's gateway", RESOLVER_OFPORT: "the resolver"}
        ports |= {one.port.ofport: f"{one.name} port" for one in TRANSPORTS.values() if one.port is not None}
        self._macs = {one.mac: one.name for one in world.endpoints.values()}
        self._macs |= {ROUTER_MAC: "the router", RESOLVER_MAC: "the resolver"}
        self._addresses = {(at.version, at.value): one.name for one in world.endpoints.values() for at in one.addresses}
        networks = {one.vni: one.name for one in world.networks.values()}
        tenants = {one.id: one.name for one in world.tenants.values()}
        hosts = {one.id: one.name for one in world.hosts.values()} | {0: "this one", registers.OUTSIDE: "none"}
        carriers = {one.number: one.name for one in TRANSPORTS.values()}
        in_zones = zones(world)
        self._numbers = {
            "in_port": ports,
            registers.OUTPUT_PORT: ports,
            registers.SOURCE_NETWORK: networks,
            registers.DESTINATION_NETWORK: networks,
            "tun_id": networks,
            registers.SOURCE_ZONE: in_zones,
            registers.DESTINATION_ZONE: in_zones,
            registers.DESTINATION_TENANT: tenants,
            registers.DESTINATION_HOST: hosts,
            registers.CARRIER: carriers,
        }
        self._tenants = tenants

    def of(self, field: str, value: int, mask: int | None) -> str | None:
        """What a value means; None: nothing that has a name."""
        if field in self._numbers and mask in (None, registers.TENANT_MASK):
            return self._numbers[field].get(value)
        if field == registers.FLAGS and mask is not None:
            return self._flags(value, mask)
        if (mask is None and field in ("eth_src", "eth_dst")) or field in ("arp_sha", "arp_tha", "nd_sll", "nd_tll"):
            return self._macs.get(value)
        if mask is None and field in ("ip_src", "ip_dst", "arp_spa", "arp_tpa"):
            return self._addresses.get((4, value))
        if mask is None and field in ("ipv6_src", "ipv6_dst", "nd_target"):
            return self._addresses.get((6, value))
        return None

    def changed(self, other: Names) -> set[int]:
        """Every number that does not mean the same to `other` in some field; `numbers` are those that a flow has."""
        pairs = [(self._macs, other._macs), (self._tenants, other._tenants)]
        pairs += [(self._numbers[field], other._numbers[field]) for field in self._numbers]
        found = {number for ours, theirs in pairs for number, _ in ours.items() ^ theirs.items()}
        return found | {number for (_, number), _ in self._addresses.items() ^ other._addresses.items()}

    def _flags(self, value: int, mask: int) -> str | None:
        said = []
        if mask & registers.TENANT_MASK:
            said.append(f"source tenant {self._tenants.get(value & registers.TENANT_MASK, '?')}")
        for bit, word in FLAG_WORDS.items():
            if mask & bit:
                said.append(word if value & bit else f"not {word}")
        return ", ".join(said) or None


def numbers(flow: Flow) -> Iterator[int]:
    """Those in it that may have a name."""
    said = [(item.field, item.value) for item in flow.match]
    said += [(action.field, action.value) for action in flow.actions if isinstance(action, SetField)]
    for field, value in said:
        yield value
        if field == registers.FLAGS:
            yield value & registers.TENANT_MASK


FLAG_WORDS = {
    registers.FROM_TUNNEL: "from another host",
    registers.SOURCE_JUDGED: "source is judged",
    registers.DESTINATION_JUDGED: "destination is judged",
    registers.REPLY: "a reply",
    registers.RELATED: "about an admitted connection",
    registers.NEW_AT_SOURCE: "new at the source",
    registers.NEW_AT_DESTINATION: "new at the destination",
    registers.FROM_RESOLVER: "from the resolver",
    registers.FROM_OUTSIDE: "from outside",
}
