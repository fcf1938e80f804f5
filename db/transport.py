"""How networks' packets come from host to host, as rows say it: which tunnels bridges need, and what MTU they leave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, select, update
from sqlalchemy.orm import Session, aliased

from controller.transport import DEFAULT, TRANSPORTS
from controller.transport.host_gw import HOST_GW
from controller.transport.tunnel import Tunnel
from db import segments
from db.changes import Transaction
from db.errors import Conflict, Invalid
from db.settings import CLUSTER_ID, isolation, set_isolation
from db.tables import Endpoint, Host, Network, Publication, Setting

TUNNEL_PORTS = "tunnel_ports"
UNDERLAY_MTU = 1500
"""The underlay's MTU while there are no hosts, in bytes."""
TUNNELS_CHANGED = "tunnels"
"""The noun of a change of which tunnels bridges need; its id is the cluster's."""
TUNNELS_REVISION = "tunnels_revision"
"""The setting that has the revision of the newest such change."""
NEWEST_TUNNELS = select(Setting.value).where(Setting.name == TUNNELS_REVISION)


# With cross-subnet some of a network's packets go by a tunnel, which leaves less than the segment does.
NARROWEST = case((Network.cross_subnet, DEFAULT.name), else_=Network.transport)
"""The transport of a network that leaves the least, in a query; as `narrowest` of a row."""


def narrowest(network: Network) -> str:
    return DEFAULT.name if network.cross_subnet else network.transport


def valid(name: str) -> str:
    if name not in TRANSPORTS:
        raise Invalid(f"transport {name!r} is unknown", f"use one of {', '.join(TRANSPORTS)}", "transport")
    return name


def mtu_of(transport: ColumnElement[str]) -> ColumnElement[int]:
    """What a transport leaves of the smallest underlay, in bytes: one network has one MTU on all hosts."""
    host = aliased(Host)
    is_v6 = host.address.like("%:%")
    overheads = case(
        *(
            (and_(transport == one.name, family), one.overhead(version))
            for one in TRANSPORTS.values()
            for version, family in ((6, is_v6), (4, ~is_v6 | host.address.is_(None)))
            if one.overhead(version)
        ),
        else_=0,
    )
    without_hosts = case({one.name: UNDERLAY_MTU - one.overhead(4) for one in TRANSPORTS.values()}, value=transport)
    least = select(func.min(host.mtu - overheads)).select_from(host).correlate(Network).scalar_subquery()
    return func.coalesce(least, without_hosts)


def mtus(session: Session) -> dict[str, int]:
    """The MTU of networks that have none of their own, by transport."""
    hosts = session.execute(select(Host.mtu, Host.address)).all()
    return {
        one.name: min(
            (mtu - one.overhead(6 if address and ":" in address else 4) for mtu, address in hosts),
            default=UNDERLAY_MTU - one.overhead(4),
        )
        for one in TRANSPORTS.values()
    }


def udp_ports(session: Session) -> dict[str, int]:
    """The UDP ports of the tunnels that have one, by transport."""
    said = session.execute(select(Setting.value).where(Setting.name == TUNNEL_PORTS)).scalar_one_or_none() or {}
    return {
        one.name: int(said.get(one.name, one.port.udp_port))
        for one in TRANSPORTS.values()
        if one.port and one.port.udp_port
    }


def set_udp_ports(tx: Transaction, wanted: Mapping[str, int]) -> dict[str, int]:
    """Moves tunnels to other UDP ports, on all hosts; what is under way meanwhile is lost. What holds for all tenants
    has another version then."""
    now = udp_ports(tx.session)
    for name, port in wanted.items():
        if name not in now:
            raise Invalid(f"transport {name!r} has no UDP port", f"use {' or '.join(now)}", TUNNEL_PORTS)
        if not 1 <= port <= 65535:
            raise Invalid(f"UDP port {port} is not possible", "use 1 to 65535", TUNNEL_PORTS)
    then = now | dict(wanted)
    if len(set(then.values())) < len(then):
        raise Conflict(f"two tunnels cannot share UDP port {min(wanted.values())}", "choose another", TUNNEL_PORTS)
    if then != now:
        _refuse_published(tx.session, set(then.values()) - set(now.values()))
        tx.session.execute(update(Setting).where(Setting.name == TUNNEL_PORTS).values(value=then))
        set_isolation(tx.session, isolation(tx.session).mode)
        tx.record("cluster", CLUSTER_ID, "update")
        tell_agents(tx)
    return then


