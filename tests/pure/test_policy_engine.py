"""Policies step by step: whatever was relabelled, moved, applied or deleted, hosts carry what a recompute says."""

from __future__ import annotations

from random import Random

import pytest

from controller.calc.engine import Engine
from controller.calc.membership import members
from controller.model import (
    Action,
    Address,
    Block,
    Change,
    Direction,
    DomainName,
    Endpoint,
    Labels,
    Members,
    Policy,
    Requirement,
    ResolvedName,
    Rule,
    Service,
    Tier,
)
from controller.pipeline.flow import Item, Kind
from controller.pipeline.program import Key, Part, fragment, program
from controller.world import World
from tests.policies import case, policies_of
from tests.pure import worlds
from tests.sites import ENDPOINT_LABELS, HOSTS, TENANT_LABELS

TABLES = {noun: f"{noun}s" for noun in ("tenant", "network", "host", "endpoint", "peering", "cluster")}
STEPS = (
    *("policy", "policy-", "firewall", "domains", "name", "relabel", "relabel tenant", "deny", "move", "leave"),
    *("rezone", "broadcast", "return", "tenant", "settle", "tenant-"),
)
NEWCOMERS = (8, 9)
"""Tenants that sites do not have; each may get a network and an endpoint."""
TABLES |= {"policy": "policies", "name": "names"}


def step(random: Random, world: World, spare: list[Policy], homes: dict[int, Endpoint]) -> list[Change]:
    """One thing that somebody does. `homes`: endpoints as they were, so that those who left may come again."""
    endpoint, tenant = random.choice(list(world.endpoints.values())), random.choice(list(world.tenants.values()))
    match random.choice(STEPS):
        case "policy":
            return [worlds.policy(random.choice(spare))]
        case "firewall":
            return [firewall(900 + tenant.id, tenant.id, random)]
        case "domains":
            return [of_cluster_with_domains(990 + random.randrange(2), random)]
        case "name":
            id = random.randint(1, 3)
            addresses = tuple((4, 0xCB007100 + random.randrange(8)) for _ in range(random.randint(0, 2)))
            value = ResolvedName(id, f"{'abc'[id - 1]}.example.org", tuple(sorted(set(addresses))))
            return [Change("name", id, value if addresses else None)]
        case "policy-" if world.policies:
            return [Change("policy", random.choice(list(world.policies)), None)]
        case "relabel":
            labels = tuple((key, random.choice(values)) for key, values in sorted(ENDPOINT_LABELS.items()))
            return [Change("endpoint", endpoint.id, endpoint._replace(labels=labels[random.randrange(2) :]))]
        case "relabel tenant":
            own = [label for label in tenant.labels if label[0] not in TENANT_LABELS]
            labels = [(key, random.choice(values)) for key, values in TENANT_LABELS.items() if random.randrange(2)]
            return [Change("tenant", tenant.id, tenant._replace(labels=tuple(sorted([*own, *labels]))))]
        case "deny":
            deny = frozenset(direction for direction in Direction if random.randrange(3) == 0)
            return [Change("tenant", tenant.id, tenant._replace(default_deny=deny))]
        case "move":
            return [Change("endpoint", endpoint.id, endpoint._replace(host=random.choice(HOSTS)))]
        case "leave" if len(world.endpoints.keys() & homes.keys()) > 2:
            return [Change("endpoint", endpoint.id, None)]
        case "return" if left := sorted(homes.keys() - world.endpoints.keys()):
            return [Change("endpoint", id, homes[id]) for id in left]
        case "tenant" if absent := [id for id in NEWCOMERS if id not in world.tenants]:
            labels = tuple((key, random.choice(values)) for key, values in sorted(TENANT_LABELS.items()))
            return [worlds.tenant(random.choice(absent), labels=labels)]
        case "settle" if news := [id for id in NEWCOMERS if id in world.tenants and id not in world.networks_of_tenant]:
            id = random.choice(news)
            zone = world.tenants[id].zone
            app = (("app", random.choice(ENDPOINT_LABELS["app"])),)
            return [
                worlds.network(50 + id, id, zone=zone),
                worlds.endpoint(500 + id, 50 + id, random.choice(HOSTS), 11, labels=app),
            ]
        case "tenant-" if news := [id for id in NEWCOMERS if id in world.tenants]:
            id = random.choice(news)
            its = [Change("network", network, None) for network in world.networks_of_tenant.get(id, ())]
            its += [Change("endpoint", one.id, None) for one in world.endpoints.values() if one.network == 50 + id]
            its += [Change("policy", policy, None) for policy in world.policies_of_tenant.get(id, ())]
            return [*its, Change("tenant", id, None)]
        case "rezone" if not any(network.private for network in world.networks.values()):
            zone = random.choice((0, tenant.id, 1))
            networks = [n for n in world.networks.values() if n.tenant == tenant.id and n.zone == tenant.zone]
            moved = [Change("network", network.id, network._replace(zone=zone)) for network in networks]
            return [Change("tenant", tenant.id, tenant._replace(zone=zone)), *moved]
        case "broadcast":
            network = random.choice(list(world.networks.values()))
            return [Change("network", network.id, network._replace(broadcast=not network.broadcast))]
    return []


