"""Rows become the values of `controller.model`: the whole world at one revision, or only what changed.

The one place that knows both shapes. Does not know what anybody does with the values.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Result, Select, bindparam, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from controller import model
from controller.calc.documents import read
from controller.model import Change
from db import tables
from db.changes import current_revision
from db.host_ports import MESH
from db.labels import with_name
from db.settings import CLUSTER_ID, is_flat
from db.transport import udp_ports

NOUNS = ("tenant", "network", "host", "endpoint", "peering", "cluster", "policy", "name")
_BATCH = 500
_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}

Ids = Sequence[int] | None
"""The ids of the rows to load; None: all."""


class _Query(NamedTuple):
    """For all rows, and for some. Endpoints come and go all day: what is asked then is built once, which takes a third
    of a millisecond each time."""

    all: Select[Any]
    some: Select[Any]


def _by(column: InstrumentedAttribute[int], query: Select[Any]) -> _Query:
    return _Query(query, query.where(column.in_(bindparam("ids", expanding=True))))


_e, _a, _s = tables.Endpoint, tables.Address, tables.AllowedAddress
_ENDPOINTS = _by(
    _e.id,
    select(
        *(_e.id, tables.Tenant.name, _e.name, _e.network_id, _e.host_id, _e.ofport, _e.mac, _e.labels, _e.ports, MESH)
    )
    .join(tables.Tenant, tables.Tenant.id == _e.tenant_id)
    .order_by(_e.id),
)
_ADDRESSES = _by(_a.endpoint_id, select(_a.endpoint_id, _a.ip, _a.prefix).order_by(_a.endpoint_id, _a.subnet_id))
_ALLOWED = _by(
    _s.endpoint_id, select(_s.endpoint_id, _s.cidr, _s.mac, _e.mac, _s.active).join(_e, _e.id == _s.endpoint_id)
)


def snapshot(session: Session) -> tuple[int, list[Change]]:
    """The revision and everything there is at it. The session must be one consistent view (`db.engine.reading`)."""
    return current_revision(session), [change for noun in NOUNS for change in _LOADERS[noun](session, None)]


def load(session: Session, wanted: Iterable[tuple[str, int]]) -> list[Change]:
    """Each (noun, id) as it is now, in the order of `NOUNS` and ids; nouns that are not in the world are left out."""
    by_noun: dict[str, set[int]] = defaultdict(set)
    for noun, id in wanted:
        by_noun[noun].add(id)
    changes = []
    for noun in NOUNS:
        ids = sorted(by_noun[noun])
        found: dict[int, Change] = {}
        for start in range(0, len(ids), _BATCH):
            batch = ids[start : start + _BATCH]
            found.update((change.id, change) for change in _LOADERS[noun](session, batch))
        changes += [found.get(id, Change(noun, id, None)) for id in ids]
    return changes


def between(session: Session, one: int, other: int) -> list[Change]:
    """What decides about connections between two endpoints, and nothing of the rest of the world."""
    e = tables.Endpoint
    ends = session.execute(select(e.id, e.host_id, e.network_id, e.tenant_id).where(e.id.in_((one, other)))).all()
    tenants = sorted({end.tenant_id for end in ends})
    wanted = _deciding(session, tenants)
    for end in ends:
        wanted |= {("endpoint", end.id), ("host", end.host_id), ("network", end.network_id)}
    return load(session, wanted)


def among(session: Session, tenants: Sequence[int]) -> list[Change]:
    """What decides about connections among endpoints of these tenants, and nothing of the rest of the world."""
    e, n = tables.Endpoint, tables.Network
    wanted = _deciding(session, tenants)
    for noun, query in (
        ("network", select(n.id).where(n.tenant_id.in_(tenants))),
        ("endpoint", select(e.id).where(e.tenant_id.in_(tenants))),
        ("host", select(e.host_id).where(e.tenant_id.in_(tenants)).distinct()),
    ):
        wanted |= {(noun, id) for id in session.execute(query).scalars()}
    return load(session, wanted)


def _deciding(session: Session, tenants: Sequence[int]) -> set[tuple[str, int]]:
    """What decides beside networks and endpoints."""
    p, g = tables.Policy, tables.Peering
    wanted = {("cluster", CLUSTER_ID), *(("tenant", id) for id in tenants)}
    for noun, query in (
        ("peering", select(g.id).where(g.low_id.in_(tenants), g.high_id.in_(tenants))),
        ("policy", select(p.id).where(p.owner.in_({0, *tenants}))),
        ("name", select(tables.ResolvedName.id)),
    ):
        wanted |= {(noun, id) for id in session.execute(query).scalars()}
    return wanted


def _tenants(session: Session, ids: Ids) -> Iterator[Change]:
    t = tables.Tenant
    query = select(t.id, t.name, t.zone, t.labels, t.track_all, t.default_deny).where(*_those(t.id, ids))
    for id, name, zone, labels, track_all, default_deny in session.execute(query.order_by(t.id)):
        denied = frozenset(model.Direction[direction.upper()] for direction in default_deny)
        yield Change("tenant", id, model.Tenant(id, name, zone, _labels(with_name(labels, name)), track_all, denied))


def _networks(session: Session, ids: Ids) -> Iterator[Change]:
    n, s, t = tables.Network, tables.Subnet, tables.Tenant
    subnets: dict[int, list[model.Subnet]] = defaultdict(list)
    query = select(s.network_id, s.cidr, s.gateway).where(*_those(s.network_id, ids)).order_by(s.network_id, s.id)
    for network_id, cidr, gateway in session.execute(query):
        subnets[network_id].append(model.Subnet.parse(cidr, gateway))
    columns = select(
        n.id, t.name, n.name, n.tenant_id, n.vni, n.zone, n.private, n.transport, n.cross_subnet, n.broadcast
    )
    columns = columns.add_columns(func.coalesce(n.physical_id, 0), n.vlan, n.outbound).join(t, t.id == n.tenant_id)
    for id, tenant, name, tenant_id, vni, zone, *more in session.execute(
        columns.where(*_those(n.id, ids)).order_by(n.id)
    ):
        network = model.Network(id, f"{tenant}/{name}", tenant_id, vni, zone, tuple(subnets[id]), *more)
        yield Change("network", id, network)


def _hosts(session: Session, ids: Ids) -> Iterator[Change]:
    h = tables.Host
    query = select(h.id, h.name, h.address, h.datapath_type, h.prefix).where(*_those(h.id, ids)).order_by(h.id)
    for id, name, text, datapath_type, prefix in session.execute(query):
        address = segment = None
        if text is not None:
            ip = ipaddress.ip_address(text)
            address = (ip.version, int(ip))
            if prefix is not None:
                network = ipaddress.ip_network((text, prefix), strict=False)
                segment = (network.version, int(network.network_address), prefix)
        yield Change("host", id, model.Host(id, name, address, datapath_type, segment))


def _endpoints(session: Session, ids: Ids) -> Iterator[Change]:
    addresses: dict[int, list[model.Address]] = defaultdict(list)
    for endpoint_id, text, prefix in _rows(session, _ADDRESSES, ids):
        ip = ipaddress.ip_address(text)
        addresses[endpoint_id].append(model.Address(ip.version, int(ip), prefix))
    allowed = _allowed(session, ids)
    for id, tenant, name, network, host, ofport, mac, labels, ports, mesh in _rows(session, _ENDPOINTS, ids):
        endpoint = model.Endpoint(
            id,
            f"{tenant}/{name}",
            network,
            host,
            ofport,
            model.parse_mac(mac),
            tuple(addresses[id]),
            _labels(labels),
            _ports(ports),
            tuple(sorted(allowed[id])),
            mesh or 0,
        )
        yield Change("endpoint", id, endpoint)


def _allowed(session: Session, ids: Ids) -> dict[int, list[model.Allowed]]:
    found: dict[int, list[model.Allowed]] = defaultdict(list)
    for id, cidr, mac, own, active in _rows(session, _ALLOWED, ids):
        range = ipaddress.ip_network(cidr)
        address = int(range.network_address)
        found[id].append(model.Allowed(range.version, address, range.prefixlen, model.parse_mac(mac or own), active))
    return found


def _peerings(session: Session, ids: Ids) -> Iterator[Change]:
    p = tables.Peering
    for id, low, high in session.execute(select(p.id, p.low_id, p.high_id).where(*_those(p.id, ids)).order_by(p.id)):
        yield Change("peering", id, model.Peering(id, (low, high)))


def _cluster(session: Session, ids: Ids) -> Iterator[Change]:
    if ids is None or CLUSTER_ID in ids:
        ports = tuple(sorted(udp_ports(session).values()))
        yield Change("cluster", CLUSTER_ID, model.Cluster(CLUSTER_ID, is_flat(session), ports))


def _policies(session: Session, ids: Ids) -> Iterator[Change]:
    p = tables.Policy
    query = select(p.id, p.owner, p.ordinal, p.version, p.document).where(*_those(p.id, ids)).order_by(p.id)
    # Documents are much larger than what is read of them.
    for id, owner, ordinal, version, document in session.execute(query, execution_options={"yield_per": _BATCH}):
        yield Change("policy", id, read(document).policy(id, owner, ordinal)._replace(version=version))


def _names(session: Session, ids: Ids) -> Iterator[Change]:
    n, a = tables.ResolvedName, tables.ResolvedAddress
    addresses: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for name_id, text in session.execute(select(a.name_id, a.ip).where(*_those(a.name_id, ids))):
        ip = ipaddress.ip_address(text)
        addresses[name_id].append((ip.version, int(ip)))
    for id, name in session.execute(select(n.id, n.name).where(*_those(n.id, ids)).order_by(n.id)):
        yield Change("name", id, model.ResolvedName(id, name, tuple(sorted(addresses[id]))))


_LOADERS = {
    "tenant": _tenants,
    "network": _networks,
    "host": _hosts,
    "endpoint": _endpoints,
    "peering": _peerings,
    "cluster": _cluster,
    "policy": _policies,
    "name": _names,
}


def _rows(session: Session, query: _Query, ids: Ids) -> Result[Any]:
    return session.execute(query.all) if ids is None else session.execute(query.some, {"ids": ids})


def _those(column: InstrumentedAttribute[int], ids: Ids) -> list[ColumnElement[bool]]:
    return [] if ids is None else [column.in_(ids)]


def _ports(ports: Iterable[dict[str, Any]]) -> tuple[model.NamedPort, ...]:
    return tuple(sorted(model.NamedPort(port["name"], _PROTOCOLS[port["protocol"]], port["port"]) for port in ports))


def _labels(labels: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))
