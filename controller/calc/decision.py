"""What a rule decided of one packet, with the names of all who have to do with it.

Packets are judged as their connection's opener sees them, so source is who opened it, also where the packet is a
reply: the pipeline has turned round registers and addresses by then. Networks are as the packet has them. The egress
firewall is asked before that, and what it judges is read from the packet as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from controller.calc.judge import PROTOCOLS
from controller.model import Action, Direction, Endpoint, Tier, ip_address
from controller.pipeline.flow import RuleRef
from controller.pipeline.registers import (
    DESTINATION_IDENTITY,
    DESTINATION_NETWORK,
    DESTINATION_TENANT,
    FLAGS,
    REPLY,
    SERVICE,
    SOURCE_IDENTITY,
    SOURCE_NETWORK,
    SOURCE_TENANT,
    TENANT_MASK,
    Identified,
)
from controller.world import World

_PORTS, _ICMP = (6, 17, 132), (1, 58)
MOST_NAMES = 10_000
"""Of ends that are remembered: there are as many addresses outside as somebody likes to try."""


class End(NamedTuple):
    tenant: int
    network: int  # VNI
    identity: int
    address: tuple[int, int]  # version, value


class Packet(NamedTuple):
    """Who opens a connection to whom and for what; `service` is the low half of `SERVICE`."""

    source: End
    destination: End
    protocol: int
    service: int


class Decision(NamedTuple):
    """All of it in names. An endpoint that is not known is empty. `policies` is the one whose rule it was; or those
    that accept something else of the subject, and not this, and then there is no rule. `port` is None where the
    protocol has none; for ICMP there is a type and a code in its place."""

    host: str
    action: str  # accept, deny, pass
    direction: str  # whom the policy is about: egress the source, ingress the destination
    policies: tuple[str, ...]
    rule: int | None  # counted from 1
    rule_name: str
    source: str
    source_address: str
    destination: str
    destination_address: str
    protocol: str
    port: int | None
    icmp_type: int | None
    icmp_code: int | None


def packet(fields: Mapping[str, int], data: bytes) -> Packet | None:
    """What a copied packet and its registers say; None if it is none of IP."""
    family = int.from_bytes(data[12:14], "big")
    size, start = {0x0800: (4, 26), 0x86DD: (16, 22)}.get(family, (0, 0))
    if not size or len(data) < start + 2 * size:
        return None
    version = 4 if size == 4 else 6
    networks = fields.get(SOURCE_NETWORK, 0), fields.get(DESTINATION_NETWORK, 0)
    service = fields.get(SERVICE, 0)
    if service and fields.get(FLAGS, 0) & REPLY:
        networks = networks[1], networks[0]
    source, destination = (
        End(
            fields.get(tenant, 0) & TENANT_MASK,
            network,
            _identity(fields, identity),
            (version, int.from_bytes(data[at : at + size], "big")),
        )
        for tenant, network, identity, at in (
            (SOURCE_TENANT, networks[0], SOURCE_IDENTITY, start),
            (DESTINATION_TENANT, networks[1], DESTINATION_IDENTITY, start + size),
        )
    )
    service = service or _service(version, data)
    return Packet(source, destination, service >> 16 & 0xFF, service & 0xFFFF)


def _service(version: int, data: bytes) -> int:
    """As `SERVICE` would have it; without a port where the packet does not begin with one."""
    protocol = data[23 if version == 4 else 20]
    start = 14 + (data[14] & 0x0F) * 4 if version == 4 else 54
    later = version == 4 and int.from_bytes(data[20:22], "big") & 0x1FFF  # of a fragmented one
    if protocol in _PORTS and not later:
        start += 2
    elif protocol not in _ICMP or later:
        return protocol << 16
    return protocol << 16 | int.from_bytes(data[start : start + 2], "big")


def _identity(fields: Mapping[str, int], end: Identified) -> int:
    high, low = end
    return fields.get(high, 0) << 32 | fields.get(low, 0)


def decision(world: World, host: int, rule: RuleRef, packet: Packet) -> Decision | None:
    """None if the host or the rule is gone meanwhile."""
    if host not in world.hosts:
        return None
    action, number, name = Action.DENY, None, ""
    policies: tuple[str, ...] = ()
    if rule.policy:
        policy = world.policies.get(rule.policy)
        rules = policy.rules(rule.direction) if policy else None
        if policy is None or rules is None or rule.number >= len(rules):
            return None
        policies, number = (policy.name,), rule.number + 1
        action, name = rules[rule.number].action, rules[rule.number].name
    else:
        policies = _isolating(world, rule.direction, packet)
    has_port, is_icmp = packet.protocol in _PORTS, packet.protocol in _ICMP
    return Decision(
        world.hosts[host].name,
        action.name.lower(),
        rule.direction.name.lower(),
        policies,
        number,
        name,
        _name(world, packet.source),
        str(ip_address(*packet.source.address)),
        _name(world, packet.destination),
        str(ip_address(*packet.destination.address)),
        PROTOCOLS.get(packet.protocol, str(packet.protocol)),
        packet.service if has_port else None,
        packet.service >> 8 if is_icmp else None,
        packet.service & 0xFF if is_icmp else None,
    )


class _Found(NamedTuple):
    """What was looked up in a world, for the many packets that are alike."""

    world: World
    names: dict[End, str]
    isolating: dict[tuple[Direction, int], tuple[str, ...]]


_latest: _Found | None = None


def _found(world: World) -> _Found:
    global _latest
    if _latest is None or _latest.world is not world:
        _latest = _Found(world, {}, {})
    return _latest


def _isolating(world: World, direction: Direction, packet: Packet) -> tuple[str, ...]:
    end = packet.source if direction is Direction.EGRESS else packet.destination
    known, key = _found(world).isolating, (direction, end.identity)
    if key not in known:
        identity = world.identities.get(end.identity)
        selecting = world.policies_selecting(identity) if identity else []
        isolating = (p.name for p in selecting if p.tier is Tier.TENANT and p.rules(direction) is not None)
        known[key] = tuple(dict.fromkeys(isolating))
    return known[key]


def _name(world: World, end: End) -> str:
    names = _found(world).names
    if end not in names:
        endpoint = _endpoint(world, end)
        if len(names) >= MOST_NAMES:
            names.clear()
        names[end] = endpoint.name if endpoint else ""
    return names[end]


def _endpoint(world: World, end: End) -> Endpoint | None:
    """Whose own address it is, or who has it of those that were declared to; of ranges the narrowest counts."""
    best: tuple[int, Endpoint | None] = (-1, None)
    for network in world.networks_of_tenant.get(end.tenant, {}).values():
        if network.vni == end.network:
            for endpoint in world.endpoints_of_network.get(network.id, {}).values():
                if any((address.version, address.value) == end.address for address in endpoint.addresses):
                    return endpoint
                for pair in endpoint.allowed:
                    if pair.active and pair.has(*end.address) and pair.prefix > best[0]:
                        best = pair.prefix, endpoint
    return best[1]
