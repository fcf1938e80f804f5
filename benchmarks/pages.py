"""How quick the pages are: the time of each at 2,000 tenants and 10,000 endpoints, and what the first page weighs.

A real `warren web` over SQLite is asked for each page as a browser asks that is logged in, one after the other.

    python -m benchmarks.pages [--tenants 2000] [--endpoints 10000] [--rounds 20]
"""

from __future__ import annotations

import argparse
import gzip
import re
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from urllib.parse import urlencode

import urllib3

from db import migrate, users
from db.changes import transaction
from db.engine import create_engine
from tests import crowd
from tests.web.servers import serving

PASSWORD = "correct horse battery"
HOSTS = 50
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
)


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
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="warren-pages-") as name:
        folder = Path(name)
        url = f"sqlite:///{folder}/warren.db"
        engine = create_engine(url)
        migrate.upgrade(engine)
        crowd.fill(engine, host_count=HOSTS, tenant_count=asked.tenants, endpoint_count=asked.endpoints)
        with transaction(engine) as tx:
            users.create(tx, "admin", PASSWORD, role="admin")
        with serving(url, folder) as server:
            browser = Browser(server.url)
            print(f"{asked.tenants} tenants, {asked.endpoints} endpoints, {HOSTS} hosts, SQLite")
            print(f"{'page':<44}{'median ms':>10}{'p95 ms':>8}{'kB':>7}{'gzip kB':>9}")
            for path in PAGES:
                crowd.report(engine, silent=1, down=3)
                body, _ = browser.get(path)
                took = [browser.get(path)[1] for _ in range(asked.rounds)]
                p95 = quantiles(took, n=20)[-1]
                packed = len(gzip.compress(body, 6)) / 1000
                print(f"{path:<44}{median(took):>10.0f}{p95:>8.0f}{len(body) / 1000:>7.0f}{packed:>9.1f}")
            weight = browser.weight("/")
            print(f"the first page with all it loads: {sum(weight.values()) / 1000:.0f} kB compressed")
            print(f"topology with all it loads: {sum(browser.weight('/topology').values()) / 1000:.0f} kB compressed")
        engine.dispose()


if __name__ == "__main__":
    main()