def firewall(id: int, tenant: int, random: Random) -> Change:
    """A few rules for names and blocks outside."""
    peers = (DomainName("a.example.org"), DomainName("*.example.org"), Block(4, 0xCB007100, 24), Block(6, 0, 0))
    actions = (Action.ACCEPT, Action.DENY)
    rules = tuple(Rule("", random.choice(actions), (random.choice(peers),), None) for _ in range(random.randint(1, 3)))
    return worlds.policy(Policy(id, f"f{id}", tenant, Tier.FIREWALL, 900, 0, None, (), None, rules))


def of_cluster_with_domains(id: int, random: Random) -> Change:
    """An admin's, about some tenants, that accepts what is called by name."""
    key, values = random.choice(list(TENANT_LABELS.items()))
    tenants = random.choice(((), (Requirement(key, "In", (random.choice(values),)),)))
    names = (DomainName("*.example.org"), DomainName("b.example.org"), DomainName("org"))
    rules = (Rule("", Action.ACCEPT, tuple(random.sample(names, random.randint(1, 2))), None),)
    return worlds.policy(Policy(id, f"c{id}", 0, Tier.ADMIN, id, 500 + id, tenants, (), None, rules))


@pytest.mark.parametrize("seed", range(120))
def test_step_by_step_equals_a_recompute(seed: int) -> None:
    random = Random(seed)
    drawn = case(random)
    first, second = (
        # Of the two sets some may be there together, and no two of one owner have one name.
        [policy._replace(name=f"p{policy.id}") for policy in policies_of(documents, drawn.plan)]
        for documents in (drawn.before, drawn.after)
    )
    spare = [*first, *second]
    world = World().apply(1, [*drawn.plan.changes(), *map(worlds.policy, first)])
    engine: Engine[Item] = Engine(world, fragment)
    homes = dict(world.endpoints)
    switches = {host: set(engine.attach(host)) for host in HOSTS}
    for revision in range(2, 18):
        draft, changes = engine.world, dict[tuple[str, int], Change]()
        for _ in range(random.randint(1, 2)):
            news = step(random, draft, spare, homes)
            draft = draft.apply(revision, news)
            changes |= {(change.noun, change.id): change for change in news}
        for host, delta in engine.advance(engine.world.apply(revision, changes.values()), changes.values()).items():
            assert switches[host] >= set(delta.removed), "what is taken away was there"
            switches[host] -= set(delta.removed)
            switches[host] |= set(delta.added)
        for host in HOSTS:
            assert engine.carried(host) == members(engine.world, host)
            assert switches[host] == program(engine.world, members(engine.world, host)), (seed, revision, changes)
        assert engine.keeps == {key for host in HOSTS for key in engine.carried(host)}
    objects = [
        Change(noun, id, value) for noun, table in TABLES.items() for id, value in getattr(engine.world, table).items()
    ]
    assert engine.world == World().apply(engine.world.revision, objects), "a world is its objects, not its history"


def follow(world: World, *steps: list[Change]) -> Engine[Item]:
    """An engine that took the steps one by one; after each it must have for every host what a recompute says."""
    engine: Engine[Item] = Engine(world, fragment)
    switches = {host: set(engine.attach(host)) for host in world.hosts}
    for changes in steps:
        for host, delta in engine.advance(engine.world.apply(engine.world.revision + 1, changes), changes).items():
            switches[host] = switches[host] - set(delta.removed) | set(delta.added)
        for host, switch in switches.items():
            assert switch == program(engine.world, members(engine.world, host)), changes
    return engine


