"""Broadcast and multicast within one network that asks for it; everywhere else `answer` drops them.

A packet is copied by two groups of the network: one has a bucket for each endpoint on the host, the other a bucket for
each other host that has endpoints of the network. What comes from another host goes through the first alone (split
horizon). So no flow lists endpoints or hosts, and a new endpoint changes one group, on its own host.

Each copy is judged by the policies of sender and receiver as any packet is, but all at the receiver's host, for before
that there is no receiver; so a host has the policies of all whom it may hear. Copies are not tracked: they open no
connection, and what a receiver answers is a connection of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from controller.model import Endpoint, Host, Network
from controller.pipeline.allowed import other_macs
from controller.pipeline.flow import (
    Bucket,
    Flow,
    Item,
    Kind,
    Match,
    Reason,
    Resubmit,
    SetField,
    ToGroup,
    bucket,
    drop,
    flow,
)
from controller.pipeline.packet import IPV4, IPV6, MULTICAST, UDP, ip, ip_destination, ip_source, link_local
from controller.pipeline.registers import (
    DESTINATION_IDENTITY,
    DESTINATION_JUDGED,
    DESTINATION_NETWORK,
    DESTINATION_TENANT,
    DESTINATION_ZONE,
    FROM_OUTSIDE,
    FROM_TUNNEL,
    LOCAL_SOURCE,
    OUTPUT_PORT,
    SOURCE_IDENTITY,
    SOURCE_JUDGED,
    SOURCE_NETWORK,
    flag,
    flagged,
    set_identity,
)
from controller.pipeline.stages import Stage
from controller.transport import transport
from controller.world import World

STAGE = Stage.REPLICATE

EVERYBODY = ip_destination(4, 0xFFFFFFFF)
_IPV4_MULTICAST = Match("ip_dst", 0xE0 << 24, 0xF0 << 24)
_IPV6_MULTICAST = Match("ipv6_dst", 0xFF << 120, 0xFF << 120)
_TO_MANY = (IPV4, EVERYBODY), (IPV4, _IPV4_MULTICAST), (IPV6, _IPV6_MULTICAST)
_DHCP_SERVER, _DHCP_CLIENT = 67, 68  # RFC 2131 section 4.1


def here(network: Network) -> int:
    """The group whose buckets are the network's endpoints on the host."""
    return network.vni


def elsewhere(network: Network) -> int:
    """The group whose buckets are the ways to the network's endpoints on other hosts."""
    return network.vni | 1 << 24


def base(world: World) -> list[Flow]:
    flows = [
        flow(Kind.BASE, Stage.GUARD, 210, (flagged(FROM_TUNNEL), MULTICAST, version), goto=Stage.HEAR)
        for version in (IPV4, IPV6)
    ]
    for destination in _TO_MANY:
        flows.append(flow(Kind.BASE, Stage.ANSWER, 45, (MULTICAST, *destination), goto=STAGE))
    return [
        *flows,
        drop(Reason.BROADCAST, Stage.HEAR, 0),
        drop(Reason.BROADCAST, STAGE, 0),
        flow(Kind.BASE, Stage.TRACK_DESTINATION, 200, (MULTICAST,), goto=Stage.NORMALIZE),
    ]


def network(world: World, network: Network) -> list[Item]:
    """On hosts that have endpoints of it."""
    source = Match(SOURCE_NETWORK, network.vni)
    known = (
        SetField(DESTINATION_NETWORK, network.vni),
        SetField(DESTINATION_ZONE, network.zone),
        SetField(DESTINATION_TENANT, network.tenant),
        flag(SOURCE_JUDGED, DESTINATION_JUDGED),
    )
    local, remote = ToGroup(here(network)), ToGroup(elsewhere(network))
    directed = [(IPV4, ip_destination(4, last)) for last in _last_addresses(network)]
    its = transport(network.transport)
    outside = its.outside(world, network)
    from_outside = source, flagged(FROM_OUTSIDE), MULTICAST
    return [
        *(flow(Kind.NETWORK, Stage.ANSWER, 45, (source, MULTICAST, *one), goto=STAGE) for one in directed),
        *(
            flow(Kind.NETWORK, Stage.ANSWER, 113, (*from_outside, *one), goto=Stage.HEAR)
            for one in (*_TO_MANY, *directed)
            if its.on_segment
        ),
        flow(Kind.NETWORK, STAGE, 100, (source, LOCAL_SOURCE), (*known, local, remote)),
        flow(Kind.NETWORK, STAGE, 100, (source, flagged(FROM_TUNNEL)), (*known, local)),
        bucket(STAGE, here(network)),
        bucket(STAGE, elsewhere(network)),
        *(bucket(STAGE, elsewhere(network), actions) for actions in outside),
    ]


