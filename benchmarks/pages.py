"""How quick the pages are: the time of each at 2,000 tenants and 10,000 endpoints, and what the first page weighs.

A real `warren web` over SQLite is asked for each page as a browser asks that is logged in, one after the other.

    python -m benchmarks.pages [--tenants 2000] [--endpoints 10000] [--rounds 20] [--file FILE]
"""

from __future__ import annotations

import argparse
import gzip
import re
import tempfile
import threading
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.parse import urlencode

import urllib3
from sqlalchemy import Engine, select

from controller.calc.known import owned
from controller.openflow.encode import encode
from controller.world import World
from db import endpoints, migrate, snapshot, traces, users
from db.changes import transaction
from db.engine import create_engine, reading, writing
from db.tables import Trace, utcnow
from ovs_agent.dump import MOST_FLOWS
from tests import crowd
from tests.web.servers import serving

PASSWORD = "correct horse battery"
HOSTS = 50
MOST_MS = 200
NO_SWITCH = {"table": None, "cookie": None, "outputs": [], "tunnel": None, "trouble": "it has no switch"}
PAGES = (
    "/",
    "/tenants",
    "/networks?sort=-endpoints",
    "/endpoints",
    "/endpoints?sort=-created&label=app%3Dweb",
    "/hosts",
    "/search?q=web1",
    "/tenants/acme",
    "/networks/acme/web",
    "/hosts/h01",
    "/endpoints/acme/web0",
    "/topology",
    "/topology/boxes",
    "/topology/inside?box=h01",
    "/topology?group=network",
    "/tenants?sort=-endpoints",
    "/endpoints?state=down",
    "/hosts/h01/flows",
    "/hosts/h02/flows?q=web1",
    "/policies",
    "/policies/acme/db",
    "/policies/matrix",
    "/policies/matrix?tenants=acme&by=label",
    "/trace",
    "/trace?source=acme/web0&destination=acme/{db}&port=5432",
    "/addresses",
    "/networks/acme/web/addresses",
    "/audit",
    "/audit?noun=endpoint",
    "/audit/verification",
    "/settings",
    "/new/network",
    "/new/policy",
    "/new/token",
    "/tenants/acme/edit",
    "/tenants/acme/peer",
    "/networks/acme/web/edit",
    "/networks/acme/default/delete",
    "/endpoints/acme/web0/edit",
)
"""What needs the whole world says in its first time what it costs to read it, or after a change to follow it."""


class Agents(threading.Thread):
    """All hosts' agents: they tell the flows that the model has, as fast as the database lets them."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(daemon=True)
        self.engine, self.ended = engine, threading.Event()
        with reading(engine) as session:
            self.world = World().apply(*snapshot.snapshot(session))
        self.told: dict[int, list[str]] = {}

    def run(self) -> None:
        waiting = select(Trace.id, Trace.host_id, Trace.kind).where(Trace.answered_at.is_(None))
        while not self.ended.wait(0.005):
            with reading(self.engine) as session:
                asked = session.execute(waiting).all()
            for id, host, kind in asked:
                with writing(self.engine) as session:
                    traces.answer(session, host, id, self.flows(host) if kind == traces.FLOWS else NO_SWITCH, utcnow())

    def flows(self, host: int) -> dict[str, Any]:
        if host not in self.told:
            self.told[host] = [
                f"{encode(one.flow).cookie:016x} {int(one.flow.table)} {one.flow.priority} {number} {number * 60}"
                for number, one in enumerate(owned(self.world, host))
            ]
        lines = self.told[host]
        return {"flows": lines[:MOST_FLOWS], "foreign": [], "left_off": len(lines[MOST_FLOWS:]), "trouble": ""}


class Browser:
    """Somebody who is logged in."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pool = urllib3.PoolManager()
        form = urlencode({"user": "admin", "password": PASSWORD})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = self.pool.request("POST", f"{url}/login", body=form, headers=headers, redirect=False)
        assert answer.status == 303, answer.data
        self.cookie = answer.headers["Set-Cookie"].partition(";")[0]

    def get(self, path: str) -> tuple[bytes, float]:
        """What came, and how many milliseconds it took."""
        headers = {"Cookie": self.cookie, "Accept-Encoding": "gzip"}
        start = time.perf_counter()
        answer = self.pool.request("GET", self.url + path, headers=headers, decode_content=False)
        took = (time.perf_counter() - start) * 1000
        assert answer.status == 200, f"{path}: {answer.status}"
        packed = answer.headers.get("Content-Encoding") == "gzip"
        return (gzip.decompress(answer.data) if packed else answer.data), took

    def weight(self, path: str) -> dict[str, int]:
        """Bytes on the wire of a page and of what it loads."""
        page = self.get(path)[0].decode()
        found = {path: len(gzip.compress(page.encode(), 6))}
        for file in dict.fromkeys(re.findall(r'(?:src|href)="(/static/[^"?]+)[^"]*"', page)):
            found[file] = len(gzip.compress(self.get(file)[0], 6))
        return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tenants", type=int, default=2_000)
    parser.add_argument("--endpoints", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--file", type=Path, help="keep the database here: a second run need not fill it again")
    parser.add_argument("--fill-only", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="warren-pages-") as name:
        folder = Path(name)
        file = asked.file or folder / "warren.db"
        url = f"sqlite:///{file.absolute()}"
        filled = file.exists()
        engine = create_engine(url)
        if not filled:
            migrate.upgrade(engine)
            crowd.fill(engine, host_count=HOSTS, tenant_count=asked.tenants, endpoint_count=asked.endpoints)
            with transaction(engine) as tx:
                users.create(tx, "admin", PASSWORD, role="admin")
        if asked.fill_only:
            return
        with serving(url, folder) as server:
            browser = Browser(server.url)
            slow = 0
            print(f"{asked.tenants} tenants, {asked.endpoints} endpoints, {HOSTS} hosts, SQLite")
            print(f"{'page':<54}{'first ms':>9}{'median ms':>10}{'p95 ms':>8}{'kB':>7}{'gzip kB':>9}")
            agents = Agents(engine)
            agents.start()
            with reading(engine) as session:
                db = next(one for one in endpoints.names(session, 1000) if one.startswith("acme/db")).partition("/")[2]
            for path in (page.format(db=db) for page in PAGES):
                crowd.report(engine, silent=1, down=3)
                body, first = browser.get(path)
                took = [browser.get(path)[1] for _ in range(asked.rounds)]
                p95 = quantiles(took, n=20)[-1]
                slow += p95 >= MOST_MS
                packed = len(gzip.compress(body, 6)) / 1000
                print(f"{path:<54}{first:>9.0f}{median(took):>10.0f}{p95:>8.0f}{len(body) / 1000:>7.0f}{packed:>9.1f}")
            agents.ended.set()
            agents.join()
            print(f"{len(PAGES) - slow} of {len(PAGES)} pages under {MOST_MS} ms at p95")
            weight = browser.weight("/")
            print(f"the first page with all it loads: {sum(weight.values()) / 1000:.0f} kB compressed")
            print(f"topology with all it loads: {sum(browser.weight('/topology').values()) / 1000:.0f} kB compressed")
        engine.dispose()


if __name__ == "__main__":
    main()
