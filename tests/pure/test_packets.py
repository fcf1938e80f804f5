"""What happens to a packet: from this endpoint, to that address, in this world."""

from __future__ import annotations

import pytest

from controller.calc.membership import members
from controller.model import Change, Endpoint, Network, Subnet
from controller.pipeline.flow import Flow, Reason
from controller.pipeline.packet import GATEWAY_OFPORT, ROUTER_MAC
from controller.pipeline.program import program
from controller.pipeline.stages import Stage
from controller.transport import TUNNEL_OFPORTS
from controller.world import World
from tests.pure import worlds
from tests.pure.connections import INVALID, TRACKED, Packet
from tests.pure.softswitch import Outcome, arrive, send

BROADCAST = 0xFFFF_FFFF_FFFF


def flows(world: World, host: int) -> frozenset[Flow]:
    return program(world, members(world, host))


def udp(source: Endpoint, destination: Endpoint, version: int = 4, through_gateway: bool = False) -> Packet:
    """A UDP packet from one endpoint to another, as the source's kernel would send it."""
    index = 0 if version == 4 else 1
    prefix = "ip" if version == 4 else "ipv6"
    return {
        "in_port": source.ofport,
        "eth_src": source.mac,
        "eth_dst": ROUTER_MAC if through_gateway else destination.mac,
        "eth_type": 0x0800 if version == 4 else 0x86DD,
        f"{prefix}_src": source.addresses[index].value,
        f"{prefix}_dst": destination.addresses[index].value,
        "ip_proto": 17,
        "udp_src": 4000,
        "udp_dst": 80,
        "nw_ttl": 64,
    }


def carry(world: World, source: int, packet: Packet) -> Outcome:
    """Send from the source's host and, if it leaves through the tunnel, on through the other host's pipeline."""
    here = world.endpoints[source].host
    outcome = send(flows(world, here), packet)
    if outcome.port not in TUNNEL_OFPORTS:
        return outcome
    there = next(host.id for host in world.hosts.values() if host.address == (4, outcome.packet["tun_dst"]))
    address = world.hosts[here].address
    assert address is not None
    return send(flows(world, there), arrive(outcome, address))


def talk(world: World, source: int, destination: int, version: int = 4, through_gateway: bool = False) -> Outcome:
    ends = world.endpoints[source], world.endpoints[destination]
    return carry(world, source, udp(*ends, version=version, through_gateway=through_gateway))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("name", ["two_tenants", "overlapping", "tracked"])
def test_every_pair_of_a_tenant_talks_and_no_pair_of_two_tenants(name: str, version: int) -> None:
    world = worlds.world(*getattr(worlds, name)())
    for source in world.endpoints.values():
        for destination in world.endpoints.values():
            if source.id == destination.id:
                continue
            outcome = talk(
                world, source.id, destination.id, version, through_gateway=source.network != destination.network
            )
            reached = outcome.delivered and outcome.port == destination.ofport
            assert reached == (source.network == destination.network), (source.name, destination.name, outcome)


def test_two_subnets_of_one_network_are_one_segment_with_a_gateway_each() -> None:
    subnets = tuple(Subnet.parse(f"10.{third}.0.0/24", f"10.{third}.0.254") for third in (10, 20))
    network = Network(10, "n10", 1, 1010, 1, subnets)
    changes = [worlds.tenant(1), worlds.host(1), worlds.host(2), Change("network", 10, network)]
    changes += [
        worlds.endpoint(101, 10, 1, 1, third=10, ipv6=False),
        worlds.endpoint(102, 10, 1, 2, third=20, ipv6=False),
        worlds.endpoint(103, 10, 2, 3, third=20, ipv6=False),
    ]
    world = worlds.world(*changes)
    for source in world.endpoints.values():
        for destination in world.endpoints.values():
            if source.id != destination.id:
                other_subnet = source.addresses[0].value >> 8 != destination.addresses[0].value >> 8
                for through_gateway in {other_subnet, False}:
                    outcome = talk(world, source.id, destination.id, through_gateway=through_gateway)
                    assert outcome.delivered and outcome.port == destination.ofport, (source.name, destination.name)
    for subnet in subnets:
        ask: Packet = {
            "in_port": world.endpoints[101].ofport,
            "eth_src": world.endpoints[101].mac,
            "eth_dst": BROADCAST,
            "eth_type": 0x0806,
            "arp_op": 1,
            "arp_spa": world.endpoints[101].addresses[0].value,
            "arp_sha": world.endpoints[101].mac,
            "arp_tpa": subnet.gateway,
            "arp_tha": 0,
        }
        assert send(flows(world, 1), ask).packet["arp_sha"] == ROUTER_MAC


