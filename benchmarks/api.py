"""How quick the API is: authenticated writes by 16 clients at once, and pages of lists of 10,000 rows.

A real `warren web` is asked over HTTP by clients in processes of their own. Each write is a change of the network with
its revision and its entry in the audit log. Pages are asked for one after the other, by an administrator and by a
viewer of one tenant among a hundred, from the first to the last. The last lines are what viewers cost: one client
reads and changes an endpoint in turns, without and with 200 who follow `/events` and hear of each change, and again;
and with 200 open pages, which ask for themselves anew then, twenty different ones.
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
from multiprocessing.connection import Connection
from os import sysconf
from pathlib import Path
from statistics import median, quantiles
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Engine

from benchmarks.pages import PASSWORD, Browser
from benchmarks.sides.viewers import Shown, watch
from client.rest import Rest
from db import attachments, audit, bindings, migrate, networks, tenants, tokens, users
from db.changes import transaction
from db.engine import create_engine, reading
from tests import postgres
from tests.db import steps
from tests.web.servers import Server, serving

PROCESSES, THREADS = 4, 4
TENANTS = 100
HOSTS = 20
A_BATCH = 500
MOST_SLOWER = 2.0
A_ROUND_SECONDS = 5.0
"""In which all open pages have heard of a change, and asked for what became of it."""
OPEN = ("/", "/endpoints", "/networks", "/tenants", "/hosts", "/topology", "/endpoints?tenant=t000", "/hosts/h0")
OPEN += ("/networks?tenant=t000", "/tenants/t000", "/networks/t000/web", "/policies", "/endpoints/t000/e00000")
OPEN += ("/endpoints/t001/e00001", "/endpoints/t002/e00002", "/addresses", "/settings", "/tenants/t001", "/hosts/h1")
OPEN += ("/endpoints?sort=-created",)
"""What people look at: each of these is open in as many browsers."""
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
        boss = users.create(tx, "admin", PASSWORD, role="admin")
        admin = tokens.create(tx, "admin", name="benchmark", user_id=boss.id)[1]
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


@contextmanager
def open_pages(url: str, count: int) -> Iterator[Connection]:
    """So many open pages, in a process of its own; whoever sends something is told what they were shown since then."""
    here, there = get_context("spawn").Pipe()
    paths = [OPEN[number % len(OPEN)] for number in range(count)]
    process = get_context("spawn").Process(target=watch, args=(url, Browser(url).cookie, paths, there), daemon=True)
    process.start()
    there.close()
    try:
        if not here.poll(120):
            raise SystemExit(f"{count} pages could not be opened")
        here.recv()
        yield here
    finally:
        process.kill()
        process.join()


def shown(pages: Connection) -> Shown:
    pages.send(None)
    found: Shown = pages.recv()
    return found


def processor(server: Server) -> float:
    """Seconds that the server has been at work."""
    fields = Path(f"/proc/{server.worker()}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / sysconf("SC_CLK_TCK")


def cost_of_viewers(server: Server, token: str, count: int, seconds: float) -> None:
    url = server.url
    alone: list[float] = []
    listened: list[float] = []
    watched: list[float] = []
    renewed: list[Shown] = []
    busy = 0.0
    for _ in range(2):
        alone += latencies(url, token, seconds / 2)
        with listeners(url, token, count):
            listened += latencies(url, token, seconds / 2)
        with open_pages(url, count) as pages:
            latencies(url, token, 2 * A_ROUND_SECONDS)
            shown(pages)
            began = processor(server)
            watched += latencies(url, token, seconds / 2)
            busy += processor(server) - began
            renewed.append(shown(pages))
    show("a read or a change", alone)
    for what, took in ((f"with {count} listeners", listened), (f"with {count} open pages", watched)):
        show(what, took)
        print(f"{'':24}{'':10}  ratio: {median(took) / median(alone):.2f} (target under {MOST_SLOWER:.0f})")
    regions, every = sum(one.regions for one in renewed) / seconds, median(one.every for one in renewed)
    print(f"{'':24}{'':10}  pages: {regions:.0f} regions a second, each page every {every:.1f} s; the server", end="")
    print(f" is at work {busy / seconds:.0%} of the time")


def cost_of_a_change(server: Server, token: str, counts: tuple[int, ...]) -> None:
    """What one change, after which nothing happens, costs the server with so many open pages."""
    rest = Rest(server.url, token)
    for count in counts:
        with open_pages(server.url, count) as pages:
            time.sleep(A_ROUND_SECONDS)
            shown(pages)
            began = processor(server)
            time.sleep(A_ROUND_SECONDS)
            idle = processor(server) - began
            began, before = processor(server), shown(pages).regions
            rest.patch("/endpoints/t000/e00000", {"labels": {"n": str(time.time_ns())}})
            time.sleep(A_ROUND_SECONDS)
            spent, regions = processor(server) - began - idle, shown(pages).regions - before
        print(
            f"{'':24}{'':10}  a change with {count} open pages: {spent * 1000:.0f} ms of processor, {regions} regions"
        )


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
                cost_of_viewers(server, admin, asked.viewers, asked.seconds)
                cost_of_a_change(server, admin, (1, asked.viewers // 10, asked.viewers))
            with reading(engine) as session:
                print(f"{'':24}{'':10}  the audit log: {audit.verify(session).entries} entries, intact")
            engine.dispose()


def show(what: str, took: list[float]) -> None:
    late = quantiles(took, n=20)[-1] if len(took) > 1 else took[0]
    print(f"{'':24}{'':10}  {what:<22}{median(took):>10.1f}{late:>8.1f}{len(took):>7}")


if __name__ == "__main__":
    main()
