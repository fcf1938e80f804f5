"""How quick the API's lists are with 10,000 rows each: every list, in every order and by every filter, first and deep.

A real `warren web` over SQLite is asked for pages of 100, one after the other. Which lists there are, how they are
sorted and what they are filtered by is read from the API's own description, so a new one is measured, too.

    python -m benchmarks.lists [--rows 10000] [--pages 12] [--file FILE]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import urllib3
from sqlalchemy import Engine, func, insert, select

from client.rest import Rest
from db import migrate, tokens, users
from db.changes import transaction
from db.engine import create_engine, reading, writing
from db.tables import (
    AddressPool,
    DnsRecord,
    Endpoint,
    Group,
    Host,
    HostStatus,
    Policy,
    Pool,
    Publication,
    ResolvedAddress,
    ResolvedName,
    RoleBinding,
    Tenant,
    User,
    utcnow,
)
from tests import crowd
from tests.web.servers import serving

LIMIT = 100
MOST_MS = 100
HOSTS, TENANTS = 50, 2000
GIVEN: Mapping[str, str] = {
    "tenant": "acme",
    "network": "acme/web",
    "host": "h01",
    "label": "app=web",
    "noun": "endpoint",
    "actor": "user ada",
    "since": "2020-01-01T00:00:00Z",
    "until": "2040-01-01T00:00:00Z",
    "oldest_first": "true",
    "policy": "acme/db",
    "unused": "true",
    "user": "u00001",
    "group": "g00001",
}
"""What each filter is asked for."""


def extend(engine: Engine, rows: int) -> None:
    """As many of each noun as there are endpoints. Of what the lists show only, without the work of making it."""
    now, numbers = utcnow(), range(rows)
    with writing(engine) as session:
        acme = session.execute(select(Tenant.id).where(Tenant.name == "acme")).scalar_one()
        tenants = session.execute(select(Tenant.id).order_by(Tenant.id)).scalars().all()
        ends = session.execute(select(Endpoint.id, Endpoint.tenant_id).order_by(Endpoint.id)).all()
        like = session.execute(select(Host)).scalars().first()
        pool = session.execute(select(AddressPool.prefix).where(AddressPool.family == 6)).scalars().first()
        document = session.execute(select(Policy.document)).scalars().first()
        assert like is not None
        many: dict[Any, list[dict[str, Any]]] = {
            User: [{"id": n + 100, "name": f"u{n:05}", "password": ""} for n in numbers],
            Group: [{"id": n + 100, "name": f"g{n:05}"} for n in numbers],
            RoleBinding: [
                {"user_id": n + 100, "tenant_id": tenants[n % 7], "role": "viewer", "created_at": now} for n in numbers
            ],
            DnsRecord: [
                {"tenant_id": acme, "scope": "acme", "name": f"r{n:05}", "addresses": ["198.18.9.9"]} for n in numbers
            ],
            ResolvedName: [{"id": n + 1, "name": f"n{n:05}.example.org"} for n in numbers],
            ResolvedAddress: [
                {"name_id": n + 1, "ip": "198.18.9.9", "until": now + timedelta(days=1)} for n in numbers
            ],
            Policy: [
                {
                    "owner": tenant,
                    "tenant_id": tenant,
                    "name": f"p{n:05}",
                    "kind": "NetworkPolicy",
                    "ordinal": n + 10,
                    "document": document,
                }
                for n in numbers
                for tenant in (tenants[n % len(tenants)],)
            ],
            Pool: [
                {"id": n + 100_000, "kind": "subnet", "first": 0, "last": 9, "next": 0, "rest_seconds": 0}
                for n in numbers
            ],
            AddressPool: [
                {
                    "id": n + 100_000,
                    "name": f"p{n:05}",
                    "family": 6,
                    "cidr": f"fd01:{n:x}::/48",
                    "prefix": pool,
                    "low": f"fd01{n:04x}{'0' * 24}",
                    "high": f"fd01{n:04x}0000{'f' * 20}",
                    "state": "disabled",
                }
                for n in numbers
            ],
            Publication: [
                {
                    "tenant_id": ends[n % len(ends)].tenant_id,
                    "endpoint_id": ends[n % len(ends)].id,
                    "protocol": "tcp",
                    "host_port": 20000 + n,
                    "port": 80,
                    "count": 1,
                }
                for n in numbers
            ],
            Host: [{"id": n + 1000, "name": f"x{n:05}", "pool_id": like.pool_id} for n in numbers],
            HostStatus: [{"host_id": n + 1000, "updated_at": now} for n in numbers],
        }
        for table, values in many.items():
            session.execute(insert(table), values)


def lists(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Each list as it is, in each of its orders, and by each of its filters."""
    for path, methods in document["paths"].items():
        given = {
            one["name"]: one["schema"] for one in methods.get("get", {}).get("parameters", []) if one["in"] == "query"
        }
        if "cursor" not in given:
            continue
        yield path, {}
        for name, schema in given.items():
            if name == "sort":
                orders = [order for part in (schema, *schema.get("anyOf", ())) for order in part.get("enum", ())]
                yield from ((path, {"sort": order}) for order in orders)
            elif name not in ("cursor", "limit"):
                yield path, {name: GIVEN[name]}


