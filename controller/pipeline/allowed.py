"""Addresses that an endpoint was declared to use besides its own: alone, or shared with others of its network.

Who has one may send from it, with the MAC declared for it, and is found at it. Of those that share an address one has
it at a time; the others may say only that they take it over, by gratuitous ARP or an unsolicited neighbour
advertisement, which goes to the controller and to nobody else. What was not declared stays a lie. An endpoint's own
address counts more than an address declared for another, and that more than a range.
"""

from __future__ import annotations

from typing import NamedTuple

from controller.model import Allowed, Endpoint
from controller.pipeline.flow import Action, Flow, Kind, Match, Reason, SetField, ToController, drop, flow
from controller.pipeline.neighbor import arp_reply, neighbor_reply
from controller.pipeline.packet import (
    ARP,
    MULTICAST,
    NEIGHBOR_ADVERTISEMENT,
    NEIGHBOR_SOLICITATION,
    icmpv6,
    ip,
    ip_source,
)
from controller.pipeline.registers import (
    DESTINATION_HOST,
    DESTINATION_IDENTITY,
    DESTINATION_NETWORK,
    FROM_TUNNEL,
    OUTPUT_PORT,
    SOURCE_IDENTITY,
    SOURCE_NETWORK,
    flagged,
    set_identity,
)
from controller.pipeline.stages import Stage
from controller.world import World

WHOLE = 0xFFFF
_PROBE_ABOVE = 5


class _Fields(NamedTuple):
    """The fields of a family in which an address is named."""

    source: str
    destination: str
    asked: str


_FIELDS = {4: _Fields("ip_src", "ip_dst", "arp_tpa"), 6: _Fields("ipv6_src", "ipv6_dst", "nd_target")}


def local(world: World, endpoint: Endpoint) -> list[Flow]:
    return [*_to_many(endpoint), *(flow for pair in endpoint.allowed for flow in _local(world, endpoint, pair))]


def remote(world: World, endpoint: Endpoint) -> list[Flow]:
    where = SetField(DESTINATION_HOST, endpoint.host)
    active = [pair for pair in endpoint.allowed if pair.active]
    return [
        flow
        for pair in active
        for flow in (
            _answer(world, endpoint, pair),
            _deliver(world, endpoint, pair, where),
            _who(world, endpoint, pair),
        )
    ]


def other_macs(endpoint: Endpoint) -> set[int]:
    """That it may use besides its own."""
    return {pair.mac for pair in endpoint.allowed} - {endpoint.mac}


def _to_many(endpoint: Endpoint) -> list[Flow]:
    """VRRP speaks to its group from the router's own address with the virtual MAC (RFC 5798 section 7.2)."""
    port = Match("in_port", endpoint.ofport)
    return [
        flow(Kind.ENDPOINT, Stage.GUARD, 90, (port, Match("eth_src", mac), MULTICAST, *own), goto=Stage.ANSWER)
        for mac in sorted(other_macs(endpoint))
        for own in ((ip(one.version), ip_source(one.version, one.value)) for one in endpoint.addresses)
    ]


def _local(world: World, endpoint: Endpoint, pair: Allowed) -> list[Flow]:
    port, fields, priority = Match("in_port", endpoint.ofport), _FIELDS[pair.version], _priority(pair)
    probe = (ARP,) if pair.version == 4 else (*icmpv6(NEIGHBOR_SOLICITATION), Match("ipv6_src", 0))
    own = drop(Reason.OWN_PROBE, Stage.ANSWER, priority + _PROBE_ABOVE, (port, *probe, allowed_in(pair, fields.asked)))
    here = port, Match("eth_src", pair.mac)
    if not pair.active:
        announced = (*here, *announcement(pair))
        return [own, flow(Kind.ANNOUNCEMENT, Stage.GUARD, priority, announced, (ToController(WHOLE),))]

    def allow(*match: Match) -> Flow:
        return flow(Kind.ENDPOINT, Stage.GUARD, priority, (*here, *match), goto=Stage.ANSWER)

    flows = [own, allow(ip(pair.version), allowed_in(pair, fields.source))]
    for subnet in world.networks[endpoint.network].subnets:
        if not pair.is_address and pair.has(subnet.version, subnet.gateway):
            speaks = ip_source(subnet.version, subnet.gateway)
            flows.append(drop(Reason.SPOOFED, Stage.GUARD, priority + 5, (port, ip(subnet.version), speaks)))
    if pair.version == 4:
        flows.append(allow(ARP, allowed_in(pair, "arp_spa"), Match("arp_sha", pair.mac)))
    where = SetField(OUTPUT_PORT, endpoint.ofport)
    return [*flows, _answer(world, endpoint, pair), _deliver(world, endpoint, pair, where)]


def announcement(pair: Allowed) -> tuple[Match, ...]:
    """Gratuitous ARP names the address as sender and as target (RFC 5227); an advertisement names it as target."""
    if pair.version == 4:
        return ARP, allowed_in(pair, "arp_spa"), allowed_in(pair, "arp_tpa"), Match("arp_sha", pair.mac)
    return *icmpv6(NEIGHBOR_ADVERTISEMENT), allowed_in(pair, "nd_target")


def _answer(world: World, endpoint: Endpoint, pair: Allowed) -> Flow:
    reply = arp_reply if pair.version == 4 else neighbor_reply
    target = allowed_in(pair, _FIELDS[pair.version].asked)
    asker = (Match(SOURCE_NETWORK, world.networks[endpoint.network].vni),)
    return reply(Kind.ENDPOINT, asker, target, pair.mac, _priority(pair))


def _deliver(world: World, endpoint: Endpoint, pair: Allowed, where: Action) -> Flow:
    vni = Match(DESTINATION_NETWORK, world.networks[endpoint.network].vni)
    match = vni, ip(pair.version), allowed_in(pair, _FIELDS[pair.version].destination)
    its = set_identity(DESTINATION_IDENTITY, world.identity_of(endpoint).id)
    actions = (SetField("eth_dst", pair.mac), where, *its)
    return flow(Kind.ENDPOINT, Stage.DELIVER, _priority(pair), match, actions, Stage.ADMIT)


def _who(world: World, endpoint: Endpoint, pair: Allowed) -> Flow:
    """Who speaks, as other hosts need to know it."""
    vni = Match(SOURCE_NETWORK, world.networks[endpoint.network].vni)
    match = flagged(FROM_TUNNEL), vni, ip(pair.version), allowed_in(pair, _FIELDS[pair.version].source)
    its = set_identity(SOURCE_IDENTITY, world.identity_of(endpoint).id)
    return flow(Kind.ENDPOINT, Stage.IDENTIFY, _priority(pair), match, its, Stage.NORMALIZE)


def allowed_in(pair: Allowed, field: str) -> Match:
    """A match for an address that is one of the pair's."""
    return Match(field, pair.network, None if pair.is_address else pair.mask)


def _priority(pair: Allowed) -> int:
    """Below what is said of endpoints' own addresses."""
    return 90 if pair.is_address else 80
