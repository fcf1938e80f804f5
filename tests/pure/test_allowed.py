"""Addresses declared besides an endpoint's own: who may send from them, who is found there, and who takes them over."""

from __future__ import annotations

import pytest
from scapy.layers.inet6 import ICMPv6ND_NA, IPv6
from scapy.layers.l2 import ARP, Ether

from controller.calc.announced import takeover
from controller.model import Address, Allowed, Endpoint
from controller.pipeline.flow import Reason
from controller.pipeline.stages import Stage
from controller.world import World
from tests.pure import worlds
from tests.pure.connections import Packet
from tests.pure.softswitch import Outcome, send
from tests.pure.test_packets import carry, flows, udp

MAC = 0x0600_0000_0001
SHARED = {4: Address.parse("10.10.0.100").value, 6: Address.parse("fd00:10::64").value}
IN_RANGE = Address.parse("10.10.0.30").value
PREFIX = {4: "ip", 6: "ipv6"}
ANYWHERE = (1 << 48) - 1


@pytest.fixture
def world() -> World:
    return worlds.world(*worlds.sharing())


def from_shared(world: World, source: int, destination: int, version: int) -> Packet:
    packet = udp(world.endpoints[source], world.endpoints[destination], version)
    return packet | {"eth_src": MAC, f"{PREFIX[version]}_src": SHARED[version]}


def to_shared(world: World, source: int, version: int) -> Packet:
    packet = udp(world.endpoints[source], world.endpoints[source], version)
    return packet | {"eth_dst": MAC, f"{PREFIX[version]}_dst": SHARED[version]}


def arp(source: Endpoint, mac: int, sender: int, target: int, op: int = 1) -> Packet:
    sent = {"in_port": source.ofport, "eth_src": mac, "eth_dst": ANYWHERE, "eth_type": 0x0806, "arp_op": op}
    return sent | {"arp_sha": mac, "arp_spa": sender, "arp_tha": 0, "arp_tpa": target}


def neighbor(source: Endpoint, mac: int, sender: int, target: int, type: int = 135) -> Packet:
    sent = {"in_port": source.ofport, "eth_src": mac, "eth_dst": 0x3333_FF00_0064, "eth_type": 0x86DD, "ip_proto": 58}
    return sent | {"ipv6_src": sender, "ipv6_dst": 0xFF02 << 112, "icmpv6_type": type, "nd_target": target}


def announcement(source: Endpoint, version: int) -> Packet:
    shared = SHARED[version]
    return arp(source, MAC, shared, shared) if version == 4 else neighbor(source, MAC, shared, shared, 136)


def at(world: World, host: int, packet: Packet) -> Outcome:
    return send(flows(world, host), packet)


@pytest.mark.parametrize("version", [4, 6])
def test_who_has_the_address_sends_from_it_and_is_found_at_it_on_every_host(world: World, version: int) -> None:
    for other in (102, 103):
        assert carry(world, 101, from_shared(world, 101, other, version)).port == world.endpoints[other].ofport
        found = carry(world, other, to_shared(world, other, version))
        assert (found.port, found.packet["eth_dst"]) == (world.endpoints[101].ofport, MAC)


@pytest.mark.parametrize("version", [4, 6])
def test_who_shares_it_and_does_not_have_it_sends_nothing_from_it(world: World, version: int) -> None:
    assert at(world, 2, from_shared(world, 102, 103, version)).reason is Reason.SPOOFED


@pytest.mark.parametrize("version", [4, 6])
def test_what_was_not_declared_is_spoofed(world: World, version: int) -> None:
    assert at(world, 3, from_shared(world, 103, 101, version)).reason is Reason.SPOOFED
    assert at(world, 3, announcement(world.endpoints[103], version)).reason is Reason.SPOOFED
    with_own_mac = from_shared(world, 101, 103, version) | {"eth_src": world.endpoints[101].mac}
    assert at(world, 1, with_own_mac).reason is Reason.SPOOFED, "the pair is an address and a MAC"


def test_a_range_is_found_at_its_endpoint_but_for_addresses_of_others(world: World) -> None:
    packet = udp(world.endpoints[103], world.endpoints[102])
    found = carry(world, 103, packet | {"ip_dst": IN_RANGE})
    assert (found.port, found.packet["eth_dst"]) == (world.endpoints[101].ofport, MAC)
    assert carry(world, 103, packet).port == world.endpoints[102].ofport
    sent = udp(world.endpoints[101], world.endpoints[103]) | {"eth_src": MAC, "ip_src": IN_RANGE}
    assert carry(world, 101, sent).port == world.endpoints[103].ofport


