"""A host's flows by their cookies, with whom each is owned by: so that what a switch says can be told in names.

It decides what a flow is called; it neither asks switches nor knows what they count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from controller.calc.membership import members
from controller.mark import mark
from controller.model import Direction
from controller.pipeline import broadcast, registers
from controller.pipeline.flow import Flow, Kind, Reason
from controller.pipeline.gateway import zone as translated
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
    registers.EGRESS_MARK: "let go by",
    registers.INGRESS_MARK: "let in by",
    "tun_id": "tunnelled network",
    "ct_zone": "connections of",
    "conj_id": "all parts of rule",
}
IDENTITIES = {
    registers.SOURCE_IDENTITY: "source endpoints",
    registers.DESTINATION_IDENTITY: "destination endpoints",
}
"""Registers, high and low half, that hold the number of an identity together."""
PROTOCOLS = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP"}


_Key = TypeVar("_Key", bound=tuple[int, ...])


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
        self._subnets = _names(
            ((net.version, net.network, net.mask), f"network {one.name}")
            for one in world.networks.values()
            for net in one.subnets
        )
        self._addresses = _names(_addresses(world))
        networks = {one.vni: one.name for one in world.networks.values()}
        tenants = {one.id: one.name for one in world.tenants.values()}
        hosts = {one.id: one.name for one in world.hosts.values()}
        hosts |= {0: "this one", registers.OUTSIDE: "none", registers.GATEWAY: "the host's gateway"}
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
            "ct_zone": tenants | {translated(id): f"{name}, translated" for id, name in tenants.items()},
        }
        self._tenants = tenants
        self._world = world
        self._groups = {broadcast.here(one): f"{one.name} here" for one in world.networks.values()}
        self._groups |= {broadcast.elsewhere(one): f"{one.name} on other hosts" for one in world.networks.values()}

    @cached_property
    def _marks(self) -> dict[int, str]:
        return {0: "no rule"} | {
            mark(policy.id, direction, rule): f"{policy.name} {direction.name.lower()} rule {number}"
            for policy in self._world.policies.values()
            for direction in Direction
            for number, rule in enumerate(policy.rules(direction) or (), 1)
        }

    def identity(self, number: int) -> str | None:
        """Whom a number of two registers stands for: tenant and labels."""
        return _identity(self._world, number) if number in self._world.identities else None

    def port(self, number: int) -> str | None:
        return self._numbers["in_port"].get(number)

    def group(self, number: int) -> str | None:
        """Who gets what is sent to a group."""
        return self._groups.get(number)

    def of(self, field: str, value: int, mask: int | None) -> str | None:
        """What a value means; None: nothing that has a name."""
        if field in self._numbers and mask in (None, registers.TENANT_MASK):
            return self._numbers[field].get(value)
        if field == registers.DESTINATION_TENANT and mask is not None:
            return _some_tenant(mask)
        if field == registers.FLAGS and mask is not None:
            return self._flags(value, mask)
        if field == registers.SERVICE:
            return service(value, 0xFFFFFF if mask is None else mask)
        if field in (registers.EGRESS_MARK, registers.INGRESS_MARK) and mask is None:
            return self._marks.get(value)
        if (mask is None and field in ("eth_src", "eth_dst")) or field in ("arp_sha", "arp_tha", "nd_sll", "nd_tll"):
            return self._macs.get(value)
        version = 4 if field in _IPV4 else 6 if field in _IPV6 else 0
        if version and mask is None:
            return self._addresses.get((version, value))
        return self._subnets.get((version, value, mask)) if version and mask is not None else None

    def _flags(self, value: int, mask: int) -> str | None:
        said = []
        if tenant := mask & registers.TENANT_MASK:
            whole = tenant == registers.TENANT_MASK
            name = self._tenants.get(value & registers.TENANT_MASK, "?") if whole else _some_tenant(tenant)
            said.append(f"source tenant {name}")
        for bit, word in FLAG_WORDS.items():
            if mask & bit:
                said.append(word if value & bit else f"not {word}")
        return ", ".join(said) or None


def _some_tenant(mask: int) -> str:
    """Of the flows that take all endpoints alike, each takes the tenants with one bit."""
    return f"any with bit {mask.bit_length() - 1} of its number"


class Recorded(Names):
    """Names that keep what they were asked and what they answered: who gets the same answers again says the same."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self.answers: dict[tuple[Any, ...], str | None] = {}

    def _ask(self, *question: Any) -> str | None:
        answer = self.answers[question] = answered(self._names, question)
        return answer

    def of(self, field: str, value: int, mask: int | None) -> str | None:
        return self._ask("of", field, value, mask)

    def identity(self, number: int) -> str | None:
        return self._ask("identity", number)

    def port(self, number: int) -> str | None:
        return self._ask("port", number)

    def group(self, number: int) -> str | None:
        return self._ask("group", number)


def answered(names: Names, question: tuple[Any, ...]) -> str | None:
    """What names say to one of the questions of `Recorded`."""
    answer: str | None = getattr(names, question[0])(*question[1:])
    return answer


def _addresses(world: World) -> Iterator[tuple[tuple[int, int], str]]:
    for host in world.hosts.values():
        if host.address is not None:
            yield host.address, f"host {host.name}"
    for network in world.networks.values():
        for subnet in network.subnets:
            if subnet.gateway:
                yield (subnet.version, subnet.gateway), f"the gateway of {network.name}"
    for endpoint in world.endpoints.values():
        for at in endpoint.addresses:
            yield (at.version, at.value), endpoint.name


def _names(found: Iterable[tuple[_Key, str]]) -> dict[_Key, str]:
    """What each stands for. Where tenants have the same addresses it is one or the other; of more, none is told."""
    gathered: dict[_Key, list[str]] = {}
    for key, name in found:
        gathered.setdefault(key, []).append(name)
    return {key: " or ".join(names) for key, names in gathered.items() if len(names) <= 2}


def service(value: int, mask: int) -> str | None:
    """What a connection was opened to, by `registers.SERVICE`: `TCP port 80`, `UDP ports 64 to 127`, `ICMP`."""
    protocol = PROTOCOLS.get(value >> 16 & 0xFF, f"protocol {value >> 16 & 0xFF}")
    low, wide = value & 0xFFFF, ~mask & 0xFFFF
    if mask >> 16 & 0xFF != 0xFF or wide & (wide + 1):
        return None
    if wide == 0xFFFF:
        return protocol
    if protocol.startswith("ICMP"):
        kind = f"{protocol} type {low >> 8}"
        return f"{kind} code {low & 0xFF}" if not wide else kind if wide == 0xFF else None
    return f"{protocol} ports {low} to {low | wide}" if wide else f"{protocol} port {low}"


_IPV4 = frozenset({"ip_src", "ip_dst", "arp_spa", "arp_tpa", "tun_src", "tun_dst"})
_IPV6 = frozenset({"ipv6_src", "ipv6_dst", "nd_target", "tun_ipv6_src", "tun_ipv6_dst"})

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
    registers.FROM_GATEWAY: "from the host",
}
