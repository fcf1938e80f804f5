"""Ports of hosts: which are taken, by endpoints that they lead to or by programs, and what may stand beside what."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session, contains_eager

from db import allocate, transport
from db.changes import Transaction
from db.errors import CollidesElsewhere, Conflict
from db.rows import shortened
from db.tables import Endpoint, Host, HostStatus, Network, Pool, Publication, Shared
from db.wanted import MESH_CHANGED, PORTS_CHANGED

MESH = select(func.max(Publication.mesh)).where(Publication.endpoint_id == Endpoint.id).scalar_subquery()
"""In a query for endpoints: the endpoint's number among those that all hosts publish, if it has one."""
PUBLISHED = select(Publication.id).where(Publication.endpoint_id == Endpoint.id).correlate(Endpoint).exists()
"""In a query for endpoints: whether any host publishes the endpoint."""
ANY = {"0.0.0.0": 4, "::": 6}
ELSEWHERE = "another host"
"""What is said of a host to who may not know which others there are."""


class Taken(NamedTuple):
    """What a packet to one of the ports could mean already: of other publications, at which ports of which hosts
    programs listen, and at which all hosts take tunnels' packets, by any of their addresses."""

    published: Sequence[Publication]
    listening: frozenset[tuple[str, int]]
    tunnels: frozenset[int]

    @property
    def ports(self) -> set[int]:
        ours = {port for one in self.published for port in one.host_ports}
        return ours | {port for _, port in self.listening} | self.tunnels


def rows() -> Select[Publication]:
    """Publications with their endpoints, and the endpoints' tenants, hosts and networks."""
    return (
        select(Publication)
        .join(Publication.endpoint)
        .join(Endpoint.tenant)
        .join(Endpoint.host)
        .options(
            contains_eager(Publication.endpoint).contains_eager(Endpoint.tenant),
            contains_eager(Publication.endpoint).contains_eager(Endpoint.host),
            contains_eager(Publication.endpoint).joinedload(Endpoint.network),
        )
    )


def take_turn(session: Session) -> None:
    """Overlaps are looked for by one at a time."""
    session.execute(select(Pool.id).where(Pool.id == Shared.VNI).with_for_update())


def taken(session: Session, protocol: str, host_ip: str, host_id: int | None) -> Taken:
    """What is taken on one host, or on any (None)."""
    there, report = rows().where(Publication.protocol == protocol), select(Host.name, HostStatus.agent_report)
    report = report.join(HostStatus, HostStatus.host_id == Host.id)
    if host_id is not None:
        there = there.where(or_(Endpoint.host_id == host_id, Publication.mesh > 0))
        report = report.where(Host.id == host_id)
    listening = {
        (host, one["port"])
        for host, said in session.execute(report)
        for one in (said or {}).get("listening") or ()
        if one["protocol"] == protocol and _overlap(_heard_at(one["address"]), host_ip)
    }
    published = [one for one in session.execute(there).scalars() if _overlap(one.host_ip, host_ip)]
    tunnels = transport.udp_ports(session).values() if protocol == "udp" else ()
    return Taken(published, frozenset(listening), frozenset(tunnels))


def check(taken: Taken, protocol: str, ports: range, endpoint: Endpoint, lead: str = "", remedy: str = "") -> None:
    """Raises Conflict where a port that is to lead to the endpoint is taken. `lead` begins the sentence."""
    for other in taken.published:
        if both := _first(ports, other.host_ports):
            where = "every host" if other.mesh else f"host {other.endpoint.host.name}"
            problem = f"{lead}port {protocol}/{both} of {where} is published for {other.endpoint.qualified_name}"
            remedy = remedy or "choose another port, or another address of the host"
            if other.tenant_id == endpoint.tenant_id:
                raise Conflict(problem, remedy, "host_port")
            seen = where if other.mesh or other.endpoint.host_id == endpoint.host_id else ELSEWHERE
            discreet = f"{lead}port {protocol}/{both} of {seen} is published for another tenant"
            raise CollidesElsewhere(problem, remedy, "host_port", discreet)
    for where, port in sorted(taken.listening):
        if port in ports:
            problem, discreet = (
                f"{lead}port {protocol}/{port} of {host} is in use: a program of the host listens"
                for host in (f"host {where}", ELSEWHERE)
            )
            remedy = remedy or "choose another port, or end that program"
            if where == endpoint.host.name:
                raise Conflict(problem, remedy, "host_port")
            raise CollidesElsewhere(problem, remedy, "host_port", discreet)
    if both := _first(taken.tunnels, ports):
        problem = f"{lead}port {protocol}/{both} of every host is for tunnels, whose packets an endpoint would get"
        raise Conflict(problem, remedy or "choose another port", "host_port")


