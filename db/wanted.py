"""What one host's agent must have: its bridge, its tunnels, and each endpoint's port.

Decides which rows that takes, in the units of the API; not how an agent brings it about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, func, literal, or_, select
from sqlalchemy.orm import Session

from controller.transport import TRANSPORTS
from db import bandwidth, records, segments, transport
from db.addressing import GATEWAY_MAC
from db.changes import current_revision, reach, says
from db.errors import NotFound
from db.tables import Address, ChangeRow, Controller, Endpoint, Host, Network, Publication, Subnet, Tenant, port_name

MESH_CHANGED = "mesh"
"""The noun of a change of which ports all hosts publish; its id is the endpoint's."""
PORTS_CHANGED = "ports"
"""The noun for a host whose published ports lead elsewhere than before, though none of them was changed itself; the id
is the host's."""
OF_ALL_HOSTS = ("controller", transport.TUNNELS_CHANGED, MESH_CHANGED)
"""Nouns in the log that concern what every host should have."""
GATEWAY = {"ofport": 2, "mac": GATEWAY_MAC}


class WantedEndpoint(NamedTuple):
    """One port of a host's bridge and what is behind it. `route_mtu` is for what leaves the network: its packets may be
    carried back by another transport."""

    id: int
    name: str
    network: str
    ofport: int
    port_name: str
    mac: str
    addresses: list[str]
    gateways: list[str]
    mtu: int
    route_mtu: int
    container_id: str
    ifname: str
    netns: str
    dns: dict[str, list[str]]  # nameservers and search domains, as resolv.conf has them
    from_host: bool = False  # whether the host reaches it by its own addresses
    interface: str = ""  # of the host's own, that is the port; empty: the agent makes one
    limits: Mapping[str, int] = bandwidth.NONE


class Wanted(NamedTuple):
    """The whole document of one host. `host["datapath_id"]` is 16 hex digits."""

    revision: int
    host: dict[str, Any]
    controllers: list[str]
    tunnels: list[dict[str, Any]]
    segments: list[dict[str, Any]]
    gateway: dict[str, Any]
    endpoints: list[WantedEndpoint]
    peers: list[dict[str, str]]
    published: list[dict[str, Any]]
    tunnels_revision: int  # that of their newest change

    def document(self) -> dict[str, Any]:
        return {**self._asdict(), "endpoints": [endpoint._asdict() for endpoint in self.endpoints]}


_ENDPOINTS = (
    select(
        Endpoint.id,
        Endpoint.name,
        Endpoint.ofport,
        Endpoint.mac,
        Endpoint.container_id,
        Endpoint.ifname,
        Endpoint.netns,
        Endpoint.interface,
        Endpoint.bandwidth,
        Tenant.name.label("tenant"),
        Tenant.quota,
        Network.name.label("network"),
        Network.transport,
        Network.outbound,
        Network.private,
        func.coalesce(Network.mtu, transport.mtu_of(transport.NARROWEST)).label("mtu"),
        transport.mtu_of(literal(transport.DEFAULT.name)).label("route_mtu"),
        Address.ip,
        Address.prefix,
        Subnet.gateway,
    )
    .join(Network, Network.id == Endpoint.network_id)
    .join(Tenant, Tenant.id == Endpoint.tenant_id)
    .join(Address, Address.endpoint_id == Endpoint.id)
    .join(Subnet, Subnet.id == Address.subnet_id)
    .order_by(Endpoint.id, Subnet.id)
)


def wanted(session: Session, host_id: int) -> Wanted:
    revision = current_revision(session)
    host = session.get(Host, host_id)
    if host is None:
        raise NotFound(f"there is no host {host_id}", "create and enrol it", "host")
    others = select(Host.name, Host.address).where(Host.id != host_id, Host.address.is_not(None)).order_by(Host.id)
    return Wanted(
        revision,
        {
            "name": host.name,
            "id": host.id,
            "datapath_id": f"{host.datapath_id:016x}",
            "address": host.address,
            "mtu": host.mtu,
            "least_mtu": session.execute(select(func.min(Host.mtu))).scalar_one(),
        },
        list(session.execute(select(Controller.target).order_by(Controller.name)).scalars()),
        transport.tunnels(session),
        segments.used(session),
        GATEWAY,
        _endpoints(session, Endpoint.host_id == host_id),
        [{"name": name, "address": address} for name, address in session.execute(others)],
        _published(session, host_id),
        session.execute(transport.NEWEST_TUNNELS).scalar_one(),
    )