@pytest.mark.parametrize("deny", ["policy", "default"])
def test_who_comes_again_is_under_the_policies_of_now_and_not_of_then(deny: str) -> None:
    """The last endpoint of its labels leaves, and before another one comes it is denied what it was allowed."""
    egress = Policy(1, "p1", 1, Tier.TENANT, 1, 0, None, APP_DB, None, ())
    ingress = egress._replace(id=2, name="p2", ordinal=2, ingress=(), egress=None)
    db = worlds.endpoint(101, 10, 1, 11, labels=(("app", "db"),))
    by_default = worlds.tenant(1, default_deny=frozenset({Direction.INGRESS}))
    denied = worlds.policy(ingress) if deny == "policy" else by_default
    world = worlds.world(worlds.tenant(1), worlds.network(10, 1), worlds.host(1), db, worlds.policy(egress))
    follow(world, [Change("endpoint", 101, None)], [denied], [db])


def test_labels_that_nobody_has_any_more_are_not_kept() -> None:
    """Pods have labels of their own, and come and go as long as the controller runs."""
    policy = worlds.policy(Policy(1, "p1", 1, Tier.TENANT, 1, 0, None, (), (), None))
    world = worlds.world(worlds.tenant(1), worlds.network(10, 1), worlds.host(1), policy)
    kept: list[Key] = []

    def compile(world: World, key: Key) -> tuple[Item, ...]:
        kept.append(key)
        return fragment(world, key)

    engine: Engine[Item] = Engine(world, compile)
    engine.attach(1)
    come, go = worlds.endpoint(101, 10, 1, 11, labels=(("pod", "x"),)), Change("endpoint", 101, None)
    for times in (1, 2):
        for change in (come, go):
            engine.advance(engine.world.apply(engine.world.revision + 1, [change]), [change])
        assert sum(key.part is Part.SUBJECT for key in kept) == times, "made anew, as nothing was kept"


@pytest.mark.parametrize("selector", [("In", ("red",)), ("NotIn", ("blue",)), ("Exists", ())])
def test_a_rule_that_names_tenants_means_those_too_that_come_later_and_none_that_went(
    selector: tuple[str, tuple[str, ...]],
) -> None:
    rule = Rule("", Action.ACCEPT, (Members((Requirement("team", *selector),), ()),), None)
    policy = Policy(1, "p1", 1, Tier.TENANT, 1, 0, None, (), (rule,), (rule,))
    world = worlds.world(
        *(worlds.tenant(1), worlds.network(10, 1), worlds.host(1), worlds.endpoint(101, 10, 1, 11)),
        worlds.policy(policy),
    )
    red = worlds.tenant(2, labels=(("team", "red"),))
    endpoint = worlds.endpoint(201, 11, 1, 12)
    gone = [Change("endpoint", 201, None), Change("network", 11, None), Change("tenant", 2, None)]
    engine = follow(world, [red], [worlds.network(11, 2), endpoint], gone)
    assert engine.world.tenants.keys() == {1}


def test_a_tenant_that_no_rule_names_rewrites_no_rule() -> None:
    anybody, blue = Members((), ()), Members((Requirement("team", "In", ("blue",)),), ())
    rules = tuple(Rule("", Action.ACCEPT, (peer,), None) for peer in (anybody, blue))
    policy = Policy(1, "p1", 1, Tier.TENANT, 1, 0, None, (), rules, None)
    world = worlds.world(
        *(worlds.tenant(1), worlds.network(10, 1), worlds.host(1), worlds.endpoint(101, 10, 1, 11)),
        worlds.policy(policy),
    )
    engine = follow(world, [worlds.tenant(2, labels=(("team", "red"),))])
    assert engine.work.fragments == 0


APP_WEB = (Requirement("app", "In", ("web",)),)
APP_DB = (Requirement("app", "In", ("db",)),)


def web_to_db(id: int, port: int = 5432) -> Change:
    rule = Rule("", Action.ACCEPT, (Members(None, APP_WEB),), (Service(6, port, port),))
    return worlds.policy(Policy(id, f"p{id}", 1, Tier.TENANT, id, 0, None, APP_DB, (rule,), None))


