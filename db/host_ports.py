"""Ports of hosts: which are taken, by endpoints that they lead to or by programs, and what may stand beside what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session, contains_eager

from db import allocate
from db.changes import Transaction
from db.errors import CollidesElsewhere, Conflict
from db.tables import Endpoint, Host, HostStatus, Pool, Publication, Shared
from db.wanted import MESH_CHANGED

MESH = select(func.max(Publication.mesh)).where(Publication.endpoint_id == Endpoint.id).scalar_subquery()
"""Of an endpoint in a query: its number among those that all hosts publish, if any."""
ANY = {"0.0.0.0": 4, "::": 6}


class Taken(NamedTuple):
    """What a packet to one of the ports could mean already: of other publications, and at which ports of which hosts
    programs listen."""

    published: Sequence[Publication]
    listening: frozenset[tuple[str, int]]

    @property
    def ports(self) -> set[int]:
        return {port for one in self.published for port in one.host_ports} | {port for _, port in self.listening}


def rows() -> Select[Publication]:
    """Publications, with their endpoints, those's tenants and hosts."""
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


def take_turn(session: Session) -> None:
    """Overlaps are looked for by one at a time."""
    session.execute(select(Pool.id).where(Pool.id == Shared.VNI).with_for_update())


def taken(session: Session, protocol: str, host_ip: str, host_id: int | None) -> Taken:
    """Of one host, or of any (None)."""
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
    return Taken(published, frozenset(listening))


def check(taken: Taken, protocol: str, ports: range, endpoint: Endpoint, lead: str = "", remedy: str = "") -> None:
    """Raises Conflict where a port that is to lead to the endpoint is taken. `lead` begins the sentence."""
    for other in taken.published:
        if both := _first(ports, other.host_ports):
            where = "every host" if other.mesh else f"host {other.endpoint.host.name}"
            problem = f"{lead}port {protocol}/{both} of {where} is published for"
            remedy = remedy or "choose another port, or another address of the host"
            whose = other.endpoint.qualified_name
            if other.tenant_id == endpoint.tenant_id:
                raise Conflict(f"{problem} {whose}", remedy, "host_port")
            raise CollidesElsewhere(f"{problem} {whose}", remedy, "host_port", f"{problem} another tenant")
    for where, port in sorted(taken.listening):
        if port in ports:
            problem = f"{lead}port {protocol}/{port} of host {where} is in use: a program of the host's listens"
            raise Conflict(problem, remedy or "choose another port, or end that program", "host_port")


def check_move(session: Session, endpoint: Endpoint, host: Host) -> None:
    """Before an endpoint comes to another host: refuses if one of its ports is taken there. Those that all hosts
    publish are open there already."""
    query = select(Publication).where(Publication.endpoint_id == endpoint.id, Publication.mesh == 0)
    own = session.execute(query.order_by(Publication.id)).scalars().all()
    if not own:
        return
    take_turn(session)
    name = endpoint.qualified_name
    for one in own:
        there = taken(session, one.protocol, one.host_ip, host.id)
        lead = f"endpoint {name} takes its published ports along to host {host.name}, and "
        remedy = f"unpublish one of the two, or move {name} to another host"
        check(there, one.protocol, one.host_ports, endpoint, lead, remedy)


def leave_mesh(tx: Transaction, endpoint_id: int, number: int) -> None:
    """Frees the number of an endpoint that hosts publish no more, and tells them."""
    allocate.release(tx.session, Shared.MESH, number, tx.now)
    tx.record(MESH_CHANGED, endpoint_id, "update")


def _first(some: Iterable[int], others: range) -> int | None:
    return next((port for port in some if port in others), None)


def _overlap(one: str, other: str) -> bool:
    if not one or not other or one == other:
        return True
    return any(a in ANY and ANY[a] == (6 if ":" in b else 4) for a, b in ((one, other), (other, one)))


def _heard_at(address: str) -> str:
    """A program that listens at :: hears IPv4, too."""
    return "" if address == "::" else address