def test_the_wire_carries_the_vni_of_the_sources_network() -> None:
    world = worlds.world(*worlds.two_networks())
    a1, a2 = world.endpoints[101], world.endpoints[112]
    outcome = send(flows(world, 1), udp(a1, a2, through_gateway=True))
    assert outcome.packet["tun_id"] == world.networks[worlds.NETWORK_A].vni
    assert (4, outcome.packet["tun_dst"]) == world.hosts[2].address


def test_the_gateway_routes_between_networks_of_a_tenant() -> None:
    world = worlds.world(*worlds.two_networks())
    outcome = talk(world, 101, 112, through_gateway=True)
    assert outcome.port == world.endpoints[112].ofport
    assert outcome.packet["eth_src"] == ROUTER_MAC
    assert outcome.packet["eth_dst"] == world.endpoints[112].mac
    assert outcome.packet["nw_ttl"] == 63, "one hop, wherever the other end is"


def test_a_packet_whose_ttl_ends_at_the_gateway_is_dropped_and_says_so() -> None:
    world = worlds.world(*worlds.two_networks())
    packet = udp(world.endpoints[101], world.endpoints[112], through_gateway=True)
    assert send(flows(world, 1), {**packet, "nw_ttl": 1}).reason is Reason.TTL_EXPIRED


def test_joined_tenants_talk_both_ways() -> None:
    world = worlds.world(*worlds.joined())
    for source, destination in ((101, 202), (202, 101), (101, 201)):
        assert talk(world, source, destination, through_gateway=True).port == world.endpoints[destination].ofport


def test_a_global_tenant_reaches_all_and_is_reached_by_all() -> None:
    world = worlds.world(*worlds.b_global())
    for source, destination in ((101, 202), (202, 101), (101, 201), (201, 101)):
        assert talk(world, source, destination, through_gateway=True).port == world.endpoints[destination].ofport


def test_peered_tenants_talk_but_who_joined_one_of_them_does_not_reach_the_other() -> None:
    world = worlds.world(*worlds.peered())
    for source, destination in ((101, 202), (202, 101), (101, 201), (301, 102), (102, 301)):
        assert talk(world, source, destination, through_gateway=True).port == world.endpoints[destination].ofport
    for source, destination in ((301, 202), (202, 301), (301, 201)):
        assert not talk(world, source, destination, through_gateway=True).delivered


def test_peers_reach_private_networks_and_the_network_that_overlaps_stays_apart() -> None:
    """A's and B's networks are the same subnet; C peers with A only."""
    c = [worlds.tenant(3), worlds.network(worlds.NETWORK_C, 3), worlds.endpoint(301, worlds.NETWORK_C, 1, 11)]
    world = worlds.world(*worlds.overlapping(), *c, worlds.peering(1, worlds.TENANT_A, 3))
    assert talk(world, 301, 102, through_gateway=True).port == world.endpoints[102].ofport
    assert talk(world, 102, 301, through_gateway=True).port == world.endpoints[301].ofport
    assert not talk(world, 202, 301, through_gateway=True).delivered


def test_in_a_flat_cluster_all_tenants_talk_and_isolated_networks_stay_apart() -> None:
    world = worlds.world(*worlds.flat())
    for source, destination in ((101, 202), (202, 101), (101, 201)):
        assert talk(world, source, destination, through_gateway=True).port == world.endpoints[destination].ofport
    for source, destination in ((101, 209), (209, 101), (202, 209), (209, 202)):
        assert not talk(world, source, destination, through_gateway=True).delivered


