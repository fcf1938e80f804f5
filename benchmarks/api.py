"""How quick the API is: authenticated writes by 16 clients at once, and pages of lists of 10,000 rows.

A real `warren web` is asked over HTTP by clients in processes of their own. Each write is a change of the network with
its revision and its entry in the audit log. Pages are asked for one after the other, by an administrator and by a
viewer of one tenant among a hundred, from the first to the last. The last lines are what listeners cost: one client
reads and changes an endpoint in turns, without and with 200 who follow `/events` and hear of each change, and again.
PostgreSQL has each commit on the disk before it is answered; `as SQLite`, whose log is synced later, it has not.

    python -m benchmarks.api [--rows 10000] [--seconds 10] [--viewers 200]
"""

from __future__ import annotations

import argparse
import selectors
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from statistics import median, quantiles
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

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
MOST_SLOWER = 2.0
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


@contextmanager
def listeners(url: str, token: str, count: int) -> Iterator[None]:
    """So many streams of events, read by a process of its own."""
    there = get_context("spawn").Event()
    process = get_context("spawn").Process(target=listen, args=(url, token, count, there), daemon=True)
    process.start()
    try:
        if not there.wait(120):
            raise SystemExit(f"{count} listeners could not be connected")
        yield
    finally:
        process.kill()
        process.join()


def listen(url: str, token: str, count: int, there: Any) -> None:
    parts = urlsplit(url)
    selector = selectors.DefaultSelector()
    for _ in range(count):
        stream = socket.create_connection((parts.hostname or "", parts.port or 80))
        asked = f"GET /api/v1/events HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {token}\r\n\r\n"
        stream.sendall(asked.encode())
        begun = stream.recv(65536)
        if b" 200 " not in begun:
            raise SystemExit(begun.decode())
        selector.register(stream, selectors.EVENT_READ)
    there.set()
    while True:
        for key, _ in selector.select():
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.recv(65536)


def latencies(url: str, token: str, seconds: float) -> list[float]:
    """Milliseconds of reading and of changing an endpoint, ten of each a second at most."""
    rest, until, took = Rest(url, token), time.monotonic() + seconds, []
    while time.monotonic() < until:
        for method, body in (("GET", None), ("PATCH", {"labels": {"n": str(len(took))}})):
            start = time.perf_counter()
            rest.request(method, "/endpoints/t000/e00000", json=body)
            took.append((time.perf_counter() - start) * 1000)
        time.sleep(0.1)
    return took


def cost_of_listeners(url: str, token: str, count: int, seconds: float) -> None:
    alone: list[float] = []
    watched: list[float] = []
    for _ in range(2):
        alone += latencies(url, token, seconds / 2)
        with listeners(url, token, count):
            watched += latencies(url, token, seconds / 2)
    show("a read or a change", alone)
    show(f"with {count} listeners", watched)
    print(f"{'':24}{'':10}  ratio: {median(watched) / median(alone):.2f} (target under {MOST_SLOWER:.0f})")


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
    with postgres.running(postgres.LASTING) as server:
        yield {
            "SQLite": f"sqlite:///{folder}/warren.db",
            "PostgreSQL": server.create("benchmark"),
            "PostgreSQL, as SQLite": server.create("unsynced") + "&options=-csynchronous_commit%3Doff",
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--viewers", type=int, default=200)
    asked = parser.parse_args()
    print(f"{'':24}{'writes/s':>10}  {'page':<22}{'median ms':>10}{'p95 ms':>8}{'pages':>7}")
    with tempfile.TemporaryDirectory(prefix="warren-api-") as name, databases(Path(name)) as urls:
        for kind, database in urls.items():
            engine = create_engine(database)
            migrate.upgrade(engine)
            admin, viewer = fill(engine, asked.rows)
            with serving(database, Path(name)) as server:
                rate = writes_per_second(server.url, admin, asked.seconds)
                print(f"{kind:<24}{rate:>10.0f}")
                for path, limit in PAGES.items():
                    show(f"{path} of {limit}", pages(server.url, admin, path, limit))
                show("/endpoints, a tenant's", pages(server.url, viewer, "/endpoints", 100))
                cost_of_listeners(server.url, admin, asked.viewers, asked.seconds)
            with reading(engine) as session:
                print(f"{'':24}{'':10}  the audit log: {audit.verify(session).entries} entries, intact")
            engine.dispose()


def show(what: str, took: list[float]) -> None:
    late = quantiles(took, n=20)[-1] if len(took) > 1 else took[0]
    print(f"{'':24}{'':10}  {what:<22}{median(took):>10.1f}{late:>8.1f}{len(took):>7}")


if __name__ == "__main__":
    main()