def endpoint(session: Session, endpoint_id: int) -> WantedEndpoint:
    found = _endpoints(session, Endpoint.id == endpoint_id)
    if not found:
        raise NotFound(f"there is no endpoint {endpoint_id}", "attach it", "endpoint")
    return found[0]


def goes_out(network: Network) -> bool:
    """Whether its endpoints' way out, and in, is their hosts' gateway; on a physical segment it is that."""
    return network.outbound and not TRANSPORTS[network.transport].on_segment


def from_host(network: Any) -> bool:
    """Whether the host reaches endpoints of a network, or of a row with its columns, by their own addresses: several
    private networks may have the same."""
    return bool(network.outbound and not network.private and not TRANSPORTS[network.transport].on_segment)


def nameservers(carried_by: str, gateways: list[str]) -> list[str]:
    """A host's resolver answers at the gateways that are Warren's, and on a physical segment these are others'."""
    return [] if TRANSPORTS[carried_by].on_segment else list(gateways)


def changed_for_host(session: Session, host_id: int, after_revision: int) -> bool:
    """Whether the host's document may differ from that at `after_revision`."""
    current, oldest = reach(session)
    if after_revision == current:
        return False
    if not says(current, oldest, after_revision):
        return True
    meshed = select(Publication.endpoint_id).where(Publication.mesh > 0)
    here = select(Endpoint.network_id).where(or_(Endpoint.host_id == host_id, Endpoint.id.in_(meshed)))
    concerns = or_(
        ChangeRow.host_id == host_id,
        ChangeRow.noun.in_(OF_ALL_HOSTS),
        and_(ChangeRow.noun == "network", ChangeRow.id.in_(here)),
        and_(ChangeRow.noun == "endpoint", ChangeRow.id.in_(meshed)),
    )
    query = select(ChangeRow.revision).where(ChangeRow.revision > after_revision, concerns).limit(1)
    return session.execute(query).scalar() is not None


def _published(session: Session, host_id: int) -> list[dict[str, Any]]:
    """With the number of the endpoint's port on the bridge, and the families of its addresses. Those of closed networks
    are left out."""
    query = select(Publication, Endpoint.host_id, Endpoint.ofport, Endpoint.name, Tenant.name.label("tenant"), Network)
    query = query.join(Endpoint, Endpoint.id == Publication.endpoint_id).join(Tenant, Tenant.id == Endpoint.tenant_id)
    query = query.join(Network, Network.id == Endpoint.network_id)
    query = query.where(or_(Endpoint.host_id == host_id, Publication.mesh > 0))
    rows = [row for row in session.execute(query.order_by(Publication.id)) if goes_out(row.Network)]
    ids = {row.Publication.endpoint_id for row in rows}
    families: dict[int, set[int]] = {}
    for id, ip in session.execute(select(Address.endpoint_id, Address.ip).where(Address.endpoint_id.in_(ids))):
        families.setdefault(id, set()).add(6 if ":" in ip else 4)
    same = ("id", "protocol", "host_ip", "host_port", "port", "count")
    return [
        {
            "endpoint": f"{row.tenant}/{row.name}",
            # Another host's numbers mean nothing here.
            "ofport": row.ofport if row.host_id == host_id else 0,
            "mesh": 0 if row.host_id == host_id else row.Publication.mesh,
            "families": sorted(families.get(row.Publication.endpoint_id, ())),
            **{field: getattr(row.Publication, field) for field in same},
        }
        for row in rows
    ]


def _endpoints(session: Session, where: ColumnElement[bool]) -> list[WantedEndpoint]:
    domain = records.settings(session).domain
    found: dict[int, WantedEndpoint] = {}
    rows: Iterable[Any] = session.execute(_ENDPOINTS.where(where))
    for row in rows:
        known = found.get(row.id)
        if known is None:
            known = found[row.id] = WantedEndpoint(
                row.id,
                f"{row.tenant}/{row.name}",
                f"{row.tenant}/{row.network}",
                row.ofport,
                port_name(row.id, row.interface),
                row.mac,
                [],
                [],
                row.mtu,
                min(row.mtu, row.route_mtu),
                row.container_id,
                row.ifname,
                row.netns,
                {"nameservers": [], "search": records.search(f"{row.tenant}/{row.network}", domain)},
                from_host(row),
                row.interface,
                bandwidth.limits(row.bandwidth, row.quota),
            )
        known.addresses.append(f"{row.ip}/{row.prefix}")
        if row.gateway:
            known.gateways.append(row.gateway)
            known.dns["nameservers"] += nameservers(row.transport, [row.gateway])
    return list(found.values())
