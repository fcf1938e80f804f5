"""Packets without a tunnel: from host to host of one segment, with the sender's zone found by its address."""

from __future__ import annotations

import pytest

from controller.calc.membership import members
from controller.model import Change
from controller.pipeline.flow import Flow, Reason
from controller.pipeline.program import program
from controller.transport.host_gw import SEGMENT_OFPORT, mac
from controller.transport.vxlan import VXLAN
from controller.world import World
from tests.pure import worlds
from tests.pure.softswitch import Outcome, arrive, send
from tests.pure.test_packets import udp

A1, A2, A3, B2 = 101, 102, 103, 202


def site(cross_subnet: bool = False) -> list[Change]:
    """`two_tenants` with both tenants' networks carried so; hosts 1 and 2 are on one segment, 3 is on another."""
    return [
        *worlds.two_tenants(),
        *(worlds.host(id, segment=segment) for id, segment in ((1, 0), (2, 0), (3, 1))),
        *(
            worlds.network(id, tenant, transport="host-gw", cross_subnet=cross_subnet)
            for id, tenant in ((worlds.NETWORK_A, 1), (worlds.NETWORK_B, 2))
        ),
    ]


def flows(world: World, host: int) -> frozenset[Flow]:
    return program(world, members(world, host))


def sent(world: World, source: int, destination: int, version: int = 4) -> Outcome:
    ends = world.endpoints[source], world.endpoints[destination]
    return send(flows(world, ends[0].host), udp(*ends, version=version))


@pytest.mark.parametrize("version", [4, 6])
def test_a_packet_crosses_the_segment_as_it_is(version: int) -> None:
    world = worlds.world(*site())
    outcome = sent(world, A1, A2, version)
    assert outcome.port == SEGMENT_OFPORT
    assert (outcome.packet["eth_src"], outcome.packet["eth_dst"]) == (mac(1), mac(2))
    there = send(flows(world, 2), arrive(outcome, (4, 0)))
    assert there.port == world.endpoints[A2].ofport
    assert there.packet["eth_dst"] == world.endpoints[A2].mac


def test_the_receiver_judges_by_the_senders_address() -> None:
    """Tenant A's packet to tenant B's endpoint, as a host that knows both would send it if it let it."""
    world = worlds.world(*site())
    packet = arrive(sent(world, A1, A2), (4, 0)) | {"ip_dst": world.endpoints[B2].addresses[0].value}
    assert send(flows(world, 2), packet).reason is Reason.TENANT_ISOLATION


def test_nobody_else_on_the_segment_is_believed() -> None:
    world = worlds.world(*site())
    packet = arrive(sent(world, A1, A2), (4, 0))
    assert send(flows(world, 2), packet | {"eth_src": mac(9)}).reason is Reason.UNKNOWN_TUNNEL_SOURCE
    assert send(flows(world, 2), packet | {"eth_dst": mac(1)}).reason is Reason.SEGMENT
    assert send(flows(world, 2), packet | {"ip_src": 0x0A630005}).reason is Reason.UNKNOWN_NETWORK
    assert send(flows(world, 3), packet | {"eth_dst": mac(3)}).reason is Reason.UNKNOWN_TUNNEL_SOURCE


def test_a_host_on_another_segment_gets_a_tunnel_or_nothing() -> None:
    assert sent(worlds.world(*site()), A1, A3).reason is Reason.OTHER_SEGMENT
    world = worlds.world(*site(cross_subnet=True))
    outcome = sent(world, A1, A3)
    assert outcome.port == VXLAN.ofport
    address = world.hosts[1].address
    assert address is not None
    assert send(flows(world, 3), arrive(outcome, address)).port == world.endpoints[A3].ofport


def test_what_came_from_the_segment_never_goes_on_to_another_host() -> None:
    world = worlds.world(*site(cross_subnet=True))
    packet = arrive(sent(world, A1, A2), (4, 0)) | {"ip_dst": world.endpoints[A3].addresses[0].value}
    assert send(flows(world, 2), packet).reason is Reason.NO_TUNNEL
