"""What the preview says of a change is what packets and switches then find."""

from __future__ import annotations

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from controller.calc.preview import reach
from controller.model import Change, Cluster, Endpoint, Network
from controller.pipeline.flow import Flow
from controller.pipeline.packet import TUNNEL_OFPORT
from controller.world import World
from tests.pure import worlds
from tests.pure.softswitch import arrive, send
from tests.pure.test_packets import flows, udp

Programs = dict[int, frozenset[Flow]]
TENANTS = (1, 2, 3, 4)
SUBNETS = (20, 21, 22)
"""Third bytes that private networks share; routable ones have their own."""


@st.composite
def networks(draw: st.DrawFn, id: int, tenant: int, zone: int) -> Change:
    private = draw(st.booleans())
    own_zone = draw(st.sampled_from((zone, zone, zone, 100 + id)))
    third = draw(st.sampled_from(SUBNETS)) if private else id
    return worlds.network(id, tenant, third=third, zone=own_zone, private=private)


@st.composite
def random_worlds(draw: st.DrawFn) -> World:
    """Four tenants with two networks each and an endpoint in every network; any zones, peerings and mode."""
    changes = [worlds.host(1), worlds.host(2)]
    for tenant in TENANTS:
        zone = draw(st.sampled_from((0, 1, 2, 3, 4)))
        changes.append(worlds.tenant(tenant, zone))
        for id in (2 * tenant + 8, 2 * tenant + 9):
            network = draw(networks(id, tenant, zone))
            changes.append(network)
            third = int(network.value.subnets[0].network >> 16 & 0xFF)
            changes.append(worlds.endpoint(100 + id, id, draw(st.sampled_from((1, 2))), id, third=third))
    pairs = [(one, two) for one in TENANTS for two in TENANTS if one < two]
    for id, pair in enumerate(draw(st.lists(st.sampled_from(pairs), unique=True, max_size=3)), 1):
        changes.append(worlds.peering(id, *pair))
    changes.append(Change("cluster", 1, Cluster(1, draw(st.booleans()))))
    world = worlds.world(*changes)
    assume(not ambiguous(world))
    return world


def ambiguous(world: World) -> bool:
    """Whether somebody reaches two networks that have the same addresses: no database holds such a world."""
    askers = [*world.networks.values(), *(Network(-t.id, "", t.id, 0, t.zone, ()) for t in world.tenants.values())]
    for asker in askers:
        reached = [n.subnets for n in world.networks.values() if reach(world, asker, n).allowed]
        if len(set(reached)) < len(reached):
            return True
    return False


def deliver(world: World, source: Endpoint, destination: Endpoint, version: int, programs: Programs) -> bool:
    """Whether a packet that is sent from one end comes out at the other."""
    outcome = send(programs[source.host], udp(source, destination, version, through_gateway=True))
    if outcome.port == TUNNEL_OFPORT:
        there = next(host.id for host in world.hosts.values() if host.address == (4, outcome.packet["tun_dst"]))
        outcome = send(programs[there], arrive(outcome, world.hosts[source.host].address))
        return there == destination.host and outcome.port == destination.ofport
    return source.host == destination.host and outcome.port == destination.ofport


@settings(max_examples=150, deadline=None)
@given(random_worlds())
def test_packets_agree_with_what_is_said_of_networks(world: World) -> None:
    programs = {host: flows(world, host) for host in world.hosts}
    for source in world.endpoints.values():
        for destination in world.endpoints.values():
            ends = world.networks[source.network], world.networks[destination.network]
            if source.id == destination.id:
                continue
            said = reach(world, *ends)
            assert said.allowed == reach(world, *reversed(ends)).allowed, "isolation has no direction"
            for version in (4, 6):
                assert deliver(world, source, destination, version, programs) == said.allowed, (ends, said)
