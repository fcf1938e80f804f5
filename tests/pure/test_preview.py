"""What the preview says of a change is what packets and switches then find."""

from __future__ import annotations

from itertools import combinations, product
from typing import NamedTuple

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from controller.calc.membership import members
from controller.calc.preview import Effort, Flows, differences, flows
from controller.calc.reach import reach
from controller.model import Change, Cluster, Endpoint, Network
from controller.pipeline.flow import Flow
from controller.pipeline.program import program
from controller.transport import TUNNEL_OFPORTS
from controller.watch import difference
from controller.world import World
from tests.pure import worlds
from tests.pure.softswitch import arrive, send
from tests.pure.test_packets import udp

Programs = dict[int, frozenset[Flow]]
TENANTS = (1, 2, 3, 4)
PAIRS = list(combinations(TENANTS, 2))
NETWORKS = tuple(range(10, 18))
SUBNETS = (20, 21, 22)
"""Third bytes that private networks share; routable ones have their own."""


class Layout(NamedTuple):
    """What no change of isolation touches: two networks for each tenant, with an endpoint each, on two hosts."""

    private: frozenset[int]
    thirds: dict[int, int]
    hosts: dict[int, int]


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    private = draw(st.frozensets(st.sampled_from(NETWORKS)))
    thirds = {id: draw(st.sampled_from(SUBNETS)) if id in private else id for id in NETWORKS}
    return Layout(private, thirds, {id: draw(st.sampled_from((1, 2))) for id in NETWORKS})


@st.composite
def standings(draw: st.DrawFn, layout: Layout) -> World:
    """The layout with any zones, peerings and mode that a database would allow."""
    changes = [worlds.host(1), worlds.host(2), Change("cluster", 1, Cluster(1, draw(st.booleans())))]
    for tenant in TENANTS:
        zone = draw(st.sampled_from((0, 1, 2, 3, 4)))
        changes.append(worlds.tenant(tenant, zone))
        for id in (2 * tenant + 8, 2 * tenant + 9):
            place = {"third": layout.thirds[id], "private": id in layout.private}
            own_zone = draw(st.sampled_from((zone, zone, zone, 100 + id)))
            changes.append(worlds.network(id, tenant, zone=own_zone, **place))
            changes.append(worlds.endpoint(100 + id, id, layout.hosts[id], id, third=layout.thirds[id]))
    for pair in draw(st.lists(st.sampled_from(PAIRS), unique=True, max_size=3)):
        changes.append(worlds.peering(PAIRS.index(pair), *pair))
    world = worlds.world(*changes)
    assume(not ambiguous(world))
    return world


def steps() -> st.SearchStrategy[tuple[World, World]]:
    """From one standing to another."""
    return layouts().flatmap(lambda layout: st.tuples(standings(layout), standings(layout)))


def ambiguous(world: World) -> bool:
    """Whether somebody reaches two networks that have the same addresses: no database holds such a world."""
    askers = [*world.networks.values(), *(Network(-t.id, "", t.id, 0, t.zone, ()) for t in world.tenants.values())]
    for asker in askers:
        reached = [n.subnets for n in world.networks.values() if reach(world, asker, n).allowed]
        if len(set(reached)) < len(reached):
            return True
    return False


def programs_of(world: World) -> Programs:
    return {host: program(world, members(world, host)) for host in world.hosts}


def deliver(world: World, source: Endpoint, destination: Endpoint, version: int, programs: Programs) -> bool:
    """Whether a packet that is sent from one end comes out at the other."""
    outcome = send(programs[source.host], udp(source, destination, version, through_gateway=True))
    if outcome.port in TUNNEL_OFPORTS:
        there = next(host.id for host in world.hosts.values() if host.address == (4, outcome.packet["tun_dst"]))
        outcome = send(programs[there], arrive(outcome, world.hosts[source.host].address))
        return there == destination.host and outcome.port == destination.ofport
    return source.host == destination.host and outcome.port == destination.ofport


