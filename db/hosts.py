"""Hosts: machines with a bridge. Decides who may enrol one, what an agent's report changes, and when a host may go."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, func, insert, select
from sqlalchemy import update as sql_update
from sqlalchemy.orm import Session, contains_eager, joinedload, undefer_group

from db import allocate, attachments, blocks, tokens, underlay
from db.addressing import parse_underlay
from db.changes import PROGRESS_CHANNEL, Transaction, notify
from db.errors import Conflict, Invalid, NotFound
from db.labels import changed_labels, valid_labels
from db.names import dns_label
from db.pages import Page, Sort, containing, having_labels, moment, number, page
from db.rows import assign, check_version, shortened
from db.tables import Endpoint, EndpointStatus, Host, HostStatus, HostTraffic, Tenant, Token
from db.transport import tell_agents

FIRST_OFPORT, LAST_OFPORT = 100, 65000
OFPORT_REST_SECONDS = 60
SILENT_AFTER = timedelta(seconds=30)
"""An agent that has not reported for this long is taken to be gone."""

LEAST_MTU = 1350
DATAPATHS = ("system", "netdev")
State = Literal["new", "enrolled", "up", "degraded", "silent"]


def create(
    tx: Transaction,
    name: str,
    *,
    address: str | None = None,
    labels: Mapping[str, str] | None = None,
    mtu: int | None = None,
) -> tuple[Host, str]:
    """A host and the one-time token that enrols it. Without `mtu` it has what its agent finds, until then 1500."""
    dns_label(name, "host")
    session = tx.session
    if session.execute(select(Host.id).where(Host.name == name)).scalar() is not None:
        raise Conflict(
            f"host {name} exists already",
            f"choose another name, or enrol it with `warren host token {name}`",
            "name",
        )
    host = Host(name=name, labels=valid_labels(labels), mtu=_valid_mtu(mtu or 1500), mtu_fixed=mtu is not None)
    host.address = None if address is None else _free_address(session, address, host)
    host.pool_id = allocate.create_pool(session, "ofport", FIRST_OFPORT, LAST_OFPORT, OFPORT_REST_SECONDS)
    host.status = HostStatus()
    session.add(host)
    session.flush()
    session.add(HostTraffic(host_id=host.id))
    tx.record("host", host.id, "create", host_id=host.id)
    tell_agents(tx)
    return host, tokens.create(tx, "enrol", name=f"enrol {name}", host_id=host.id)[1]


def get(session: Session, name: str) -> Host:
    query = select(Host).where(Host.name == name).options(joinedload(Host.status), undefer_group("counts"))
    host = session.execute(query).scalar_one_or_none()
    if host is None:
        raise NotFound(f"there is no host {name}", f"create it with `warren host create {name}`", "host")
    return host


def find(
    session: Session,
    *,
    labels: Mapping[str, str] | None = None,
    text: str | None = None,
    sort: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> Page[Host]:
    """`text` is part of the name or the address. `sort` is by "name", "endpoints", "flows" or "created"."""
    query = select(Host).join(Host.status).where(*which(labels=labels, text=text))
    query = query.options(contains_eager(Host.status), undefer_group("counts"))
    return page(session, query, (Host.name,), lambda host: host.name, cursor, limit, sort, SORTS)


def count(session: Session, **wanted: Any) -> int:
    """How many `find` has in all its pages."""
    return session.execute(select(func.count()).select_from(Host).where(*which(**wanted))).scalar_one()


def which(*, labels: Mapping[str, str] | None = None, text: str | None = None) -> list[ColumnElement[bool]]:
    return [*having_labels(Host.labels, labels), *having_text(text)]


SORTS = {
    "endpoints": Sort(Host.endpoint_count, lambda row: row.endpoint_count, number),
    "flows": Sort(HostStatus.flows, lambda row: row.status.flows, number),
    "created": Sort(Host.created_at, lambda row: row.created_at.isoformat(), moment),
}


def having_text(text: str | None) -> list[ColumnElement[bool]]:
    return containing(text, Host.name, Host.address)


def update(
    tx: Transaction,
    name: str,
    *,
    address: str | None = None,
    labels: Mapping[str, str | None] | None = None,
    mtu: int | None = None,
    version: int | None = None,
) -> Host:
    """`mtu` 0: as its agent finds it."""
    host = get(tx.session, name)
    check_version(host, version, f"host {name}")
    values: dict[str, object] = {
        "labels": changed_labels(host.labels, labels or {}),
        "address": host.address if address is None else _free_address(tx.session, address, host),
    }
    if mtu is not None:
        found = dict(host.status.agent_report.get("underlay") or {}).get("mtu", host.mtu)
        values |= {"mtu": _valid_mtu(mtu or found), "mtu_fixed": mtu != 0}
    _assign(tx, host, _without_old_prefix(host, values))
    return host


def is_new_underlay(session: Session, host_id: int, prefix: int | None, mtu: int) -> bool:
    """Whether `set_underlay` would change anything."""
    host = session.get_one(Host, host_id)
    return host.prefix != prefix or (host.mtu != mtu and not host.mtu_fixed and mtu >= LEAST_MTU)


def set_underlay(tx: Transaction, host_id: int, prefix: int | None, mtu: int) -> None:
    """What the agent found. An MTU that leaves too little for tunnels changes nothing: the agent reports it."""
    host = tx.session.get_one(Host, host_id)
    if prefix is not None and prefix > 32 and ":" not in (host.address or ""):
        prefix = None  # of an address of the other family, which the host had as its agent looked
    follow = not host.mtu_fixed and mtu >= LEAST_MTU
    _assign(tx, host, {"prefix": prefix, "mtu": mtu if follow else host.mtu})


def _assign(tx: Transaction, host: Host, values: Mapping[str, object]) -> None:
    before = host.address, host.mtu
    if assign(host, **values):
        tx.session.flush()
        tx.record("host", host.id, "update", host_id=host.id)
    if (host.address, host.mtu) != before:
        # Agents know the other hosts' addresses, and the MTU of endpoints everywhere follows from all hosts'.
        tell_agents(tx)


def _without_old_prefix(host: Host, values: dict[str, object]) -> dict[str, object]:
    """A prefix length is that of one family: when the address becomes one of the other, the agent reports the new."""
    other = host.address and "address" in values and (":" in str(values["address"])) != (":" in host.address)
    return values | {"prefix": None} if other else values


def delete(tx: Transaction, name: str, *, force: bool = False, version: int | None = None) -> None:
    """`force` frees whatever the host held: for a machine that will not come back."""
    session = tx.session
    host = get(session, name)
    check_version(host, version, f"host {name}")
    # Whoever attaches an endpoint holds the row against this lock.
    session.execute(select(Host.id).where(Host.id == host.id).with_for_update())
    held = select(Endpoint.id, Tenant.name, Endpoint.name).join(Tenant).where(Endpoint.host_id == host.id)
    rows = session.execute(held.order_by(Tenant.name, Endpoint.name)).all()
    if rows and not force:
        raise Conflict(
            f"host {name} has endpoints: {shortened([f'{tenant}/{endpoint}' for _, tenant, endpoint in rows])}",
            "remove them first, or use --force when the machine is gone",
            "host",
        )
    for id, _, _ in rows:
        attachments.remove(tx, id)
    blocks.release_of_host(session, host.id, tx.now)
    session.execute(sql_update(Endpoint).where(Endpoint.move_to == host.name).values(move_to=None))
    session.delete(host)
    session.flush()
    allocate.delete_pool(session, host.pool_id)
    tx.record("host", host.id, "delete", host_id=host.id)
    tell_agents(tx)


def new_enrol_token(tx: Transaction, name: str) -> str:
    """A token with which the host may be enrolled, again if need be."""
    host = get(tx.session, name)
    return tokens.create(tx, "enrol", name=f"enrol {name}", host_id=host.id)[1]


def enrol(
    tx: Transaction,
    token: Token,
    *,
    address: str | None,
    datapath_type: str = "system",
    facts: Mapping[str, Any] | None = None,
) -> tuple[Host, str]:
    """Uses up an enrol token for the host it is bound to and the agent's token. An earlier agent loses its own."""
    session = tx.session
    if datapath_type not in DATAPATHS:
        raise Invalid(f"datapath type {datapath_type!r} is unknown", f"use {' or '.join(DATAPATHS)}", "datapath_type")
    tokens.use(tx, token)
    host = session.get_one(Host, token.host_id)
    if host.enrolled_at is not None and token.created_at <= host.enrolled_at:
        raise Conflict(
            f"host {host.name} is enrolled already", f"get a new token for it with `warren host token {host.name}`"
        )
    values: dict[str, object] = {"datapath_type": datapath_type, "facts": dict(facts or {}), "enrolled_at": tx.now}
    if address is not None:
        values["address"] = _free_address(session, address, host)
    assign(host, **_without_old_prefix(host, values))
    tokens.revoke_of_host(tx, host.id, "agent")
    agent_token = tokens.create(tx, "agent", name=f"agent {host.name}", host_id=host.id)[1]
    session.flush()
    tx.record("host", host.id, "update", host_id=host.id)
    tell_agents(tx)
    return host, agent_token