def _refuse_published(session: Session, ports: set[int]) -> None:
    """Hosts would send tunnels' packets on to an endpoint."""
    for row in session.execute(select(Publication).where(Publication.protocol == "udp")).scalars():
        if port := next((one for one in ports if one in row.host_ports), None):
            whose = row.endpoint.qualified_name
            problem = f"UDP port {port} is published for {whose}"
            raise Conflict(problem, f"choose another, or `warren unpublish {whose} {row.host_port}`", TUNNEL_PORTS)


def may_be_private(name: str) -> bool:
    """Whether its networks may have the same addresses as others': host-gw tells networks apart by them."""
    return valid(name) != HOST_GW.name


def check(network: Network) -> None:
    """Refuses what a transport cannot do for a network, wherever its endpoints are."""
    name = network.qualified_name
    if network.private and not may_be_private(network.transport):
        raise Invalid(
            f"network {name} is private, and host-gw tells networks apart by their addresses",
            "use a tunnel, or a network that is not private",
            "transport",
        )
    if network.cross_subnet and network.transport != HOST_GW.name:
        raise Invalid(
            f"network {name}: cross-subnet is an option of host-gw, not of {network.transport}",
            "leave it out",
            "cross_subnet",
        )


def check_hosts(session: Session, network: Network) -> None:
    """Refuses endpoints on hosts that the network's transport does not join."""
    segments.check_hosts(session, network)
    query = select(Host).join(Endpoint, Endpoint.host_id == Host.id).where(Endpoint.network_id == network.id)
    hosts = list(session.execute(query.distinct().order_by(Host.id)).scalars())
    for host in hosts[1:]:
        if why := _apart(network.transport, network.cross_subnet, hosts[0], host):
            raise Conflict(
                f"network {network.qualified_name} has endpoints on {hosts[0].name} and {host.name}: {why}",
                "move the endpoints, or choose another transport",
                "transport",
            )


def check_host(session: Session, network: str, network_id: int, carried_by: str, cross: bool, host_id: int) -> None:
    """Before an endpoint comes to a host: refuses one that the network's transport does not join with the others."""
    if TRANSPORTS[carried_by].on_segment:
        segments.check_host(session, network, network_id, host_id)
    if isinstance(TRANSPORTS[carried_by], Tunnel) or cross:
        return
    others = select(Host).join(Endpoint, Endpoint.host_id == Host.id)
    others = others.where(Endpoint.network_id == network_id, Endpoint.host_id != host_id).limit(1)
    for other in session.execute(others).scalars():
        if why := _apart(carried_by, cross, other, session.get_one(Host, host_id)):
            raise Conflict(
                f"network {network} has its endpoints on {other.name}: {why}",
                f"attach it on {other.name}, or give the network another transport",
                "network",
            )


def _apart(carried_by: str, cross_subnet: bool, one: Host, other: Host) -> str | None:
    """Why a transport does not join two hosts, or None."""
    if not TRANSPORTS[carried_by].leaves_host:
        return f"{carried_by} keeps to one host"
    if carried_by != HOST_GW.name or cross_subnet:
        return None
    for host in (one, other):
        if host.address is None or host.prefix is None:
            return f"{host.name} has its underlay address on no bridge of Open vSwitch, as host-gw needs it"
    segments = {ip_network((host.address, host.prefix), strict=False) for host in (one, other)}
    return None if len(segments) == 1 else f"{one.name} and {other.name} are on different segments"


def tunnels(session: Session) -> list[dict[str, Any]]:
    """The tunnel ports that every bridge needs: of the transports that networks use, and the default's."""
    ports, needed = udp_ports(session), used(session)
    return [
        {"type": one.port.type, "suffix": one.port.suffix, "ofport": one.port.ofport, "port": ports.get(one.name)}
        for one in TRANSPORTS.values()
        if one.port and one.name in needed
    ]


def used(session: Session) -> set[str]:
    """Transports, of which the default is always there, as others fall back to it; and physical segments."""
    ports = {f"segment {one['name']} {one['ofport']}" for one in segments.used(session)}
    return {DEFAULT.name, *session.execute(select(Network.transport).distinct()).scalars(), *ports}


def record_tunnels(tx: Transaction, before: Iterable[str]) -> None:
    """After networks came, went or changed: tells agents if bridges need other ports than `before`."""
    tx.session.flush()
    segments.forget_unused(tx.session)
    if used(tx.session) != set(before):
        tell_agents(tx)


def tell_agents(tx: Transaction) -> None:
    """Bridges need other ports, or agents have to know other hosts: revisions from this on wait for them, too."""

    def note(revision: int) -> None:
        tx.session.execute(update(Setting).where(Setting.name == TUNNELS_REVISION).values(value=revision))

    tx.record(TUNNELS_CHANGED, CLUSTER_ID, "update")
    tx.before_commit(note)