def test_a_range_with_the_gateway_in_it_lets_nobody_be_the_gateway(world: World) -> None:
    gateway = world.networks[worlds.NETWORK_A].subnets[0].gateway
    sent = udp(world.endpoints[101], world.endpoints[103]) | {"eth_src": MAC, "ip_src": gateway}
    assert at(world, 1, sent).reason is Reason.SPOOFED


def test_arp_and_neighbour_discovery_are_answered_with_the_macs_of_pairs(world: World) -> None:
    asker = world.endpoints[103]
    own = asker.addresses[0].value
    for address in (SHARED[4], IN_RANGE):
        reply = at(world, 3, arp(asker, asker.mac, own, address))
        assert reply.port == asker.ofport
        told = reply.packet
        assert (told["arp_sha"], told["arp_spa"], told["arp_tpa"], told["arp_op"]) == (MAC, address, own, 2)
    reply = at(world, 3, neighbor(asker, asker.mac, asker.addresses[1].value, SHARED[6]))
    assert (reply.port, reply.packet["nd_tll"], reply.packet["ipv6_src"]) == (asker.ofport, MAC, SHARED[6])


@pytest.mark.parametrize("version", [4, 6])
def test_an_announcement_of_a_sharer_goes_to_the_controller_and_to_nobody_else(world: World, version: int) -> None:
    outcome = at(world, 2, announcement(world.endpoints[102], version))
    assert outcome.logged and outcome.port is None and outcome.path[-1] is Stage.GUARD
    holder = at(world, 1, announcement(world.endpoints[101], version))
    assert not holder.logged and not holder.delivered, "who has it says nothing new"


@pytest.mark.parametrize("sharer", [101, 102])
def test_probes_for_an_address_that_one_may_use_are_not_answered(world: World, sharer: int) -> None:
    endpoint = world.endpoints[sharer]
    probes = arp(endpoint, endpoint.mac, 0, SHARED[4]), neighbor(endpoint, endpoint.mac, 0, SHARED[6])
    for probe in probes:
        assert at(world, endpoint.host, probe).reason is Reason.OWN_PROBE


def test_duplicate_address_detection_is_answered_for_what_somebody_else_has(world: World) -> None:
    asker = world.endpoints[103]
    told = at(world, 3, neighbor(asker, asker.mac, 0, world.endpoints[102].addresses[1].value))
    assert told.port == asker.ofport
    assert told.packet["ipv6_dst"] == 0xFF02 << 112 | 1 and told.packet["eth_dst"] == 0x3333_0000_0001
    assert told.packet["nd_reserved"] == 1 << 29, "override, and not solicited"
    assert told.packet["nd_tll"] == world.endpoints[102].mac
    free = Address.parse("fd00:10::99").value
    assert at(world, 3, neighbor(asker, asker.mac, 0, free)).reason is Reason.UNANSWERED


@pytest.mark.parametrize(
    ("version", "packet"),
    [
        (4, Ether() / ARP(op=1, psrc="10.10.0.100", pdst="10.10.0.100")),
        (6, Ether() / IPv6(src="fd00:10::64", dst="ff02::1") / ICMPv6ND_NA(tgt="fd00:10::64", R=0, S=0, O=1)),
    ],
)
def test_the_copy_of_an_announcement_says_who_takes_what_over(world: World, version: int, packet: Ether) -> None:
    told = takeover(world, 2, world.endpoints[102].ofport, bytes(packet))
    assert told is not None
    assert told.endpoint == 102 and told.pair == Allowed(
        version, SHARED[version], 32 if version == 4 else 128, MAC, False
    )
    assert takeover(world, 1, world.endpoints[101].ofport, bytes(packet)) is None, "it has it"
    assert takeover(world, 3, world.endpoints[103].ofport, bytes(packet)) is None, "it does not share it"


@pytest.mark.parametrize("length", range(0, 60, 7))
def test_a_copy_that_is_cut_short_says_nothing(world: World, length: int) -> None:
    packet = bytes(Ether() / ARP(op=1, psrc="10.10.0.100", pdst="10.10.0.100"))[:length]
    told = takeover(world, 2, world.endpoints[102].ofport, packet)
    assert told is None or length >= 32