def test_cross_tenant_packets_count_as_tenant_isolation_where_both_are_present() -> None:
    world = worlds.world(*worlds.two_tenants())
    packet = udp(world.endpoints[101], world.endpoints[201], through_gateway=True)
    assert send(flows(world, 1), packet).reason is Reason.TENANT_ISOLATION


@pytest.mark.parametrize(
    ("forgery", "reason"),
    [
        ({"eth_src": 0x0200_0000_0BAD}, Reason.SPOOFED),
        ({"ip_src": (10 << 24) + (10 << 16) + 12}, Reason.SPOOFED),
        ({"ip_src": (8 << 24)}, Reason.SPOOFED),
    ],
)
def test_an_endpoint_cannot_send_as_another(forgery: Packet, reason: Reason) -> None:
    world = worlds.world(*worlds.two_tenants())
    packet = udp(world.endpoints[101], world.endpoints[102]) | forgery
    assert send(flows(world, 1), packet).reason is reason


def test_an_endpoint_cannot_send_from_anothers_ipv6_address() -> None:
    world = worlds.world(*worlds.two_tenants())
    packet = udp(world.endpoints[101], world.endpoints[102], version=6)
    packet["ipv6_src"] = world.endpoints[103].addresses[1].value
    assert send(flows(world, 1), packet).reason is Reason.SPOOFED


@pytest.mark.parametrize("tunnel", [{"udp_dst": 4789}, {"udp_dst": 6081}, {"ip_proto": 47}])
def test_no_endpoint_reaches_a_hosts_tunnels(tunnel: Packet) -> None:
    world = worlds.world(*worlds.two_tenants())
    for host in world.hosts.values():
        assert host.address is not None
        packet = udp(world.endpoints[101], world.endpoints[102], through_gateway=True)
        packet |= {"ip_dst": host.address[1], **tunnel}
        assert send(flows(world, 1), packet).reason is Reason.TUNNEL_PORT


def test_a_tunnel_packet_from_no_known_host_is_dropped_and_counted() -> None:
    world = worlds.world(*worlds.two_tenants())
    sent = send(flows(world, 1), udp(world.endpoints[101], world.endpoints[102]))
    forged = arrive(sent, (4, (198 << 24) + (18 << 16) + 77))
    assert send(flows(world, 2), forged).reason is Reason.UNKNOWN_TUNNEL_SOURCE


def test_a_tunnel_packet_of_no_known_network_is_dropped_and_counted() -> None:
    world = worlds.world(*worlds.two_tenants())
    sent = send(flows(world, 1), udp(world.endpoints[101], world.endpoints[102]))
    address = world.hosts[1].address
    assert address is not None
    assert send(flows(world, 2), {**arrive(sent, address), "tun_id": 9}).reason is Reason.UNKNOWN_NETWORK


def test_a_tunnel_packet_is_never_sent_on_to_a_third_host() -> None:
    world = worlds.world(*worlds.two_tenants())
    sent = send(flows(world, 1), udp(world.endpoints[101], world.endpoints[103]))
    address = world.hosts[1].address
    assert address is not None
    assert send(flows(world, 2), arrive(sent, address)).reason is Reason.NO_TUNNEL


@pytest.mark.parametrize(("port", "reason"), [(GATEWAY_OFPORT, Reason.NO_ENDPOINT), (999, Reason.UNKNOWN_PORT)])
def test_a_port_that_is_no_endpoints_sends_nothing(port: int, reason: Reason) -> None:
    world = worlds.world(*worlds.two_tenants())
    packet = udp(world.endpoints[101], world.endpoints[102]) | {"in_port": port}
    assert send(flows(world, 1), packet).reason is reason