def report(session: Session, host_id: int, report: Mapping[str, Any], now: datetime) -> None:
    """What an agent says of its host and its ports (`{"ports": {"12": "up"}}`). Bumps no revision."""
    session.execute(
        sql_update(HostStatus)
        .where(HostStatus.host_id == host_id)
        .values(
            agent_seen_at=now,
            agent_report=dict(report),
            **{name: report.get(name) for name in ("tunnels_revision", "ports_revision", "limits_revision")},
            closed=dict(report.get("closed") or {}),
            updated_at=now,
        )
    )
    said = {int(id): str(state) for id, state in dict(report.get("ports") or {}).items()}
    query = select(Endpoint.id, EndpointStatus.state).outerjoin(EndpointStatus).where(Endpoint.host_id == host_id)
    known: dict[int, str | None] = dict(session.execute(query).all())
    new = [id for id, state in said.items() if id in known and known[id] is None]
    if new:
        rows = [{"endpoint_id": id, "state": said[id], "updated_at": now} for id in new]
        session.execute(insert(EndpointStatus), rows)
    for state in ("up", "down"):
        turned = [id for id, was in known.items() if was is not None and was != state and said.get(id) == state]
        if turned:
            values = {"state": state, "updated_at": now}
            session.execute(sql_update(EndpointStatus).where(EndpointStatus.endpoint_id.in_(turned)).values(values))
    notify(session, PROGRESS_CHANNEL)