@settings(max_examples=150, deadline=None)
@given(layouts().flatmap(standings))
def test_packets_agree_with_what_is_said_of_networks(world: World) -> None:
    programs = programs_of(world)
    for source in world.endpoints.values():
        for destination in world.endpoints.values():
            ends = world.networks[source.network], world.networks[destination.network]
            if source.id == destination.id:
                continue
            said = reach(world, *ends)
            assert said.allowed == reach(world, *reversed(ends)).allowed, "isolation has no direction"
            for version in (4, 6):
                assert deliver(world, source, destination, version, programs) == said.allowed, (ends, said)


def objects(world: World) -> list[Change]:
    tables = {"tenant": world.tenants, "network": world.networks, "host": world.hosts, "endpoint": world.endpoints}
    tables |= {"peering": world.peerings, "cluster": world.clusters}
    return [Change(noun, id, value) for noun, table in tables.items() for id, value in table.items()]


def spelled_out(world: World, name: str) -> list[str]:
    """`t1/*` is all networks of tenant t1."""
    tenant, _, rest = name.partition("/")
    return [n.name for n in world.networks.values() if world.tenants[n.tenant].name == tenant] if rest else [name]


@settings(max_examples=100, deadline=None)
@given(steps())
def test_a_preview_names_every_pair_of_networks_that_changes_and_no_other(step: tuple[World, World]) -> None:
    old, new = step
    changes = difference(old, objects(new))
    said: dict[tuple[str, str], bool] = {}
    for row in differences(old, new, changes, Effort(10**6)):
        for pair in product(spelled_out(new, row.source), spelled_out(new, row.destination)):
            assert pair not in said, "nothing is said twice"
            said[pair] = row.after.allowed
    pairs = list(product(NETWORKS, NETWORKS))
    before, after = (
        {(one, two): reach(w, w.networks[one], w.networks[two]).allowed for one, two in pairs} for w in step
    )
    changed = {pair: after[pair] for pair in pairs if before[pair] != after[pair]}
    assert said == {(f"n{one}", f"n{two}"): allowed for (one, two), allowed in changed.items()}


@settings(max_examples=60, deadline=None)
@given(steps())
def test_a_preview_counts_what_every_host_gains_and_loses(step: tuple[World, World]) -> None:
    old, new = step
    counted = flows(old, new, difference(old, objects(new)))
    for host, before in programs_of(old).items():
        after = program(new, members(new, host))
        change = Flows(len(after - before), len(before - after))
        assert counted.get(host, Flows(0, 0)) == change


def test_the_words_of_a_preview_name_both_sides_and_the_reason() -> None:
    old = worlds.world(*worlds.two_tenants())
    join = [worlds.tenant(2, zone=1), worlds.network(worlds.NETWORK_B, 2, zone=1)]
    assert [str(row) for row in differences(old, old.apply(2, join), join, Effort(10**6))] == [
        "t1/* -> t2/*: denied -> allowed, t1 and t2 are joined",
        "t2/* -> t1/*: denied -> allowed, t1 and t2 are joined",
    ]
    assert flows(old, old.apply(2, join), join) == dict.fromkeys((1, 2, 3), Flows(3, 4))


def test_a_network_that_is_set_apart_is_named_alone() -> None:
    old = worlds.world(*worlds.two_networks())
    apart = [worlds.network(12, worlds.TENANT_A, zone=99)]
    assert [str(row) for row in differences(old, old.apply(2, apart), apart, Effort(10**6))] == [
        "n10 -> n12: allowed -> denied, n12 is isolated",
        "n12 -> n10: allowed -> denied, n12 is isolated",
    ]


def test_a_change_that_concerns_no_isolation_changes_nothing() -> None:
    old = worlds.world(*worlds.two_tenants())
    same = [worlds.network(worlds.NETWORK_B, worlds.TENANT_B)]
    assert list(differences(old, old.apply(2, same), same, Effort(10**6))) == []
    assert flows(old, old.apply(2, same), same) == {}