def arp(source: Endpoint, target: int, sender: int | None = None) -> Packet:
    return {
        "in_port": source.ofport,
        "eth_src": source.mac,
        "eth_dst": BROADCAST,
        "eth_type": 0x0806,
        "arp_op": 1,
        "arp_spa": source.addresses[0].value if sender is None else sender,
        "arp_sha": source.mac,
        "arp_tpa": target,
        "arp_tha": 0,
    }


def test_arp_is_answered_from_the_database_at_the_askers_port() -> None:
    world = worlds.world(*worlds.two_tenants())
    a1, a2 = world.endpoints[101], world.endpoints[102]
    reply = send(flows(world, 1), arp(a1, a2.addresses[0].value))
    assert reply.port == a1.ofport
    assert reply.packet | {"arp_op": 2, "arp_sha": a2.mac, "arp_spa": a2.addresses[0].value} == reply.packet
    assert reply.packet | {"arp_tha": a1.mac, "arp_tpa": a1.addresses[0].value, "eth_dst": a1.mac} == reply.packet


def test_arp_of_another_tenants_address_or_a_free_one_is_not_answered() -> None:
    world = worlds.world(*worlds.overlapping())
    a1 = world.endpoints[101]
    reply = send(flows(world, 1), arp(a1, world.endpoints[201].addresses[0].value))
    assert reply.reason is Reason.OWN_PROBE, "the same address is its own here"
    assert send(flows(world, 1), arp(a1, a1.addresses[0].value + 50)).reason is Reason.UNANSWERED


@pytest.mark.parametrize("sender", ["own", "none"])
def test_an_endpoint_that_probes_its_own_address_hears_nothing(sender: str) -> None:
    world = worlds.world(*worlds.two_tenants())
    a1 = world.endpoints[101]
    probe = arp(a1, a1.addresses[0].value, sender=0 if sender == "none" else None)
    assert send(flows(world, 1), probe).reason is Reason.OWN_PROBE


def test_a_probe_for_a_taken_address_is_answered() -> None:
    world = worlds.world(*worlds.two_tenants())
    a1, a2 = world.endpoints[101], world.endpoints[102]
    assert send(flows(world, 1), arp(a1, a2.addresses[0].value, sender=0)).port == a1.ofport


def test_forged_arp_gets_nothing() -> None:
    world = worlds.world(*worlds.two_tenants())
    a1, a2 = world.endpoints[101], world.endpoints[102]
    target = world.endpoints[103].addresses[0].value
    assert send(flows(world, 1), arp(a1, target, sender=a2.addresses[0].value)).reason is Reason.SPOOFED
    assert send(flows(world, 1), {**arp(a1, target), "arp_sha": a2.mac}).reason is Reason.SPOOFED
    gratuitous = {**arp(a1, target), "arp_op": 2, "arp_tpa": a1.addresses[0].value}
    assert not send(flows(world, 1), gratuitous).delivered, "nobody needs to be told: all are told by the database"


def solicit(source: Endpoint, target: int, sender: int) -> Packet:
    return {
        "in_port": source.ofport,
        "eth_src": source.mac,
        "eth_dst": 0x3333_FF00_0000 | (target & 0xFFFFFF),
        "eth_type": 0x86DD,
        "ipv6_src": sender,
        "ipv6_dst": (0xFF02_0000_0000_0000_0000_0001_FF00_0000) | (target & 0xFFFFFF),
        "ip_proto": 58,
        "icmpv6_type": 135,
        "icmpv6_code": 0,
        "nd_target": target,
        "nd_sll": source.mac,
        "nw_ttl": 255,
    }


def test_neighbour_solicitation_is_answered_from_the_database() -> None:
    world = worlds.world(*worlds.two_tenants())
    a1, a2 = world.endpoints[101], world.endpoints[102]
    target = a2.addresses[1].value
    reply = send(flows(world, 1), solicit(a1, target, a1.addresses[1].value))
    assert reply.port == a1.ofport
    assert (reply.packet["icmpv6_type"], reply.packet["nd_tll"]) == (136, a2.mac)
    assert (reply.packet["ipv6_src"], reply.packet["ipv6_dst"]) == (target, a1.addresses[1].value)


