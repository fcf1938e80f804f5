"""How quick the API is: authenticated writes by 16 clients at once, and pages of lists of 10,000 rows.

A real `warren web` is asked over HTTP by clients in processes of their own. Each write is a change of the network with
its revision and its entry in the audit log. Pages are asked for one after the other, by an administrator and by a
viewer of one tenant among a hundred, from the first to the last.

    python -m benchmarks.api [--rows 10000] [--seconds 10]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from statistics import median, quantiles
from threading import Thread

from sqlalchemy import Engine

from client.rest import Rest
from db import attachments, audit, bindings, migrate, networks, tenants, tokens, users
from db.changes import transaction
from db.engine import create_engine, reading
from tests import postgres
from tests.db import steps
from tests.web.servers import serving

PROCESSES, THREADS = 4, 4
TENANTS = 100
HOSTS = 20
A_BATCH = 500
PAGES = {"/endpoints": 100, "/networks": 100, "/tenants": 100, "/audit": 100}


def fill(engine: Engine, rows: int) -> tuple[str, str]:
    """Tenants, one network each, and `rows` endpoints. A token of an admin, and one of a viewer of the last tenant."""
    hosts = [steps.host(engine, f"h{n}", f"198.18.1.{n + 1}") for n in range(HOSTS)]
    for first in range(0, rows, A_BATCH):
        with transaction(engine, actor=audit.Actor("local", "benchmark")) as tx:
            for number in range(first, min(first + A_BATCH, rows)):
                owner = number % TENANTS
                if number < TENANTS:
                    tenants.create(tx, f"t{owner:03}")
                    networks.create(tx, f"t{owner:03}/web", subnets=[f"10.{owner}.0.0/16"])
                host = hosts[number % HOSTS].id
                attachments.attach(tx, host, f"c{number}", "eth0", network=f"t{owner:03}/web", name=f"e{number:05}")
    with transaction(engine) as tx:
        admin = tokens.create(tx, "admin", name="benchmark", user_id=users.create(tx, "boss", role="admin").id)[1]
        viewer = users.create(tx, "eve")
        bindings.grant(tx, "viewer", user="eve", tenant=f"t{TENANTS - 1:03}")
        return admin, tokens.create(tx, "viewer", name="eve", user_id=viewer.id)[1]


def write(url: str, token: str, client: int, seconds: float, counts: list[int]) -> None:
    """Changes the labels of one endpoint of this client's own, again and again."""
    rest, until, count = Rest(url, token), time.monotonic() + seconds, 0
    while time.monotonic() < until:
        rest.patch(f"/endpoints/t{client % TENANTS:03}/e{client:05}", {"labels": {"n": str(count)}})
        count += 1
    counts.append(count)


def process(url: str, token: str, first: int, seconds: float) -> int:
    counts: list[int] = []
    clients = [Thread(target=write, args=(url, token, first + n, seconds, counts)) for n in range(THREADS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return sum(counts)


def writes_per_second(url: str, token: str, seconds: float) -> float:
    with get_context("spawn").Pool(PROCESSES) as pool:
        work = [(url, token, n * THREADS, seconds) for n in range(PROCESSES)]
        return sum(pool.starmap(process, work)) / seconds


def pages(url: str, token: str, path: str, limit: int) -> list[float]:
    """Milliseconds of each page."""
    rest, cursor, took = Rest(url, token), None, []
    while True:
        start = time.perf_counter()
        body = rest.get(path, params={"limit": limit, "cursor": cursor}).body
        took.append((time.perf_counter() - start) * 1000)
        cursor = body["next"]
        if cursor is None:
            return took


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, str]]:
    with postgres.running() as server:
        yield {"SQLite": f"sqlite:///{folder}/warren.db", "PostgreSQL": server.create("benchmark")}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    asked = parser.parse_args()
    print(f"{'':12}{'writes/s':>10}  {'page':<22}{'median ms':>10}{'p95 ms':>8}{'pages':>7}")
    with tempfile.TemporaryDirectory(prefix="warren-api-") as name, databases(Path(name)) as urls:
        for kind, database in urls.items():
            engine = create_engine(database)
            migrate.upgrade(engine)
            admin, viewer = fill(engine, asked.rows)
            with serving(database, Path(name)) as server:
                rate = writes_per_second(server.url, admin, asked.seconds)
                print(f"{kind:<12}{rate:>10.0f}")
                for path, limit in PAGES.items():
                    show(f"{path} of {limit}", pages(server.url, admin, path, limit))
                show("/endpoints, a tenant's", pages(server.url, viewer, "/endpoints", 100))
            with reading(engine) as session:
                print(f"{'':12}{'':10}  the audit log: {audit.verify(session).entries} entries, intact")
            engine.dispose()


def show(what: str, took: list[float]) -> None:
    late = quantiles(took, n=20)[-1] if len(took) > 1 else took[0]
    print(f"{'':12}{'':10}  {what:<22}{median(took):>10.1f}{late:>8.1f}{len(took):>7}")


if __name__ == "__main__":
    main()
