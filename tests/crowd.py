"""A large network in a database: what a benchmark or a look at the pages needs, without a switch anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import sin
from typing import Any

from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from db import attachments, audit, controllers, hosts, networks, policies, pools, tenants, traffic
from db.changes import current_revision, transaction
from db.engine import writing
from db.tables import Endpoint, Host, HostStatus, utcnow
from tests.db import steps

A_BATCH = 500
BEGAN = utcnow() - timedelta(hours=8)
"""Since when there has been traffic."""
NAMES = ("acme", "globex", "initech", "umbrella", "hooli", "stark", "wayne", "tyrell", "cyberdyne", "soylent")
APPS = ("web", "db", "cache", "queue")


def name(number: int) -> str:
    """Of a tenant: `acme`, ..., `soylent`, `acme2`, ..."""
    return NAMES[number % len(NAMES)] + (str(number // len(NAMES) + 1) if number >= len(NAMES) else "")


def fill(engine: Engine, *, host_count: int, tenant_count: int, endpoint_count: int) -> None:
    """Hosts h01..., tenants with a network `web` each, and endpoints spread unevenly over both."""
    ids = [steps.host(engine, f"h{n + 1:02}", f"198.18.{n // 250 + 1}.{n % 250 + 1}").id for n in range(host_count)]
    if tenant_count > 400:
        with transaction(engine) as tx:
            pools.create(tx, "large", "10.0.0.0/9")
    actor = audit.Actor("user", "ada", "198.18.0.9", "POST /api/v1/networks")
    for first in range(0, tenant_count, A_BATCH):
        with transaction(engine, actor=actor) as tx:
            for number in range(first, min(first + A_BATCH, tenant_count)):
                tenants.create(tx, name(number), labels={"team": NAMES[number % 7]})
                networks.create(tx, f"{name(number)}/web")
    for first in range(0, endpoint_count, A_BATCH):
        with transaction(engine, actor=audit.Actor("token", "agent h01", "198.18.1.1", "PUT attachments")) as tx:
            for number in range(first, min(first + A_BATCH, endpoint_count)):
                # The first tenants have the most: what is evenly spread hides what a picture does badly.
                owner = number % tenant_count if number % 3 else number % min(tenant_count, endpoint_count // 250 + 1)
                host = ids[(number * 7 + owner) % host_count] if number % 5 else ids[owner % host_count]
                app = APPS[number % len(APPS)]
                attached = {"network": f"{name(owner)}/web", "name": f"{app}{number}", "labels": {"app": app}}
                attachments.attach(tx, host, f"c{number}", "eth0", **attached)  # type: ignore[arg-type]
    with transaction(engine, actor=actor) as tx:
        document: dict[str, Any] = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
        document["metadata"] = {"name": "db", "namespace": name(0)}
        web = {"podSelector": {"matchLabels": {"app": "web"}}}
        spec = {"podSelector": {"matchLabels": {"app": "db"}}, "ingress": [{"from": [web], "ports": [{"port": 5432}]}]}
        policies.apply(tx, [document | {"spec": spec}])


def _carry(session: Session, host: int, ends: Sequence[int], others: Sequence[int], now: datetime) -> None:
    """Counters that have grown since `BEGAN`, for each endpoint and other host at a speed of its own."""
    seconds = int((now - BEGAN).total_seconds())
    counts = {}
    for end in ends:
        # Faster and slower in turn, and never backwards.
        packets = int((seconds + 60 * sin(seconds / 97 + end % 7)) * (1 + end * 7919 % 200))
        counts[str(end)] = [packets, packets * 700, 0, packets // 2, packets * 90, end % 50 // 49]
    traffic.count(session, host, counts, now)
    sent = {other: seconds * (1 + (host * 31 + other * 17) % 97) ** 2 // 100 for other in others if other != host}
    back = {other: seconds * (1 + (other * 31 + host * 17) % 97) ** 2 // 100 for other in others if other != host}
    tunnels = {other: (one, 700 * one, back[other], 700 * back[other]) for other, one in sent.items()}
    traffic.carry(session, {host: tunnels})


def report(engine: Engine, *, silent: int = 0, down: int = 0, now: datetime | None = None) -> None:
    """All hosts are heard and in step, but `silent` of them; `down` endpoints have no port. One controller is there."""
    now = now or utcnow()
    with writing(engine) as session:
        target = "tcp:198.18.0.1:6653"
        controllers.seen(session, "ctl1", target, 0, now)  # which takes a revision, the first time
        revision = current_revision(session)
        controllers.seen(session, "ctl1", target, revision, now)
        rows = session.execute(select(Host.id, Host.name).order_by(Host.id)).all()
        lost = 0
        for number, (id, host) in enumerate(rows):
            ends = session.execute(select(Endpoint.id).where(Endpoint.host_id == id)).scalars().all()
            ports = {}
            for end in ends:
                ports[str(end)] = "down" if lost < down and number >= silent else "up"
                lost += ports[str(end)] == "down"
            agent = {"version": "0.1.0", "pid": 4711, "started_at": "2026-11-20T10:00:00Z"}
            heard = now - timedelta(minutes=4 + number) if number < silent else now
            _carry(session, id, [int(end) for end in ends], [other for other, _ in rows], now)
            hosts.report(session, id, {"agent": agent, "ports": ports, "problems": [], "host": host}, heard)
            values = {"connected": number >= silent, "controller": "ctl1", "confirmed_revision": revision}
            values |= {"wanted_revision": revision, "flows": 900 + 14 * len(ends), "updated_at": now}
            values["drops"] = {"tenant_isolation": 40 * number, "ingress_policy": 7 * number, "spoofed": number % 3}
            session.execute(update(HostStatus).where(HostStatus.host_id == id).values(**values))