def state(host: Host, now: datetime) -> State:
    """One word for people: `degraded` when the agent, the controller or the bridge has something to complain about."""
    if host.enrolled_at is None:
        return "new"
    status = host.status
    if status.agent_seen_at is None:
        return "enrolled"
    if now - status.agent_seen_at > SILENT_AFTER:
        return "silent"
    if status.error or not status.connected or status.agent_report.get("problems"):
        return "degraded"
    return "up"


def silent(session: Session, now: datetime) -> set[str]:
    """The hosts of which nothing was heard for a while: what is said of their ports is old."""
    query = select(Host.name).join(HostStatus).where(Host.enrolled_at.is_not(None))
    return set(session.execute(query.where(HostStatus.agent_seen_at < now - SILENT_AFTER)).scalars())


def of_tenants(session: Session, tenant_ids: Collection[int]) -> set[str]:
    """The hosts that have endpoints of these tenants."""
    query = select(Host.name).where(
        select(Endpoint.id).where(Endpoint.host_id == Host.id, Endpoint.tenant_id.in_(tenant_ids)).exists()
    )
    return set(session.execute(query).scalars())


def _valid_mtu(mtu: int) -> int:
    if not LEAST_MTU <= mtu <= 65535:
        remedy = f"use {LEAST_MTU} to 65535: tunnels need room for 1280"
        raise Invalid(f"MTU {mtu} is not possible for a host", remedy, "mtu")
    return mtu


def _free_address(session: Session, text: str, host: Host) -> str:
    address = parse_underlay(text)
    other = session.execute(select(Host.name).where(Host.address == address, Host.id != host.id)).scalar()
    if other is not None:
        raise Conflict(f"address {address} is that of host {other}", "give this host's own", "address")
    if address != host.address:
        underlay.refuse_host(session, host.name, address)
    return address
