"""Recompute is the definition: whatever way a world was reached, hosts carry what a fresh computation says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.calc.engine import Engine
from controller.calc.membership import members
from controller.model import Change, Cluster
from controller.pipeline.flow import Item
from controller.pipeline.program import Key, Part, fragment, program
from controller.transport import TRANSPORTS
from controller.world import World
from tests.pure import worlds

HOSTS, TENANTS, NETWORKS, ENDPOINTS = (1, 2, 3), (1, 2, 3), (10, 11, 12, 13), tuple(range(100, 108))

PAIRS = ((), (), (200,), (200, 201), (0,), (0, 201))
"""An address, two, a range (0), and one of each."""
PEERINGS = {1: (1, 2), 2: (2, 3), 3: (1, 3)}
KINDS = ("host", "host-", "network", "network-", "endpoint", "endpoint-", "tenant", "peering", "peering-", "cluster")


_TRANSPORT = st.sampled_from(sorted(TRANSPORTS))


class Site:
    """What a database would hold: references are whole, and a network has its tenant's zone or one of its own."""

    def __init__(self) -> None:
        self.zones = {id: id for id in TENANTS}
        self.networks: dict[int, Change] = {}
        self.hosts: set[int] = set()
        self.endpoints: dict[int, Change] = {}
        self.pairs: dict[int, tuple[int, ...]] = {}  # last bytes of what each endpoint may use besides

    def endpoint(self, id: int, network: int, host: int, pairs: tuple[int, ...], meshed: bool) -> list[Change]:
        """The endpoint, and those whose share of an address changes with it: the lowest id has it."""
        change = worlds.endpoint(id, network, host, id - 90)
        change = change._replace(value=change.value._replace(mesh=id if meshed else 0))
        self.endpoints[id], self.pairs[id] = change, pairs
        return self.share()

    def remove(self, id: int) -> list[Change]:
        del self.endpoints[id], self.pairs[id]
        return [Change("endpoint", id, None), *self.share()]

    def share(self) -> list[Change]:
        taken: set[tuple[int, int]] = set()
        changes = []
        for id, change in sorted(self.endpoints.items()):
            network, found = change.value.network, []
            for last in self.pairs[id]:
                found.append(worlds.allowed(network, last, active=(network, last) not in taken))
                taken.add((network, last))
            self.endpoints[id] = Change("endpoint", id, change.value._replace(allowed=tuple(found)))
            changes.append(self.endpoints[id])
        return changes

    def network(
        self,
        id: int,
        tenant: int,
        isolated: bool,
        private: bool,
        transport: str,
        broadcast: bool,
        outbound: bool,
        vlan: int = 0,
    ) -> Change:
        """No two networks have one tag on one segment."""
        zone = 1000 + id if isolated else self.zones[tenant]
        how = {"private": private, "transport": transport, "broadcast": broadcast, "cross_subnet": tenant == 1}
        on = {"vlan": vlan, "physical": 1 if vlan else id, "outbound": outbound}
        self.networks[id] = worlds.network(id, tenant, zone=zone, **how, **on)
        return self.networks[id]

    def rezone(self, tenant: int, zone: int, track_all: bool) -> list[Change]:
        """The tenant, and all of its networks that are not isolated."""
        self.zones[tenant] = zone
        changes = [worlds.tenant(tenant, zone, track_all)]
        for id, change in list(self.networks.items()):
            value = change.value
            if value.tenant == tenant:
                how = value.private, value.transport, value.broadcast, value.outbound, value.vlan
                changes.append(self.network(id, tenant, value.zone >= 1000, *how))
        return changes

    def idle(self, noun: str) -> list[int]:
        """Networks or hosts without endpoints."""
        held = {getattr(endpoint.value, noun) for endpoint in self.endpoints.values()}
        return sorted((set(self.networks) if noun == "network" else self.hosts) - held)


@st.composite
def histories(draw: st.DrawFn) -> list[list[Change]]:
    """Random batches of changes, as transactions would make them."""
    site = Site()
    batches: list[list[Change]] = [[worlds.tenant(id) for id in TENANTS]]
    for _ in range(draw(st.integers(1, 8))):
        batch: dict[tuple[str, int], Change] = {}
        for _ in range(draw(st.integers(1, 5))):
            for change in _change(draw, site):
                batch[change.noun, change.id] = change
        batches.append(draw(st.permutations(list(batch.values()))))
    return batches