def test_duplicate_address_detection_of_the_own_address_hears_nothing_and_of_anothers_its_mac() -> None:
    world = worlds.world(*worlds.two_tenants())
    a1, a2 = world.endpoints[101], world.endpoints[102]
    assert send(flows(world, 1), solicit(a1, a1.addresses[1].value, 0)).reason is Reason.OWN_PROBE
    reply = send(flows(world, 1), solicit(a1, a2.addresses[1].value, 0))
    assert (reply.port, reply.packet["nd_tll"]) == (a1.ofport, a2.mac)


def test_an_endpoint_cannot_advertise_neighbours_or_routers() -> None:
    world = worlds.world(*worlds.two_tenants())
    a1, a2 = world.endpoints[101], world.endpoints[102]
    for type in (134, 136, 137):
        packet = udp(a1, a2, version=6) | {"ip_proto": 58, "icmpv6_type": type, "nd_target": a2.addresses[1].value}
        assert not send(flows(world, 1), packet).delivered
    poison = solicit(a1, world.endpoints[103].addresses[1].value, a1.addresses[1].value) | {
        "eth_dst": a2.mac,
        "ipv6_dst": a2.addresses[1].value,
    }
    assert send(flows(world, 1), poison).port == a1.ofport, "a solicitation is answered, never delivered"


def test_the_gateway_answers_arp_and_ping_on_every_host_with_one_mac() -> None:
    world = worlds.world(*worlds.two_tenants())
    for host, id in ((1, 101), (2, 102)):
        asker = world.endpoints[id]
        gateway = world.networks[asker.network].subnets[0].gateway
        assert send(flows(world, host), arp(asker, gateway)).packet["arp_sha"] == ROUTER_MAC
        ping = udp(asker, asker, through_gateway=True) | {"ip_dst": gateway, "ip_proto": 1, "icmp_type": 8}
        pong = send(flows(world, host), ping)
        assert (pong.port, pong.packet["icmp_type"], pong.packet["ip_src"]) == (asker.ofport, 0, gateway)


def test_broadcast_and_multicast_go_nowhere() -> None:
    world = worlds.world(*worlds.two_tenants())
    packet = udp(world.endpoints[101], world.endpoints[102]) | {"eth_dst": BROADCAST, "ip_dst": 0xFFFFFFFF}
    assert send(flows(world, 1), packet).reason is Reason.BROADCAST


def test_unknown_addresses_are_dropped_with_their_reason() -> None:
    world = worlds.world(*worlds.two_tenants())
    packet = udp(world.endpoints[101], world.endpoints[102], through_gateway=True)
    assert send(flows(world, 1), {**packet, "ip_dst": packet["ip_dst"] + 50}).reason is Reason.NO_ENDPOINT
    assert send(flows(world, 1), {**packet, "ip_dst": 0x08080808}).reason is Reason.NO_ROUTE


def test_only_tracked_tenants_pay_for_conntrack() -> None:
    world = worlds.world(*worlds.tracked())
    assert Stage.STATE_SOURCE in send(flows(world, 1), udp(world.endpoints[101], world.endpoints[102])).path
    assert Stage.STATE_SOURCE not in send(flows(world, 1), udp(world.endpoints[201], world.endpoints[202])).path
    same_host = worlds.world(*worlds.tracked(), worlds.endpoint(111, worlds.NETWORK_A, 1, 99))
    path = send(flows(same_host, 1), udp(same_host.endpoints[101], same_host.endpoints[111])).path
    assert Stage.STATE_DESTINATION not in path, "one tenant on one host: one look-up is enough"


def test_an_invalid_packet_of_a_tracked_tenant_is_dropped() -> None:
    world = worlds.world(*worlds.tracked())
    packet = udp(world.endpoints[101], world.endpoints[102])
    assert send(flows(world, 1), packet, ct_state=TRACKED | INVALID).reason is Reason.INVALID_CONNECTION