def check_address(session: Session, host: Host, host_ip: str, lead: str = "", remedy: str = "") -> None:
    """Raises Conflict where nobody reaches the host by an address, as far as its agent has said which it has."""
    if not host_ip or host_ip in ANY:
        return
    address = ipaddress.ip_address(host_ip)
    query = select(HostStatus.agent_report).where(HostStatus.host_id == host.id)
    has = (session.execute(query).scalar() or {}).get("addresses")
    # All of 127.0.0.0/8 is every host's, and agents tell no link-local addresses.
    if has is None or host_ip in has or address.is_loopback or address.is_link_local:
        return
    problem, discreet = (
        f"{lead}host {host.name} has no address {host_ip}: it has {which if has else 'told none'}"
        for which in (shortened(has), "others")
    )
    remedy = remedy or "publish by one of these, or give the host that address first"
    raise CollidesElsewhere(problem, remedy, "host_ip", discreet)


def move(tx: Transaction, endpoint: Endpoint, host: Host) -> None:
    """Before an endpoint comes to another host: refuses if one of its ports is taken there, or is by an address that
    the host has not got. Those that all hosts publish are open there already."""
    session = tx.session
    query = select(Publication).where(Publication.endpoint_id == endpoint.id)
    there = session.execute(query.order_by(Publication.id)).scalars().all()
    if there:
        redirected(tx, endpoint.host_id, host.id)
    own = [one for one in there if not one.mesh]
    if own:
        take_turn(session)
    name = endpoint.qualified_name
    for one in own:
        others = taken(session, one.protocol, one.host_ip, host.id)
        lead = f"endpoint {name} takes its published ports along to host {host.name}, and "
        check_address(session, host, one.host_ip, lead, f"unpublish port {one.host_port} of {name} first")
        remedy = f"unpublish one of the two, or move {name} to another host"
        check(others, one.protocol, one.host_ports, endpoint, lead, remedy)


def redirected(tx: Transaction, *host_ids: int) -> None:
    """Ports of these hosts lead elsewhere now, or nowhere, as the endpoints are not where or what they were."""
    for id in host_ids:
        tx.record(PORTS_CHANGED, id, "update", host_id=id)


def turned(tx: Transaction, network: Network) -> None:
    """A network is open to the outside now, or is no more, and so are the ports of its endpoints."""
    query = select(Endpoint.id, Endpoint.host_id, func.max(Publication.mesh).label("mesh"))
    query = query.join(Publication, Publication.endpoint_id == Endpoint.id).where(Endpoint.network_id == network.id)
    for row in tx.session.execute(query.group_by(Endpoint.id, Endpoint.host_id)):
        redirected(tx, row.host_id)
        if row.mesh:
            tx.record(MESH_CHANGED, row.id, "update")


def close(tx: Transaction, endpoint_id: int, was: Any) -> None:
    """After an endpoint is gone of which `was` tells the host, and whether that and all hosts published it."""
    if was.publishes:
        redirected(tx, was.host_id)
    if was.mesh:
        leave_mesh(tx, endpoint_id, was.mesh)


def leave_mesh(tx: Transaction, endpoint_id: int, number: int) -> None:
    """Frees the number of an endpoint that hosts publish no more, and tells them."""
    allocate.release(tx.session, Shared.MESH, number, tx.now)
    tx.record(MESH_CHANGED, endpoint_id, "update")


def closed(session: Session) -> dict[int, dict[str, str]]:
    """Why published ports are not open, by their ids and by the hosts where they are not."""
    query = select(Host.name, HostStatus.closed).join(HostStatus, HostStatus.host_id == Host.id).order_by(Host.name)
    found: dict[int, dict[str, str]] = {}
    for name, ports in session.execute(query):
        for id, why in ports.items():
            found.setdefault(int(id), {})[name] = why
    return found


def _first(some: Iterable[int], others: range) -> int | None:
    return next((port for port in some if port in others), None)


def _overlap(one: str, other: str) -> bool:
    if not one or not other or one == other:
        return True
    return any(a in ANY and ANY[a] == (6 if ":" in b else 4) for a, b in ((one, other), (other, one)))


def _heard_at(address: str) -> str:
    """A program that listens at :: hears IPv4, too."""
    return "" if address == "::" else address
