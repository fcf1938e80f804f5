"""What people and agents do, each in a transaction of its own, in the fewest words for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, func, select

from db import attachments, changes, hosts, networks, tenants, tokens
from db.changes import transaction
from db.engine import reading
from db.tables import Address, Claim, Endpoint, Host, Network, Tenant
from db.wanted import WantedEndpoint


def do(engine: Engine, act: Callable[..., object], *args: Any, **more: Any) -> int:
    """Act in a transaction of its own; its revision."""
    with transaction(engine) as tx:
        act(tx, *args, **more)
    return tx.revision


def tenant(engine: Engine, name: str = "acme", **options: Any) -> Tenant:
    with transaction(engine) as tx:
        return tenants.create(tx, name, **options)


def network(engine: Engine, name: str = "acme/web", *subnets: str, **options: Any) -> Network:
    with transaction(engine) as tx:
        return networks.create(tx, name, subnets=subnets or None, **options)


def host(engine: Engine, name: str = "h1", address: str | None = "198.18.0.11") -> Host:
    """An enrolled host."""
    with transaction(engine) as tx:
        _, token = hosts.create(tx, name)
    with transaction(engine) as tx:
        return hosts.enrol(tx, tokens.verify(tx.session, token, tx.now), address=address)[0]


def attach(engine: Engine, on: Host, name: str, to: str = "acme/web", **options: Any) -> WantedEndpoint:
    """The container is called like the endpoint."""
    with transaction(engine) as tx:
        return attachments.attach(tx, on.id, name, "eth0", network=to, name=name, **options).endpoint


def detach(engine: Engine, on: Host, name: str) -> int | None:
    with transaction(engine) as tx:
        return attachments.detach(tx, on.id, name, "eth0")


def revision(engine: Engine) -> int:
    with reading(engine) as session:
        return changes.current_revision(session)


def held(engine: Engine) -> tuple[int, int, int]:
    """Endpoints, addresses and claimed numbers of every kind: what must be as before when something is undone."""
    with reading(engine) as session:
        used = select(func.count()).select_from(Claim).where(Claim.released_at.is_(None))
        endpoints = session.execute(select(func.count()).select_from(Endpoint)).scalar_one()
        addresses = session.execute(select(func.count()).select_from(Address)).scalar_one()
        return endpoints, addresses, session.execute(used).scalar_one()
