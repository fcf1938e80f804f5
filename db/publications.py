"""Published ports: who may be reached from outside by which port of a host, or of all hosts."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from db import allocate, endpoints, host_ports
from db.addressing import unzoned
from db.changes import Transaction
from db.errors import Conflict, Exhausted, Forbidden, Invalid, NotFound
from db.pages import Page, Sort, containing, number, page
from db.tables import Endpoint, Host, Network, Publication, Shared, Tenant
from db.wanted import MESH_CHANGED, goes_out

PROTOCOLS = ("tcp", "udp", "sctp")
MOST_PORTS = 1024
"""At most so many ports in one publication."""
CHOSEN = range(32768, 61000)
"""Where a host's port is chosen when none is asked for: where Linux chooses by itself, so that nobody counts on one."""
AT_ONCE = 500
"""At most so many ids in one query; databases take no more than some thousands."""
MESH_LABEL, ALLOW = "warren/engine-mesh", "allow"
"""The label of a tenant whose runtimes may publish by all hosts, and so take ports of others than their own. Only an
administrator labels a tenant."""


class Wish(NamedTuple):
    """`host_port` 0: any. With `last` one of `host_port` to `last` is chosen, for one port of the endpoint. `mesh`: of
    all hosts."""

    protocol: str
    port: int
    host_port: int = 0
    count: int = 1
    host_ip: str = ""
    last: int = 0
    mesh: bool = False


def publish(tx: Transaction, name: str, wish: Wish) -> Publication:
    """One more of the endpoint's ports."""
    host_ports.take_turn(tx.session)
    return _publish(tx, _open(endpoints.get(tx.session, name)), wish, by_runtime=False)


def replace(tx: Transaction, endpoint: Endpoint, wishes: Sequence[Wish]) -> list[Publication]:
    """All ports that the endpoint's runtime publishes; what people published stays. Those that are there already keep
    their host's ports."""
    host_ports.take_turn(tx.session)
    there = tx.session.execute(
        host_ports.rows().where(Publication.endpoint_id == endpoint.id, Publication.by_runtime).order_by(Publication.id)
    )
    left = list(there.scalars())
    kept, new = [], []
    for wish in wishes:
        same = next((one for one in left if _serves(one, wish)), None)
        if same is None:
            new.append(wish)
        else:
            left.remove(same)
            kept.append(same)
    for one in left:
        _withdraw(tx, one)
    if new:
        _open(endpoint)
    if any(wish.mesh for wish in new) and (tenant := endpoint.tenant).labels.get(MESH_LABEL) != ALLOW:
        problem = f"containers' runtimes may not publish ports of tenant {tenant.name} by all hosts"
        allow = f"`warren tenant label {tenant.name} {MESH_LABEL}={ALLOW}`"
        raise Forbidden(problem, f"have an administrator allow it with {allow}, or publish without mesh", "mesh")
    return [*kept, *(_publish(tx, endpoint, wish, by_runtime=True) for wish in new)]


def withdraw(tx: Transaction, name: str, id: int) -> None:
    _withdraw(tx, get(tx.session, name, id))


def get(session: Session, name: str, id: int) -> Publication:
    """One of the endpoint's ports."""
    endpoint = endpoints.get(session, name)
    query = host_ports.rows().where(Publication.id == id, Publication.endpoint_id == endpoint.id)
    found = session.execute(query).scalar_one_or_none()
    if found is None:
        raise NotFound(f"endpoint {name} has no published port number {id}", "list them with `warren published`", "id")
    return found


def of_endpoint(session: Session, id: int) -> list[Publication]:
    return list(
        session.execute(host_ports.rows().where(Publication.endpoint_id == id).order_by(Publication.id)).scalars()
    )


def leading_to(session: Session, ids: Iterable[int], network_ids: Iterable[int]) -> list[Publication]:
    """The publications of some endpoints, and of all endpoints of some networks."""
    found: dict[int, Publication] = {}
    for column, wanted in ((Endpoint.id, sorted(ids)), (Endpoint.network_id, sorted(network_ids))):
        for first in range(0, len(wanted), AT_ONCE):
            query = host_ports.rows().where(column.in_(wanted[first : first + AT_ONCE]))
            found |= {row.id: row for row in session.execute(query).scalars()}
    return [found[id] for id in sorted(found)]