def _change(draw: st.DrawFn, site: Site) -> list[Change]:
    match draw(st.sampled_from(KINDS)):
        case "host":
            id = draw(st.sampled_from(HOSTS))
            site.hosts.add(id)
            return [worlds.host(id, draw(st.booleans()), draw(st.sampled_from([None, 0, 1])))]
        case "host-" if idle := site.idle("host"):
            id = draw(st.sampled_from(idle))
            site.hosts.discard(id)
            return [Change("host", id, None)]
        case "network":
            id = draw(st.sampled_from(NETWORKS))
            known = site.networks.get(id)
            tenant = known.value.tenant if known else draw(st.sampled_from(TENANTS))
            isolated, private, broadcast, outbound = (draw(st.booleans()) for _ in range(4))
            how = draw(_TRANSPORT), broadcast, outbound, draw(st.sampled_from((0, id, id + 100)))
            return [site.network(id, tenant, isolated, private, *how)]
        case "network-" if idle := site.idle("network"):
            id = draw(st.sampled_from(idle))
            del site.networks[id]
            return [Change("network", id, None)]
        case "endpoint" if site.networks and site.hosts:
            id = draw(st.sampled_from(ENDPOINTS))
            network, host = draw(st.sampled_from(sorted(site.networks))), draw(st.sampled_from(sorted(site.hosts)))
            return site.endpoint(id, network, host, draw(st.sampled_from(PAIRS)), draw(st.booleans()))
        case "endpoint-" if site.endpoints:
            id = draw(st.sampled_from(sorted(site.endpoints)))
            return site.remove(id)
        case "tenant":
            return site.rezone(draw(st.sampled_from(TENANTS)), draw(st.integers(0, 3)), draw(st.booleans()))
        case "peering":
            id = draw(st.sampled_from(sorted(PEERINGS)))
            return [worlds.peering(id, *PEERINGS[id])]
        case "peering-":
            return [Change("peering", draw(st.sampled_from(sorted(PEERINGS))), None)]
        case "cluster":
            return [Change("cluster", 1, Cluster(1, flat=draw(st.booleans())))]
    return []


def follow(history: list[list[Change]]) -> tuple[Engine[Item], dict[int, dict[Item, int]]]:
    """Run an engine over a history; what each host's switch holds after applying every delta."""
    engine: Engine[Item] = Engine(World(), fragment)
    switches: dict[int, dict[Item, int]] = {}
    for revision, batch in enumerate(history, 1):
        for host in HOSTS:
            if host not in switches:
                switches[host] = dict.fromkeys(engine.attach(host), 1)
        for host, delta in engine.advance(engine.world.apply(revision, batch), batch).items():
            switch = switches[host]
            for flow in delta.added:
                assert flow not in switch or flow in delta.removed, f"{flow} is there already"
            for flow in delta.removed:
                del switch[flow]
            for flow in delta.added:
                switch[flow] = 1
        assert engine.keeps == {key for host in HOSTS for key in engine.carried(host)}
    return engine, switches


@settings(max_examples=400, deadline=None)
@given(histories())
def test_step_by_step_equals_a_recompute(history: list[list[Change]]) -> None:
    ends_as_a_recompute(history)


@pytest.mark.parametrize("start", [worlds.two_tenants, worlds.outbound, worlds.overlapping])
def test_a_network_in_another_zone_ends_as_a_recompute(start: Callable[[], list[Change]]) -> None:
    """Histories seldom have all that this needs: an endpoint on a host, open to the outside, and then another zone."""
    changes = list(start())
    networks = [change for change in changes if change.noun == "network"]
    assert networks
    for change in networks:
        ends_as_a_recompute([changes, [change._replace(value=change.value._replace(zone=77))]])


def ends_as_a_recompute(history: list[list[Change]]) -> None:
    engine, switches = follow(history)
    latest: dict[tuple[str, int], Change] = {}
    for batch in history:
        latest |= {(change.noun, change.id): change for change in batch}
    at_once = World().apply(len(history), latest.values())
    assert engine.world == at_once, "a world is its objects, not its history"
    for host in HOSTS:
        assert engine.carried(host) == members(at_once, host)
        assert frozenset(switches[host]) == program(at_once, members(at_once, host))


@settings(max_examples=50, deadline=None)
@given(histories())
def test_squashing_a_history_into_one_step_changes_nothing(history: list[list[Change]]) -> None:
    latest: dict[tuple[str, int], Change] = {}
    for batch in history:
        latest |= {(change.noun, change.id): change for change in batch}
    _, stepwise = follow(history)
    _, squashed = follow([list(latest.values())])
    assert {host: frozenset(flows) for host, flows in stepwise.items()} == {
        host: frozenset(flows) for host, flows in squashed.items()
    }


def test_undoing_a_change_brings_every_flow_back() -> None:
    start = worlds.two_tenants()
    for change in (worlds.network(worlds.NETWORK_B, 2, zone=1), worlds.endpoint(104, 10, 1, 40), worlds.host(4)):
        before = worlds.world(*start)
        original = {
            "network": lambda id: worlds.network(id, 2),
            "endpoint": lambda id: Change("endpoint", id, None),
            "host": lambda id: Change("host", id, None),
        }[change.noun](change.id)
        engine: Engine[Item] = Engine(before, fragment)
        for host in HOSTS:
            engine.attach(host)
        there = engine.advance(engine.world.apply(2, [change]), [change])
        back = engine.advance(engine.world.apply(3, [original]), [original])
        assert there.keys() == back.keys() and there
        for host in there:
            assert set(there[host].added) == set(back[host].removed)
            assert set(there[host].removed) == set(back[host].added)


