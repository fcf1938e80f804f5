"""How far one process goes: 25,000 tenants, 100,000 endpoints and 75,000 policies from nothing, then one label.

The sizes are those of Antrea's published benchmark, whose controller is in Go and keeps all of it in memory as ours
does. Counted are the world with its indexes, which host carries which fragment, and the flows of every policy fragment
as bytes for the switch; flows that are not a policy's have a benchmark of their own. Nothing here touches a database
or a switch.

    python -m benchmarks.scale [--tenants 25000] [--hosts 500] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import random
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from statistics import median

from controller.calc.engine import Engine
from controller.loop import compile_fragment
from controller.main import spare_collector
from controller.model import (
    Action,
    Address,
    Change,
    Endpoint,
    Host,
    Labels,
    Members,
    Network,
    Policy,
    Requirement,
    Rule,
    Selector,
    Service,
    Subnet,
    Tenant,
    Tier,
)
from controller.openflow.encode import WireFlow
from controller.pipeline.program import Key, Part
from controller.world import World

KINDS: tuple[Labels, ...] = (
    (("app", "web"), ("tier", "front")),
    (("app", "api"), ("tier", "back")),
    (("app", "cache"), ("tier", "back")),
    (("app", "db"), ("tier", "back"), ("zone", "secure")),
)
"""A tenant has one endpoint of each."""
POLICIES: tuple[tuple[tuple[str, str], tuple[str, str], int], ...] = (
    (("app", "db"), ("app", "api"), 5432),
    (("tier", "back"), ("tier", "front"), 8080),
    (("app", "web"), ("tier", "back"), 80),
)
"""Whom it selects, whom it lets in, on which port."""
POLICY_PARTS = frozenset({Part.SUBJECT, Part.POLICY, Part.BINDING})
TCP = 6
CHANGES = 50
SECONDS, GIGABYTES, LABEL_MS = 60, 3, 20
PEER_SECONDS, PEER_GIGABYTES = 6, 1.7
"""Antrea's, published."""


def everything(tenants: int, hosts: int) -> Iterator[Change]:
    for id in range(1, hosts + 1):
        yield Change("host", id, Host(id, f"h{id}", (4, 0xC6120000 + id)))
    for id in range(1, tenants + 1):
        yield Change("tenant", id, Tenant(id, f"t{id}", id, (("kubernetes.io/metadata.name", f"t{id}"),)))
        subnet = Subnet(4, 0x0A000000 + id * 256, 24, 0x0A000001 + id * 256)
        yield Change("network", id, Network(id, f"t{id}/default", id, 4096 + id, id, (subnet,)))
        for place, labels in enumerate(KINDS):
            endpoint = _endpoint(id, place, labels, hosts)
            yield Change("endpoint", endpoint.id, endpoint)
        for place in range(len(POLICIES)):
            policy = _policy(id, place)
            yield Change("policy", policy.id, policy)


def _endpoint(tenant: int, place: int, labels: Labels, hosts: int) -> Endpoint:
    id = (tenant - 1) * len(KINDS) + place + 1
    address = 0x0A00000A + tenant * 256 + place
    host, ofport = id % hosts + 1, 100 + id // hosts
    return Endpoint(
        id, f"t{tenant}/e{place}", tenant, host, ofport, 0x020000000000 + address, (Address(4, address, 24),), labels
    )


def _policy(tenant: int, place: int) -> Policy:
    subject, peer, port = POLICIES[place]
    members = Members(None, _selector(*peer))
    rule = Rule("1", Action.ACCEPT, (members,), (Service(TCP, port, port),))
    id = (tenant - 1) * len(POLICIES) + place + 1
    return Policy(
        id, f"t{tenant}/p{place}", tenant, Tier.TENANT, place + 1, 0, None, _selector(*subject), (rule,), None
    )


def _selector(key: str, value: str) -> Selector:
    return (Requirement(key, "In", (value,)),)


def compile_policies(world: World, key: Key) -> tuple[WireFlow, ...]:
    return compile_fragment(world, key) if key.part in POLICY_PARTS else ()


def relabel(engine: Engine[WireFlow], chooser: random.Random) -> float:
    """Milliseconds for one endpoint's labels to be another's: the next world, and what changes on which host."""
    world = engine.world
    endpoint = world.endpoints[chooser.randrange(len(world.endpoints)) + 1]
    labels = chooser.choice([kind for kind in KINDS if kind != endpoint.labels])
    change = Change("endpoint", endpoint.id, endpoint._replace(labels=labels))
    start = time.perf_counter()
    deltas = engine.advance(world.apply(world.revision + 1, [change]), [change])
    spent = (time.perf_counter() - start) * 1000
    assert deltas, f"endpoint {endpoint.name} became {labels}, and no host heard of it"
    return spent


@contextmanager
def profiled(lines: int = 25) -> Iterator[None]:
    with cProfile.Profile() as profile:
        yield
    pstats.Stats(profile).sort_stats("tottime").print_stats(lines)


def peak_gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tenants", type=int, default=25_000)
    parser.add_argument("--hosts", type=int, default=500)
    parser.add_argument("--profile", action="store_true", help="say where the time goes; slower by itself")
    options = parser.parse_args()
    spare_collector()  # as the controller does
    changes = list(everything(options.tenants, options.hosts))
    held = peak_gigabytes()
    watch = profiled if options.profile else nullcontext
    start = time.perf_counter()
    with watch():
        world = World().apply(1, changes)
    built = time.perf_counter()
    engine = Engine(world, compile_policies)
    with watch():
        flows = sum(len(engine.attach(host)) for host in world.hosts)
    ready = time.perf_counter()
    peak = peak_gigabytes()
    chooser = random.Random(1)
    with watch():
        labels = [relabel(engine, chooser) for _ in range(CHANGES)]
    print(
        f"{len(world.tenants):,} tenants, {len(world.endpoints):,} endpoints, {len(world.policies):,} policies on "
        f"{len(world.hosts):,} hosts: {flows:,} flows of policies on them ({held:.1f} GB are the objects themselves)"
    )
    print(f"{'':44}{'Antrea, published':>20}{'Warren':>10}{'ratio':>8}{'asked':>10}")
    row("s to build the world and its indexes", built - start)
    row("s to compile every policy for every host", ready - built)
    row("s together, from cold", ready - start, PEER_SECONDS, SECONDS)
    row("GB at the peak", peak, PEER_GIGABYTES, GIGABYTES)
    row(f"ms for one label change, median of {CHANGES}", median(labels), asked=LABEL_MS)
    row("ms, the slowest of them", max(labels))


def row(what: str, ours: float, theirs: float | None = None, asked: float | None = None) -> None:
    peer, ratio = (f"{theirs:.1f}", f"{ours / theirs:.1f}") if theirs else ("-", "-")
    limit = "" if asked is None else f"<= {asked}"
    print(f"{what:44}{peer:>20}{ours:>10.1f}{ratio:>8}{limit:>10}")


if __name__ == "__main__":
    main()
