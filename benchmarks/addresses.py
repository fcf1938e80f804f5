"""Addresses under load: many clients at once attach and detach endpoints, on SQLite and on PostgreSQL.

Each client is a thread with database connections of its own and a host of its own, as if it were alone; the threads are
spread over processes. It holds up to ten endpoints and in the end none. Counted are claims, addresses that two had at
once, what is still claimed at the end, and refusals that a client had to try again. The peer is the reference plugin
host-local, which gives out addresses of one host from files: the same clients call it, as runtimes do.

    python -m benchmarks.addresses [--claims 10000] [--clients 32] [--peer-claims 400] [--plan shared]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import func, select

from db import attachments, hosts, ipam, migrate, networks, tenants
from db.changes import transaction
from db.engine import create_engine, reading
from db.errors import Busy, Conflict
from db.layout import PLAIN, Layout
from db.tables import Block, Claim
from tests import postgres

HOST_LOCAL = Path("/usr/lib/cni/host-local")
PROCESSES = 4
MOST_HELD = 10
PLANS = {"shared": PLAIN, "per-host": Layout(plan="per-host")}


class Spell(NamedTuple):
    """An address that somebody had, from when until when (seconds of one clock)."""

    address: str
    since: float
    until: float


class Work(NamedTuple):
    spells: list[Spell]
    retries: int


def client(url: str, number: int, claims: int) -> Work:
    engine = create_engine(url)
    chance = random.Random(number)
    spells: list[Spell] = []
    held: list[tuple[str, str, float]] = []
    made = retries = 0

    def attempt(act: Callable[[], object]) -> object:
        nonlocal retries
        while True:
            try:
                return act()
            except (Busy, Conflict):
                retries += 1
                time.sleep(0.01)

    def attach(name: str) -> str:
        with transaction(engine) as tx:
            done = attachments.attach(tx, number, name, "eth0", network="acme/web", name=name)
        return done.endpoint.addresses[0]

    def detach(name: str) -> None:
        with transaction(engine) as tx:
            attachments.detach(tx, number, name, "eth0")

    while made < claims or held:
        if made < claims and (not held or (len(held) < MOST_HELD and chance.random() < 0.6)):
            name = f"c{number}-{made}"
            address = attempt(lambda name=name: attach(name))
            held.append((name, str(address), time.monotonic()))
            made += 1
        else:
            name, address, since = held.pop(chance.randrange(len(held)))
            spells.append(Spell(address, since, time.monotonic()))
            attempt(lambda name=name: detach(name))
    engine.dispose()
    return Work(spells, retries)


def some_clients(url: str, numbers: range, claims: int) -> list[Work]:
    with ThreadPoolExecutor(len(numbers)) as threads:
        return list(threads.map(lambda number: client(url, number, claims), numbers))


def duplicates(spells: list[Spell]) -> int:
    """How often an address was given to somebody while another had it."""
    count = 0
    last: dict[str, float] = {}
    for one in sorted(spells, key=lambda spell: spell.since):
        count += one.since < last.get(one.address, 0.0)
        last[one.address] = max(one.until, last.get(one.address, 0.0))
    return count


def claimed(url: str) -> int:
    engine = create_engine(url)
    with reading(engine) as session:
        count: int = session.execute(select(func.count()).where(Claim.released_at.is_(None))).scalar_one()
        differences = [one for one in ipam.check(session, datetime.now(UTC)) if one.kind.endswith("without-endpoint")]
    engine.dispose()
    assert not differences, differences
    return count


def prepare(url: str, clients: int, layout: Layout) -> None:
    engine = create_engine(url)
    migrate.upgrade(engine)
    with transaction(engine) as tx:
        tenants.create(tx, "acme")
        networks.create(tx, "acme/web", subnets=["10.20.0.0/16", "fd00:20::/64"], layout=layout)
        for number in range(1, clients + 1):
            assert hosts.create(tx, f"h{number}")[0].id == number
    engine.dispose()


def measure(title: str, url: str, clients: int, claims: int, layout: Layout) -> None:
    prepare(url, clients, layout)
    before = claimed(url)
    share = clients // PROCESSES
    begun = time.perf_counter()
    with ProcessPoolExecutor(PROCESSES) as processes:
        groups = [
            processes.submit(some_clients, url, range(first, first + share), -(-claims // clients))
            for first in range(1, clients + 1, share)
        ]
        work = [one for group in groups for one in group.result()]
    seconds = time.perf_counter() - begun
    spells = [spell for one in work for spell in one.spells]
    # A host keeps its blocks until the last address has rested; they are no leak.
    blocks = sum(1 for _ in _blocks(url))
    print(
        f"{title:24} {len(spells):7} {len(spells) / seconds:9.0f} {duplicates(spells):10} "
        f"{claimed(url) - before - blocks:6} {sum(one.retries for one in work):8}",
        flush=True,
    )


def _blocks(url: str) -> Iterator[int]:
    engine = create_engine(url)
    with reading(engine) as session:
        yield from session.execute(select(Block.number)).scalars()
    engine.dispose()


@contextmanager
def databases() -> Iterator[Callable[[str, str], str]]:
    with tempfile.TemporaryDirectory() as folder, postgres.running() as server:

        def fresh(kind: str, name: str) -> str:
            name = name.replace("-", "_")
            return f"sqlite:///{folder}/{name}.db" if kind == "SQLite" else server.create(name)

        yield fresh


def peer(clients: int, claims: int) -> None:
    """host-local by the same number of clients on one host, its only case."""
    with tempfile.TemporaryDirectory() as folder:
        ipam = {"type": "host-local", "dataDir": folder, "ranges": [[{"subnet": "198.19.0.0/16"}]]}
        config = json.dumps({"cniVersion": "1.0.0", "name": "bench", "type": "bridge", "ipam": ipam}).encode()

        def call(command: str, container: str) -> None:
            environment = {"CNI_COMMAND": command, "CNI_CONTAINERID": container, "CNI_NETNS": "/none"}
            environment |= {"CNI_IFNAME": "eth0", "CNI_PATH": str(HOST_LOCAL.parent), "PATH": os.environ["PATH"]}
            subprocess.run([HOST_LOCAL], input=config, env=environment, capture_output=True, check=True, timeout=120)

        def one(number: int) -> None:
            for command in ("ADD", "DEL"):
                call(command, f"c{number}")

        begun = time.perf_counter()
        with ThreadPoolExecutor(clients) as threads:
            list(threads.map(one, range(claims)))
        print(f"{'host-local (one host)':24} {claims:7} {claims / (time.perf_counter() - begun):9.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--claims", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--peer-claims", type=int, default=400)
    parser.add_argument("--plan", choices=PLANS, action="append", help="left out: each")
    options = parser.parse_args()
    print(f"{options.clients} clients in {PROCESSES} processes; a claim is an attach and its detach")
    print(f"{'':24} {'claims':>7} {'claims/s':>9} {'duplicates':>10} {'leaks':>6} {'retries':>8}")
    with databases() as fresh:
        for kind in ("SQLite", "PostgreSQL"):
            for plan in options.plan or PLANS:
                measure(f"{kind}, {plan}", fresh(kind, plan), options.clients, options.claims, PLANS[plan])
    peer(options.clients, options.peer_claims)


if __name__ == "__main__":
    main()