def test_a_host_that_is_followed_no_more_leaves_nothing_behind_but_what_others_carry() -> None:
    """Pages show flows of one host after the other."""
    world = worlds.world(*worlds.two_tenants())
    engine: Engine[Item] = Engine(world, fragment)
    for host in HOSTS:
        engine.attach(host)
    engine.detach(1)
    assert engine.keeps == members(world, 2) | members(world, 3)
    for host in HOSTS[1:]:
        engine.detach(host)
    assert not engine.keeps


def large_world(hosts: int, tenants: int, endpoints: int, hosts_per_tenant: int) -> World:
    changes = [worlds.host(h) for h in range(1, hosts + 1)]
    for t in range(1, tenants + 1):
        changes.append(worlds.tenant(t))
        changes.append(worlds.network(10_000 + t, t, third=t % 250, private=True, ipv6=False))
    for e in range(endpoints):
        t = e % tenants + 1
        h = (t * 7 + (e // tenants) % hosts_per_tenant) % hosts + 1
        changes.append(worlds.endpoint(1_000_000 + e, 10_000 + t, h, 10 + e // tenants, third=t % 250, ipv6=False))
    return World().apply(1, changes)


def test_adding_an_endpoint_touches_only_hosts_that_hold_its_tenant() -> None:
    world = large_world(hosts=200, tenants=500, endpoints=20_000, hosts_per_tenant=8)
    engine: Engine[Item] = Engine(world, fragment)
    tenant = 42
    holders = set(world.hosts_of_zone[tenant])
    assert len(holders) == 8
    for host in world.hosts:
        engine.attach(host)
    at = min(holders)
    new = worlds.endpoint(2_000_000, 10_000 + tenant, at, 200, third=tenant % 250, ipv6=False)
    deltas = engine.advance(world.apply(2, [new]), [new])
    assert deltas.keys() == holders
    assert engine.work.hosts == 8
    assert engine.work.fragments == 2, "once as seen from its host, once as seen from all others"
    assert engine.work.looks == 2 * 8
    assert engine.work.flows == sum(
        len(fragment(engine.world, Key(part, new.id))) for part in (Part.LOCAL, Part.REMOTE)
    )


def test_the_first_endpoint_of_a_tenant_on_a_host_brings_the_tenant_there_and_the_last_takes_it_away() -> None:
    world = worlds.world(*worlds.two_tenants(), Change("endpoint", 203, None))
    engine: Engine[Item] = Engine(world, fragment)
    for host in HOSTS:
        engine.attach(host)
    assert Key(Part.NETWORK, worlds.NETWORK_B) not in engine.carried(3)
    arrive, leave = worlds.endpoint(203, worlds.NETWORK_B, 3, 13), Change("endpoint", 203, None)
    added = engine.advance(engine.world.apply(2, [arrive]), [arrive])
    assert {Key(Part.NETWORK, worlds.NETWORK_B), Key(Part.REMOTE, 201), Key(Part.LOCAL, 203)} <= engine.carried(3)
    removed = engine.advance(engine.world.apply(3, [leave]), [leave])
    assert set(added[3].added) == set(removed[3].removed)


def test_joining_two_tenants_rewrites_flows_of_networks_and_zones_but_of_no_endpoint_already_seen() -> None:
    world = worlds.world(*worlds.two_tenants())
    engine: Engine[Item] = Engine(world, fragment)
    for host in HOSTS:
        engine.attach(host)
    one_zone = {"zone": worlds.TENANT_A}
    join = [worlds.tenant(worlds.TENANT_B, **one_zone), worlds.network(worlds.NETWORK_B, worlds.TENANT_B, **one_zone)]
    for delta in engine.advance(world.apply(2, join), join).values():
        assert len(delta.added) == 3, "VNI to zone, and the way to each of the two subnets"
        assert len(delta.removed) == 4, "the same three, and the zone that is empty now"


def test_a_join_touches_only_hosts_that_hold_one_of_the_tenants_and_compiles_no_endpoint() -> None:
    world = large_world(hosts=200, tenants=200, endpoints=2_000, hosts_per_tenant=8)
    compiled: list[Key] = []

    def compile(world: World, key: Key) -> tuple[Item, ...]:
        compiled.append(key)
        return fragment(world, key)

    engine: Engine[Item] = Engine(world, compile)
    for host in world.hosts:
        engine.attach(host)
    one, other = 42, 43
    holders = set(world.hosts_of_tenant[one]) | set(world.hosts_of_tenant[other])
    compiled.clear()
    join = [worlds.tenant(one, other), worlds.network(10_000 + one, one, one % 250, other, private=True, ipv6=False)]
    deltas = engine.advance(world.apply(2, join), join)
    assert deltas.keys() <= holders and len(holders) < 20
    assert {key.part for key in compiled} == {Part.TENANT, Part.NETWORK}
    assert engine.work.fragments == len(compiled) == 2
    for host in deltas:
        assert engine.carried(host) == members(engine.world, host)
