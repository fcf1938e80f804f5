"""The way to the host's resolver and back: the port alone tells who asked, and the asker sees its gateway answer."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from controller.calc.answers import is_from_resolver, is_passed_on
from controller.calc.membership import members
from controller.model import Endpoint, Network, Subnet
from controller.pipeline.flow import Flow, Reason
from controller.pipeline.packet import RESOLVER_MAC, RESOLVER_OFPORT, ROUTER_MAC
from controller.pipeline.program import program
from controller.pipeline.registers import FROM_RESOLVER
from controller.pipeline.resolver import ANYWHERE, ANYWHERE_ASKERS, ASKERS, SERVER
from controller.pipeline.stages import Stage
from controller.world import World
from tests.pure import worlds
from tests.pure.connections import Packet
from tests.pure.softswitch import send

BOTH = pytest.mark.parametrize("version", [4, 6])
PROTOCOLS = pytest.mark.parametrize("protocol", ["udp", "tcp"])


def overlapping() -> World:
    return worlds.world(*worlds.overlapping())


def flows(world: World, host: int = 1) -> frozenset[Flow]:
    return program(world, members(world, host))


def local(world: World, host: int = 1) -> list[Endpoint]:
    return [endpoint for endpoint in world.endpoints.values() if endpoint.host == host]


def gateway(world: World, endpoint: Endpoint, version: int) -> int:
    subnets = world.networks[endpoint.network].subnets
    return next(subnet.gateway for subnet in subnets if subnet.version == version)


def query(world: World, endpoint: Endpoint, version: int, protocol: str) -> Packet:
    prefix = "ip" if version == 4 else "ipv6"
    own = next(address.value for address in endpoint.addresses if address.version == version)
    return {
        "in_port": endpoint.ofport,
        "eth_src": endpoint.mac,
        "eth_dst": ROUTER_MAC,
        "eth_type": 0x0800 if version == 4 else 0x86DD,
        f"{prefix}_src": own,
        f"{prefix}_dst": gateway(world, endpoint, version),
        "ip_proto": 17 if protocol == "udp" else 6,
        f"{protocol}_src": 40000,
        f"{protocol}_dst": 53,
        "nw_ttl": 64,
    }


def answer(asked: Packet, version: int, protocol: str) -> Packet:
    """What the resolver sends back for the packet that reached it."""
    prefix = "ip" if version == 4 else "ipv6"
    return {
        "in_port": RESOLVER_OFPORT,
        "eth_src": RESOLVER_MAC,
        "eth_dst": RESOLVER_MAC,
        "eth_type": asked["eth_type"],
        f"{prefix}_src": asked[f"{prefix}_dst"],
        f"{prefix}_dst": asked[f"{prefix}_src"],
        "ip_proto": asked["ip_proto"],
        f"{protocol}_src": 53,
        f"{protocol}_dst": asked[f"{protocol}_src"],
        "nw_ttl": 64,
    }


@BOTH
@PROTOCOLS
def test_a_query_to_the_gateway_reaches_the_resolver_from_an_address_that_names_the_port(
    version: int, protocol: str
) -> None:
    world = overlapping()
    prefix = "ip" if version == 4 else "ipv6"
    seen = set()
    for endpoint in local(world):
        outcome = send(flows(world), query(world, endpoint, version, protocol))
        assert outcome.port == RESOLVER_OFPORT
        assert outcome.packet["eth_dst"] == RESOLVER_MAC
        assert outcome.packet[f"{prefix}_dst"] == ASKERS[version] | SERVER
        assert outcome.packet[f"{prefix}_src"] == ASKERS[version] | endpoint.ofport
        seen.add(outcome.packet[f"{prefix}_src"])
    addresses = {address for endpoint in local(world) for address in endpoint.addresses if address.version == version}
    assert len(seen) == 2 and len(addresses) == 1, "two tenants with the same address are told apart"


@BOTH
@PROTOCOLS
def test_the_answer_comes_back_to_who_asked_from_its_gateway(version: int, protocol: str) -> None:
    world = overlapping()
    prefix = "ip" if version == 4 else "ipv6"
    for endpoint in local(world):
        asked = query(world, endpoint, version, protocol)
        back = send(flows(world), answer(send(flows(world), asked).packet, version, protocol))
        assert back.port == endpoint.ofport
        assert back.packet["eth_src"] == ROUTER_MAC and back.packet["eth_dst"] == endpoint.mac
        assert back.packet[f"{prefix}_src"] == asked[f"{prefix}_dst"]
        assert back.packet[f"{prefix}_dst"] == asked[f"{prefix}_src"]
        assert back.packet[f"{protocol}_dst"] == 40000


@PROTOCOLS
def test_one_address_is_the_resolver_in_every_network_and_answers_as_itself(protocol: str) -> None:
    world = overlapping()
    seen = set()
    for endpoint in local(world):
        asked = {**query(world, endpoint, 4, protocol), "ip_dst": ANYWHERE}
        there = send(flows(world), asked)
        assert there.port == RESOLVER_OFPORT and there.packet["ip_dst"] == ASKERS[4] | SERVER
        seen.add(there.packet["ip_src"])
        back = send(flows(world), answer(there.packet, 4, protocol))
        assert back.port == endpoint.ofport and back.packet["eth_dst"] == endpoint.mac
        assert (back.packet["ip_src"], back.packet["ip_dst"]) == (ANYWHERE, asked["ip_src"])
        assert send(flows(world), {**asked, "ip_src": ANYWHERE_ASKERS | endpoint.ofport}).port != RESOLVER_OFPORT
        assert send(flows(world), {**asked, f"{protocol}_dst": 54}).port != RESOLVER_OFPORT
    assert seen == {ANYWHERE_ASKERS | endpoint.ofport for endpoint in local(world)}


@BOTH
def test_nobody_asks_in_anothers_name_or_reaches_the_resolver_otherwise(version: int) -> None:
    world = overlapping()
    prefix = "ip" if version == 4 else "ipv6"
    asking = local(world)[0]
    honest = query(world, asking, version, "udp")
    for lie in (
        {f"{prefix}_src": honest[f"{prefix}_src"] + 7},
        {f"{prefix}_src": ASKERS[version] | asking.ofport},
        {f"{prefix}_dst": ASKERS[version] | SERVER},
        {"eth_src": asking.mac + 1},
        {"udp_dst": 54},
    ):
        assert send(flows(world), {**honest, **lie}).port != RESOLVER_OFPORT, lie
    assert send(flows(world), {**honest, "in_port": 3}).reason is Reason.UNKNOWN_PORT, "no answer comes to port 53"


@BOTH
def test_what_the_resolver_sends_goes_to_endpoints_here_and_nowhere_else(version: int) -> None:
    world = overlapping()
    prefix = "ip" if version == 4 else "ipv6"
    honest = answer(send(flows(world), query(world, local(world)[0], version, "udp")).packet, version, "udp")
    gone = send(flows(world), {**honest, f"{prefix}_dst": ASKERS[version] | 64999})
    assert gone.reason is Reason.NO_ENDPOINT and Stage.RESOLVED in gone.path
    assert send(flows(world), {**honest, "udp_src": 40000}).reason is Reason.UNKNOWN_PORT
    assert send(flows(world), {**honest, "eth_dst": 0xFFFF_FFFF_FFFF, "udp_src": 5353}).reason is Reason.BROADCAST


def test_an_answer_is_believed_when_the_resolver_sends_it_and_passed_on_when_it_is_no_authoritys() -> None:
    assert is_from_resolver({"reg0": FROM_RESOLVER, "reg7": 7}) and not is_from_resolver({"reg0": 7, "reg7": 7})
    assert is_passed_on(b"\0\1\x81\x80") and not is_passed_on(b"\0\1\x85\x80") and not is_passed_on(b"")


@PROTOCOLS
def test_in_a_network_of_several_subnets_each_endpoint_asks_its_own_gateway(protocol: str) -> None:
    """That is the nameserver which its attachment names."""
    wide = worlds.network(worlds.NETWORK_A, worlds.TENANT_A)
    assert isinstance(wide.value, Network)
    subnets = *wide.value.subnets, Subnet.parse("10.77.0.0/24", "10.77.0.1"), Subnet.parse("10.78.0.0/24", "10.78.0.1")
    world = worlds.world(
        worlds.tenant(worlds.TENANT_A),
        worlds.host(1),
        wide._replace(value=wide.value._replace(subnets=subnets)),
        worlds.endpoint(101, worlds.NETWORK_A, 1, 11),
        worlds.endpoint(102, worlds.NETWORK_A, 1, 12, third=77, ipv6=False),
        worlds.endpoint(103, worlds.NETWORK_A, 1, 13, third=78, ipv6=False),
    )
    for endpoint, gateway in zip(local(world), ("10.10.0.1", "10.77.0.1", "10.78.0.1"), strict=True):
        asked = {**query(world, endpoint, 4, protocol), "ip_dst": int(IPv4Address(gateway))}
        there = send(flows(world), asked)
        assert there.port == RESOLVER_OFPORT, gateway
        back = send(flows(world), answer(there.packet, 4, protocol))
        assert back.port == endpoint.ofport and back.packet["ip_src"] == asked["ip_dst"]
