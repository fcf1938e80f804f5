"""Physical segments: which of them hosts have, which networks sit on them, and the number of each while it is used.

A segment is a name that agents give to an interface or a bridge. It has a row, and so a port of the same number on all
bridges that have it, as long as networks are on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from controller.transport import TRANSPORTS
from controller.transport.host_gw import HOST_GW
from controller.transport.vlan import MOST_SEGMENTS, segment_ofport
from db.errors import Conflict, Invalid
from db.rows import shortened
from db.tables import Endpoint, Host, HostStatus, Network, Physical, Tenant

UNDERLAY = "underlay"
"""The segment that hosts' own addresses are on, wherever that is on each of them; no agent gives another the name."""
HIGHEST_TAG = 4094
"""IEEE 802.1Q keeps 4095 to itself."""


def place(
    session: Session, carried_by: str, name: str | None, tag: int | None, network_id: int | None
) -> Physical | None:
    """The segment that a network shall sit on, and nobody else with this tag; None for a network that sits on none.
    `network_id` is the network's own. The caller has the turn of everyone who creates networks."""
    if not TRANSPORTS[carried_by].on_segment:
        if name or tag is not None:
            field, given = ("physical", f"segment {name}") if name else ("vlan", f"VLAN tag {tag}")
            problem = f"{given} is given, and a network of transport {carried_by} sits on no physical segment"
            raise Invalid(problem, f"leave --{field} out, or choose --transport vlan", field)
        return None
    if not name:
        raise Invalid(
            "a vlan network sits on a physical segment", f"name one with --physical{_known(session)}", "physical"
        )
    if not 0 <= (tag or 0) <= HIGHEST_TAG:
        raise Invalid(f"VLAN tag {tag} is not possible", f"use 1 to {HIGHEST_TAG}, or 0 for frames without one", "vlan")
    if not any(name in segments for segments in _of_hosts(session).values()):
        raise Invalid(
            f"no host has a physical segment {name}",
            f"start agents with --physical {name}=INTERFACE first{_known(session)}",
            "physical",
        )
    row = session.execute(select(Physical).where(Physical.name == name)).scalar_one_or_none()
    if row is None:
        return _new(session, name)
    query = select(Tenant.name, Network.name).join(Tenant, Tenant.id == Network.tenant_id)
    query = query.where(Network.physical_id == row.id, Network.vlan == (tag or 0), Network.id != (network_id or 0))
    for tenant, other in session.execute(query):
        what = f"VLAN tag {tag}" if tag else "what has no tag"
        raise Conflict(f"{what} on physical segment {name} is network {tenant}/{other}'s", "choose another tag", "vlan")
    return row


def _new(session: Session, name: str) -> Physical:
    taken = set(session.execute(select(Physical.id)).scalars())
    free = next((id for id in range(1, MOST_SEGMENTS + 1) if id not in taken), None)
    if free is None:
        raise Conflict(f"networks use {MOST_SEGMENTS} physical segments already", "remove those of one", "physical")
    row = Physical(id=free, name=name)
    session.add(row)
    session.flush()
    return row


def forget_unused(session: Session) -> None:
    used = select(Network.physical_id).where(Network.physical_id.is_not(None))
    session.execute(delete(Physical).where(Physical.id.not_in(used)))


def used(session: Session) -> list[dict[str, Any]]:
    """What every bridge that has the segment needs a port for; host-gw networks are on that of the underlay."""
    direct = select(Network.id).where(Network.transport == HOST_GW.name).limit(1)
    underlay = [{"name": UNDERLAY, "ofport": HOST_GW.ofport}] if session.execute(direct).scalar() else []
    rows = session.execute(select(Physical.id, Physical.name).order_by(Physical.id))
    return [*underlay, *({"name": name, "ofport": segment_ofport(id)} for id, name in rows)]


def check_hosts(session: Session, network: Network) -> None:
    """Refuses endpoints on hosts that do not have the network's segment."""
    if network.physical is None:
        return
    query = select(Endpoint.host_id).where(Endpoint.network_id == network.id).distinct()
    names = _without(session, network.physical.name, session.execute(query).scalars().all())
    if names:
        raise Conflict(
            f"network {network.qualified_name} has endpoints on hosts without physical segment "
            f"{network.physical.name}: {shortened(names)}",
            f"start their agents with --physical {network.physical.name}=INTERFACE",
            "physical",
        )


def check_host(session: Session, network: str, network_id: int, host_id: int) -> None:
    """Before an endpoint of a network on a segment comes to a host."""
    query = select(Physical.name).join(Network, Network.physical_id == Physical.id)
    segment = session.execute(query.where(Network.id == network_id)).scalar_one()
    for host in _without(session, segment, [host_id]):
        raise Conflict(
            f"host {host} has no physical segment {segment}, and network {network} is on it",
            f"start its agent with --physical {segment}=INTERFACE, or attach it elsewhere",
            "network",
        )


def _without(session: Session, segment: str, hosts: Iterable[int]) -> list[str]:
    its = _of_hosts(session, list(hosts))
    return [name for name, segments in its.items() if segment not in segments]


def _of_hosts(session: Session, ids: list[int] | None = None) -> dict[str, list[str]]:
    """What agents reported last, by the hosts' names."""
    query = select(Host.name, HostStatus.agent_report).join(HostStatus, HostStatus.host_id == Host.id)
    if ids is not None:
        query = query.where(Host.id.in_(ids))
    rows = session.execute(query.order_by(Host.name))
    return {name: list(report.get("physical") or []) for name, report in rows}


def _known(session: Session) -> str:
    names = sorted({name for its in _of_hosts(session).values() for name in its})
    return f"; hosts have {shortened(names)}" if names else ""