def find(
    session: Session,
    *,
    tenant: str | None = None,
    host: str | None = None,
    text: str | None = None,
    sort: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> Page[Publication]:
    """In the order in which they were published. `text` is part of the endpoint's qualified name. `sort` is by
    "created", "endpoint", "host" or "host_port"."""
    query = host_ports.rows().where(*containing(text, Tenant.name + "/" + Endpoint.name))
    if tenant is not None:
        query = query.where(Tenant.name == tenant)
    if host is not None:
        query = query.where(or_(Host.name == host, Publication.mesh > 0))
    order = (Publication.id,)
    return page(session, query, order, lambda row: str(row.id), cursor, limit, sort, SORTS, own="created", read=number)


SORTS = {
    "endpoint": Sort(Tenant.name + "/" + Endpoint.name, lambda row: row.endpoint.qualified_name),
    "host": Sort(Host.name, lambda row: row.endpoint.host.name),
    "host_port": Sort(Publication.host_port, lambda row: row.host_port, number),
}


def resting(network: Network) -> str | None:
    """Why no port leads to the network's endpoints, if none does."""
    return None if goes_out(network) else f"network {network.qualified_name} is {shut(network.outbound)}"


def shut(outbound: bool) -> str:
    """How a network is that goes nowhere beyond the hosts, though it may be meant to."""
    return "on a physical segment" if outbound else "closed to the outside"


def _open(endpoint: Endpoint) -> Endpoint:
    name = endpoint.network.qualified_name
    if not endpoint.network.outbound:
        remedy = f"open it with `warren network update {name} --outbound`"
        raise Conflict(
            f"network {name} is closed to the outside, so none of its ports can be published", remedy, "endpoint"
        )
    if not goes_out(endpoint.network):
        problem = f"network {name} is on a physical segment, where its endpoints are reached by their own addresses"
        raise Conflict(problem, "publish ports of endpoints of other networks", "endpoint")
    return endpoint


def _publish(tx: Transaction, endpoint: Endpoint, wish: Wish, by_runtime: bool) -> Publication:
    session = tx.session
    host_ip = _checked(wish)
    at = None if wish.mesh else endpoint.host_id
    host_ports.check_address(session, endpoint.host, host_ip)
    _check_family(endpoint, host_ip)
    taken = host_ports.taken(session, wish.protocol, host_ip, at)
    host_port = wish.host_port
    if host_port == 0 or wish.last > host_port:
        where = range(host_port, wish.last + 1) if host_port else CHOSEN
        used = taken.ports
        free = (p for p in where if used.isdisjoint(range(p, p + wish.count)) and p + wish.count - 1 in where)
        found = next(free, None)
        if found is None:
            of = "every host" if wish.mesh else f"host {endpoint.host.name}"
            problem = f"no port of {where[0]} to {where[-1]} of {of} is free for {wish.protocol}"
            raise Exhausted(problem, "unpublish one, or choose another", field="host_port")
        host_port = found
    host_ports.check(taken, wish.protocol, range(host_port, host_port + wish.count), endpoint)
    made = Publication(
        tenant_id=endpoint.tenant_id,
        endpoint=endpoint,
        protocol=wish.protocol,
        host_ip=host_ip,
        host_port=host_port,
        port=wish.port,
        count=wish.count,
        by_runtime=by_runtime,
        mesh=_in_mesh(tx, endpoint) if wish.mesh else 0,
    )
    session.add(made)
    session.flush()
    tx.record("publication", made.id, "create", tenant_id=made.tenant_id, host_id=endpoint.host_id)
    if made.mesh:
        tx.record(MESH_CHANGED, endpoint.id, "update")
    return made


def _in_mesh(tx: Transaction, endpoint: Endpoint) -> int:
    """The endpoint's number among those that all hosts publish, the same for all of its ports."""
    number = _number(tx.session, endpoint.id)
    if not number:
        what = "the range of numbers of endpoints that all hosts publish"
        number = allocate.claim(tx.session, Shared.MESH, tx.now, what=what, remedy="unpublish another")
        tx.record("endpoint", endpoint.id, "update", tenant_id=endpoint.tenant_id, host_id=endpoint.host_id)
    return number


def _number(session: Session, endpoint_id: int) -> int | None:
    return session.execute(select(host_ports.MESH).where(Endpoint.id == endpoint_id)).scalar()


def _withdraw(tx: Transaction, row: Publication) -> None:
    tx.session.delete(row)
    tx.session.flush()
    endpoint = row.endpoint
    tx.record("publication", row.id, "delete", tenant_id=row.tenant_id, host_id=endpoint.host_id)
    if row.mesh:
        tx.record(MESH_CHANGED, endpoint.id, "update")
    if row.mesh and not _number(tx.session, endpoint.id):
        host_ports.leave_mesh(tx, endpoint.id, row.mesh)
        tx.record("endpoint", endpoint.id, "update", tenant_id=endpoint.tenant_id, host_id=endpoint.host_id)


def _checked(wish: Wish) -> str:
    """The host's address as it is stored."""
    if wish.protocol not in PROTOCOLS:
        raise Invalid(f"protocol {wish.protocol!r} cannot be published", f"use {', '.join(PROTOCOLS)}", "protocol")
    if not 1 <= wish.count <= MOST_PORTS:
        raise Invalid(f"{wish.count} ports cannot be published at once", f"publish 1 to {MOST_PORTS}", "count")
    for field, first in (("port", wish.port), ("host_port", wish.host_port)):
        least = 1 if field == "port" else 0
        if not least <= first <= 65535 or first + wish.count - 1 > 65535:
            raise Invalid(f"ports {first} to {first + wish.count - 1} do not exist", "use 1 to 65535", field)
    if not wish.host_ip:
        return ""
    try:
        address = ipaddress.ip_address(unzoned(wish.host_ip))
    except ValueError:
        raise Invalid(f"{wish.host_ip!r} is not an address", "write it like 192.0.2.11", "host_ip") from None
    if wish.mesh and str(address) not in host_ports.ANY:
        problem = f"{address} is an address of one host, and a mesh port is published on all"
        raise Invalid(problem, "leave it out, or use 0.0.0.0 or :: for one family", "host_ip")
    return str(address)


def _check_family(endpoint: Endpoint, host_ip: str) -> None:
    """Nothing is translated from one family to the other."""
    version = 6 if ":" in host_ip else 4
    if host_ip and all((":" in one.ip) != (version == 6) for one in endpoint.addresses):
        problem = f"endpoint {endpoint.qualified_name} has no IPv{version} address, and {host_ip} is one"
        raise Conflict(problem, "publish by an address of the other family, or by any", "host_ip")


def _serves(row: Publication, wish: Wish) -> bool:
    same = (row.protocol, row.port, row.count, row.mesh > 0) == (wish.protocol, wish.port, wish.count, wish.mesh)
    fits = wish.host_port in (0, row.host_port) or wish.host_port <= row.host_port <= wish.last
    return same and fits and row.host_ip == _checked(wish)