def _last_addresses(network: Network) -> Iterator[int]:
    """The IPv4 subnets' own broadcast addresses."""
    for subnet in network.subnets:
        if subnet.version == 4 and subnet.prefix < 31:  # RFC 3021: a subnet of two has none
            yield subnet.network | (subnet.mask ^ 0xFFFFFFFF)


def host(world: World, network: Network, host: Host) -> list[Bucket]:
    """Another host that has endpoints of the network."""
    way = transport(network.transport).to_host(world, network, host)
    return [bucket(STAGE, elsewhere(network), way)] if way else []


def local(world: World, endpoint: Endpoint) -> Iterator[Item]:
    network = world.networks[endpoint.network]
    if not network.broadcast:
        return
    its = set_identity(DESTINATION_IDENTITY, world.identity_of(endpoint).id)
    port = SetField(OUTPUT_PORT, endpoint.ofport)
    yield bucket(STAGE, here(network), (port, *its, Resubmit(Stage.ADMIT)))
    itself = Match("in_port", endpoint.ofport), Match(OUTPUT_PORT, endpoint.ofport), MULTICAST
    yield drop(Reason.OWN_BROADCAST, Stage.ADMIT, 110, itself)
    # What an endpoint sends before it knows its addresses, and to those on its own link.
    mine = Match("in_port", endpoint.ofport), Match("eth_src", endpoint.mac), MULTICAST
    versions = {address.version for address in endpoint.addresses}
    if 4 in versions:
        asks = UDP, Match("udp_src", _DHCP_CLIENT), Match("udp_dst", _DHCP_SERVER)
        nobody = (IPV4, ip_source(4, 0), EVERYBODY, *asks)
        yield flow(Kind.ENDPOINT, Stage.GUARD, 100, (*mine, *nobody), goto=Stage.ANSWER)
    if 6 in versions:
        on_link = IPV6, ip_source(6, link_local(endpoint.mac)), _IPV6_MULTICAST
        for mac in (endpoint.mac, *sorted(other_macs(endpoint))):
            bears = Match("in_port", endpoint.ofport), Match("eth_src", mac), MULTICAST
            yield flow(Kind.ENDPOINT, Stage.GUARD, 100, (*bears, *on_link), goto=Stage.ANSWER)


def remote(world: World, endpoint: Endpoint) -> Iterator[Flow]:
    """Who speaks, of an endpoint on another host: its MAC tells, guarded there, for a broadcast is never routed; or its
    address, where it may use other MACs."""
    network = world.networks[endpoint.network]
    if network.broadcast:
        source, mac = Match(SOURCE_NETWORK, network.vni), Match("eth_src", endpoint.mac)
        its = set_identity(SOURCE_IDENTITY, world.identity_of(endpoint).id)
        yield flow(Kind.ENDPOINT, Stage.HEAR, 100, (source, mac), its, STAGE)
        # A MAC that was declared may be others', too.
        own = {(address.version, address.value) for address in endpoint.addresses}
        own |= {(6, link_local(endpoint.mac)) for version, _ in own if version == 6}
        for version, value in sorted(own) if other_macs(endpoint) else ():
            address = ip(version), ip_source(version, value)
            yield flow(Kind.ENDPOINT, Stage.HEAR, 90, (source, *address), its, STAGE)
