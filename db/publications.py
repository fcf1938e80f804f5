"""Published ports: who may be reached from outside by which port of a host. Decides what may stand beside what."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, contains_eager

from db import endpoints
from db.changes import Transaction
from db.errors import CollidesElsewhere, Conflict, Exhausted, Invalid, NotFound
from db.pages import Page, Sort, containing, number, page
from db.tables import Endpoint, Host, HostStatus, Pool, Publication, Shared, Tenant
from db.wanted import goes_out

PROTOCOLS = ("tcp", "udp", "sctp")
MOST_PORTS = 1024
"""Of one publication."""
CHOSEN = range(32768, 61000)
"""Where a host's port is chosen when none is asked for: where Linux chooses by itself, so that nobody counts on one."""
ANY = {"0.0.0.0": 4, "::": 6}


class Wish(NamedTuple):
    """`host_port` 0: any. With `last` one of `host_port` to `last` is chosen, for one port of the endpoint."""

    protocol: str
    port: int
    host_port: int = 0
    count: int = 1
    host_ip: str = ""
    last: int = 0


def publish(tx: Transaction, name: str, wish: Wish) -> Publication:
    """One more of the endpoint's ports."""
    _take_turn(tx.session)
    return _publish(tx, _open(endpoints.get(tx.session, name)), wish, by_runtime=False)


def replace(tx: Transaction, endpoint: Endpoint, wishes: Sequence[Wish]) -> list[Publication]:
    """All ports that the endpoint's runtime publishes; what people published stays. Those that are there already keep
    their host's ports."""
    _take_turn(tx.session)
    there = tx.session.execute(
        _query().where(Publication.endpoint_id == endpoint.id, Publication.by_runtime).order_by(Publication.id)
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
    return [*kept, *(_publish(tx, endpoint, wish, by_runtime=True) for wish in new)]


def withdraw(tx: Transaction, name: str, id: int) -> None:
    endpoint = endpoints.get(tx.session, name)
    query = _query().where(Publication.id == id, Publication.endpoint_id == endpoint.id)
    found = tx.session.execute(query).scalar_one_or_none()
    if found is None:
        raise NotFound(f"endpoint {name} has no published port number {id}", "list them with `warren published`", "id")
    _withdraw(tx, found)


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
    query = _query().where(*containing(text, Tenant.name + "/" + Endpoint.name))
    if tenant is not None:
        query = query.where(Tenant.name == tenant)
    if host is not None:
        query = query.where(Host.name == host)
    order = (Publication.id,)
    return page(session, query, order, lambda row: str(row.id), cursor, limit, sort, SORTS, own="created", read=number)


SORTS = {
    "endpoint": Sort(Tenant.name + "/" + Endpoint.name, lambda row: row.endpoint.qualified_name),
    "host": Sort(Host.name, lambda row: row.endpoint.host.name),
    "host_port": Sort(Publication.host_port, lambda row: row.host_port, number),
}


def _query() -> Select[Publication]:
    return (
        select(Publication)
        .join(Publication.endpoint)
        .join(Endpoint.tenant)
        .join(Endpoint.host)
        .options(
            contains_eager(Publication.endpoint).contains_eager(Endpoint.tenant),
            contains_eager(Publication.endpoint).contains_eager(Endpoint.host),
        )
    )


def _take_turn(session: Session) -> None:
    """Overlaps are looked for by one at a time."""
    session.execute(select(Pool.id).where(Pool.id == Shared.VNI).with_for_update())


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
    others = _others(session, endpoint, wish.protocol, host_ip)
    listening = _listening(session, endpoint.host_id, wish.protocol, host_ip)
    host_port = wish.host_port
    if host_port == 0 or wish.last > host_port:
        where = range(host_port, wish.last + 1) if host_port else CHOSEN
        taken = {port for other in others for port in other.host_ports} | listening
        free = (p for p in where if taken.isdisjoint(range(p, p + wish.count)) and p + wish.count - 1 in where)
        found = next(free, None)
        if found is None:
            problem = f"no port of {where[0]} to {where[-1]} of host {endpoint.host.name} is free for {wish.protocol}"
            raise Exhausted(problem, "unpublish one, or choose another", "host_port")
        host_port = found
    asked = range(host_port, host_port + wish.count)
    for other in others:
        if both := sorted(set(asked) & set(other.host_ports)):
            problem = f"port {wish.protocol}/{both[0]} of host {endpoint.host.name} is published for"
            remedy = "choose another port, or another address of the host"
            if other.tenant_id == endpoint.tenant_id:
                raise Conflict(f"{problem} {other.endpoint.qualified_name}", remedy, "host_port")
            whose = other.endpoint.qualified_name
            raise CollidesElsewhere(f"{problem} {whose}", remedy, "host_port", f"{problem} another tenant")
    if both := sorted(listening & set(asked)):
        problem = (
            f"port {wish.protocol}/{both[0]} of host {endpoint.host.name} is in use: a program of the host's listens"
        )
        raise Conflict(problem, "choose another port, or end that program", "host_port")
    made = Publication(
        tenant_id=endpoint.tenant_id,
        endpoint=endpoint,
        protocol=wish.protocol,
        host_ip=host_ip,
        host_port=host_port,
        port=wish.port,
        count=wish.count,
        by_runtime=by_runtime,
    )
    session.add(made)
    session.flush()
    tx.record("publication", made.id, "create", tenant_id=made.tenant_id, host_id=endpoint.host_id)
    return made


def _withdraw(tx: Transaction, row: Publication) -> None:
    tx.session.delete(row)
    tx.session.flush()
    tx.record("publication", row.id, "delete", tenant_id=row.tenant_id, host_id=row.endpoint.host_id)


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
        address = ipaddress.ip_address(wish.host_ip)
    except ValueError:
        raise Invalid(f"{wish.host_ip!r} is not an address", "write it like 192.0.2.11", "host_ip") from None
    if address.version == 6 and address.is_loopback:
        raise Invalid("::1 leads to no endpoint: Linux lets nothing leave from it", "use 127.0.0.1", "host_ip")
    return str(address)


def _serves(row: Publication, wish: Wish) -> bool:
    same = (row.protocol, row.port, row.count) == (wish.protocol, wish.port, wish.count)
    fits = wish.host_port in (0, row.host_port) or wish.host_port <= row.host_port <= wish.last
    return same and fits and row.host_ip == (str(ipaddress.ip_address(wish.host_ip)) if wish.host_ip else "")


def _others(session: Session, endpoint: Endpoint, protocol: str, host_ip: str) -> list[Publication]:
    """Those of the same host that a packet to one of its addresses could mean as well."""
    query = _query().where(Endpoint.host_id == endpoint.host_id, Publication.protocol == protocol)
    return [one for one in session.execute(query).scalars() if _overlap(one.host_ip, host_ip)]


def _overlap(one: str, other: str) -> bool:
    if not one or not other or one == other:
        return True
    return any(a in ANY and ANY[a] == (6 if ":" in b else 4) for a, b in ((one, other), (other, one)))


def _listening(session: Session, host_id: int, protocol: str, host_ip: str) -> set[int]:
    """At which ports programs of the host listen, as its agent last said."""
    report = session.execute(select(HostStatus.agent_report).where(HostStatus.host_id == host_id)).scalar() or {}
    said = report.get("listening") or []
    return {one["port"] for one in said if one["protocol"] == protocol and _overlap(_heard_at(one["address"]), host_ip)}


def _heard_at(address: str) -> str:
    """A program that listens at :: hears IPv4, too."""
    return "" if address == "::" else address