def pages(rest: Rest, path: str, asked: Mapping[str, str], most: int) -> tuple[list[float], int]:
    """Milliseconds of the first and of some of the deep pages; how many rows there are in all."""
    cursor, took, rows, number = None, [], 0, 0
    while True:
        start = time.perf_counter()
        body = rest.get(path, params={**asked, "limit": LIMIT, "cursor": cursor}).body
        took.append((time.perf_counter() - start) * 1000)
        rows, number, cursor = rows + len(body["items"]), number + 1, body["next"]
        if cursor is None or number >= most:
            return took, rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--pages", type=int, default=1000, help="of each list at most; else all of them")
    parser.add_argument("--file", type=Path, help="keep the database here: a second run need not fill it again")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="warren-lists-") as name:
        file = asked.file or Path(name) / "warren.db"
        filled, url = file.exists(), f"sqlite:///{file.absolute()}"
        engine = create_engine(url)
        migrate.upgrade(engine)
        if not filled:
            crowd.fill(engine, host_count=HOSTS, tenant_count=min(TENANTS, asked.rows // 5), endpoint_count=asked.rows)
        with reading(engine) as session:
            extended = session.execute(select(func.count()).select_from(User)).scalar_one() >= asked.rows
        if not extended:
            extend(engine, asked.rows)
        with transaction(engine) as tx:
            user = users.create(tx, f"boss{time.time_ns()}", role="admin")
            token = tokens.create(tx, "admin", name=f"lists{time.time_ns()}", user_id=user.id)[1]
        with serving(url, Path(name)) as server:
            rest, slow, all = Rest(server.url, token), 0, 0
            print(f"{'list':<22}{'asked for':<34}{'rows':>7}{'pages':>7}{'median ms':>11}{'p95 ms':>8}{'worst':>8}")
            for path, query in lists(urllib3.request("GET", f"{server.url}/openapi.json").json()):
                took, rows = pages(rest, path.removeprefix("/api/v1"), query, asked.pages)
                p95 = quantiles(took, n=20)[-1] if len(took) > 1 else took[0]
                slow, all = slow + (p95 >= MOST_MS), all + 1
                said = "&".join(f"{key}={value}" for key, value in query.items())
                line = f"{path.removeprefix('/api/v1'):<22}{said:<34}{rows:>7}{len(took):>7}{median(took):>11.1f}"
                print(f"{line}{p95:>8.1f}{max(took):>8.1f}", flush=True)
            print(f"{all - slow} of {all} under {MOST_MS} ms at p95")
        engine.dispose()


if __name__ == "__main__":
    main()