def named_by_a_thousand_rules() -> World:
    """Tenant A on three hosts: web endpoints that a thousand policies name, and databases that they are about."""
    labels = {"web": (("app", "web"),), "db": (("app", "db"),)}
    return worlds.world(
        worlds.tenant(1),
        worlds.network(10, 1),
        *(worlds.host(host) for host in HOSTS),
        *(worlds.endpoint(100 + host, 10, host, 10 + host, labels=labels["web"]) for host in HOSTS),
        *(worlds.endpoint(200 + host, 10, host, 20 + host, labels=labels["db"]) for host in HOSTS),
        *(web_to_db(id, port=1000 + id) for id in range(1, 1001)),
    )


@pytest.mark.parametrize("app", ["web", "db"])
def test_an_endpoint_that_joins_a_group_of_a_thousand_rules_brings_its_own_flows_only(app: str) -> None:
    world = named_by_a_thousand_rules()
    engine: Engine[Item] = Engine(world, fragment)
    for host in HOSTS:
        engine.attach(host)
    new = worlds.endpoint(300, 10, 1, 30, labels=(("app", app),))
    deltas = engine.advance(world.apply(2, [new]), [new])
    own = {Key(Part.LOCAL, 300), Key(Part.REMOTE, 300)}
    flows = {flow for key in own for flow in fragment(engine.world, key)}
    assert all(set(delta.added) <= flows and not delta.removed for delta in deltas.values())
    assert engine.work.fragments == 2, "no rule is compiled again"


def test_a_rule_more_costs_its_own_flows_on_hosts_that_it_is_about() -> None:
    world = named_by_a_thousand_rules()
    engine: Engine[Item] = Engine(world, fragment)
    for host in HOSTS:
        engine.attach(host)
    more = web_to_db(1001, port=9999)
    deltas = engine.advance(world.apply(2, [more]), [more])
    assert {host: (len(delta.added), len(delta.removed)) for host, delta in deltas.items()} == dict.fromkeys(
        HOSTS, (1, 0)
    )
    assert engine.work.flows <= 20


def one_of_many(id: int, host: int, number: int, labels: Labels) -> Change:
    """With the address 10.10.0.0 plus `number`."""
    address = Address(4, (10 << 24) + (10 << 16) + number, 16)
    return Change("endpoint", id, Endpoint(id, f"e{id}", 10, host, id, 0x0200_0000_0000 + number, (address,), labels))


def test_a_thousand_rules_of_one_source_each_cost_a_flow_each() -> None:
    apps = [(("app", f"source{number}"),) for number in range(1000)]
    rules = tuple(
        Rule("", Action.ACCEPT, (Members(None, (Requirement("app", "In", (f"source{number}",)),)),), None)
        for number in range(1000)
    )
    start = [worlds.tenant(1), worlds.network(10, 1), worlds.host(1), worlds.host(2)]
    start += [one_of_many(1000 + n, 2, 256 + n, labels) for n, labels in enumerate(apps)]
    start += [one_of_many(100 + n, 1, 10 + n, (("app", "db"),)) for n in range(10)]
    before, policy = worlds.world(*start), Policy(1, "p1", 1, Tier.TENANT, 1, 0, None, APP_DB, rules, None)
    after = before.apply(2, [worlds.policy(policy)])
    grown = program(after, members(after, 1)) - program(before, members(before, 1))
    assert len(grown) <= 1010


def test_sources_destinations_and_ports_cost_their_sum_and_not_their_product() -> None:
    start = [worlds.tenant(1), worlds.network(10, 1), worlds.host(1), worlds.host(2)]
    for n in range(1000):
        labels = (("app", "web"), ("n", str(n)))
        start.append(one_of_many(1000 + n, 2, 256 + n, labels))
    for n in range(50):  # as different from each other as can be
        labels = (("app", "db"), ("n", str(n)))
        start.append(one_of_many(100 + n, 1, 10 + n, labels))
    ports = tuple(Service(6, 7000 + 2 * n, 7000 + 2 * n) for n in range(10))
    rule = Rule("", Action.ACCEPT, (Members(None, APP_WEB),), ports)
    policy = Policy(1, "p1", 1, Tier.TENANT, 1, 0, None, APP_DB, (rule,), None)
    before = worlds.world(*start)
    after = before.apply(2, [worlds.policy(policy)])
    grown = {flow for flow in program(after, members(after, 1)) if flow.owner in (Kind.POLICY, Kind.CLAUSE)}
    assert len(grown) == 1000 + 50 + 10 + 1
