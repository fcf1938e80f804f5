"""The names that one host's resolver knows, whole or as what changed, and which hosts know those of a revision.

Decides who may see whose names: who may reach them, network by network, by the rules of isolation. An agent that asks
what came after a revision answers from that one, and whoever attached or detached something can wait for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import and_, bindparam, or_, select, update
from sqlalchemy.orm import Session

from db import records
from db.changes import PROGRESS_CHANNEL, Change, changes_since, current_revision, notify, reach, says
from db.errors import NotFound
from db.settings import is_flat
from db.tables import Address, ChangeRow, DnsRecord, Endpoint, Host, HostStatus, Network, Peering, Subnet, Tenant
from db.zones import GLOBAL

ALIVE = timedelta(seconds=45)
"""An agent that has not asked for this long does not hold others up; it asks at least every 30 s."""
HEARTBEAT = timedelta(seconds=10)
MOST_CHANGES = 2000
"""More than these are told as the whole."""
OF_A_TENANT = ("endpoint", "network", "record")
OF_ALL = ("tenant", "peering", "cluster", records.DNS)

Entries = dict[str, dict[str, Any] | None]


_host, _status = Host.__table__.c, HostStatus.__table__.c
_BEHIND = (
    select(_host.name)
    .select_from(Host.__table__.join(HostStatus.__table__, _status.host_id == _host.id))
    .where(_status.names_revision < bindparam("revision"), _status.names_seen_at > bindparam("alive"))
    .where(_host.id.in_(bindparam("hosts", expanding=True)))
    .order_by(_host.name)
)


class _Network(NamedTuple):
    id: int
    name: str
    tenant_id: int
    tenant: str
    zone: int
    private: bool
    isolated: bool


_NOTED = select(_status.names_revision, _status.names_seen_at).where(_status.host_id == bindparam("host"))
_endpoint = Endpoint.__table__.c
_PORTS = select(_endpoint.id, _endpoint.ofport, _endpoint.network_id).where(_endpoint.host_id == bindparam("host"))
_LOGGED = select(ChangeRow.__table__).where(ChangeRow.revision == bindparam("revision"))

# What is asked at each attach is built once: to build a statement takes as long as to carry it out.
_PEERINGS = select(Peering.low_id, Peering.high_id)
_TENANTS_OF_HOST = select(Endpoint.tenant_id).where(Endpoint.host_id == bindparam("host")).distinct()
_HOSTS_OF_ALL = select(Endpoint.host_id).where(Endpoint.host_id.is_not(None)).distinct()
_HOSTS_OF_TENANTS = (
    select(Endpoint.host_id).where(Endpoint.tenant_id.in_(bindparam("tenants", expanding=True))).distinct()
)
_ZONES = select(Tenant.zone).where(Tenant.id.in_(bindparam("tenants", expanding=True)))
_MATES = select(Tenant.id).where(or_(Tenant.zone.in_(bindparam("zones", expanding=True)), Tenant.zone == GLOBAL))
_NETWORKS = (
    select(
        Network.id,
        Network.name,
        Network.tenant_id,
        Tenant.name,
        Network.zone,
        Network.private,
        Network.isolated,
    )
    .join(Tenant, Tenant.id == Network.tenant_id)
    .order_by(Network.id)
)
_LOCAL_NETWORKS = _NETWORKS.where(Network.id.in_(bindparam("networks", expanding=True)))
_NEAR_NETWORKS = _NETWORKS.where(
    or_(
        Network.zone.in_(bindparam("zones", expanding=True)),
        Network.tenant_id.in_(bindparam("tenants", expanding=True)),
    )
)
_SUBNETS = (
    select(Subnet.network_id, Subnet.cidr)
    .where(Subnet.network_id.in_(bindparam("networks", expanding=True)))
    .order_by(Subnet.id)
)
_ENTRIES = (
    select(Endpoint.id, Endpoint.name, Endpoint.aliases, Endpoint.network_id, Address.ip)
    .join(Address, Address.endpoint_id == Endpoint.id)
    .where(Endpoint.network_id.in_(bindparam("networks", expanding=True)))
    .order_by(Endpoint.id, Address.subnet_id)
)
_SOME_ENTRIES = _ENTRIES.where(Endpoint.id.in_(bindparam("ids", expanding=True)))
_RECORDS = (
    select(DnsRecord)
    .where(
        or_(
            DnsRecord.network_id.in_(bindparam("networks", expanding=True)),
            and_(DnsRecord.network_id.is_(None), DnsRecord.tenant_id.in_(bindparam("tenants", expanding=True))),
        )
    )
    .order_by(DnsRecord.id)
)
_SOME_RECORDS = _RECORDS.where(DnsRecord.id.in_(bindparam("ids", expanding=True)))
_NEWS_OF_ALL = or_(ChangeRow.host_id == bindparam("host"), ChangeRow.noun.in_(OF_ALL), ChangeRow.noun.in_(OF_A_TENANT))
_NEWS_OF_TENANTS = or_(
    ChangeRow.host_id == bindparam("host"),
    ChangeRow.noun.in_(OF_ALL),
    and_(ChangeRow.noun.in_(OF_A_TENANT), ChangeRow.tenant_id.in_(bindparam("tenants", expanding=True))),
)
_IS_NEWS_OF_ALL, _IS_NEWS_OF_TENANTS = (
    select(ChangeRow.revision).where(ChangeRow.revision > bindparam("after"), news).limit(1)
    for news in (_NEWS_OF_ALL, _NEWS_OF_TENANTS)
)


def document(session: Session, host_id: int, after: int | None = None) -> dict[str, Any]:
    """What the host's resolver knows; with `after`, only the names that changed since, if the log says which.

    A network in which all of the host's endpoints are news may be new to it, and so may be what that network sees: of
    such (`new`) all names are told.
    """
    rows = None if after is None else changes_since(session, after)
    whole = rows is None or len(rows) > MOST_CHANGES
    ports = session.execute(_PORTS, {"host": host_id}).all()
    local = {port.network_id for port in ports}
    peers, flat = _peers(session), is_flat(session)
    networks = _networks(session, local, peers, flat)
    seen = {
        id: [other.id for other in networks.values() if other.id != id and _sees(networks[id], other, peers, flat)]
        for id in sorted(local)
    }
    visible = local.union(*seen.values()) if seen else local
    networks = {id: network for id, network in networks.items() if id in visible}
    new: set[int] = set()
    if not whole:
        changed = {row.id for row in rows or () if row.noun == "endpoint"}
        old = {port.network_id for port in ports if port.id not in changed}
        new = visible - old.union(*(seen[id] for id in old))
    return {
        "revision": current_revision(session),
        "whole": whole,
        "new": sorted(new),
        "domain": records.settings(session).domain,
        "networks": _described(session, networks),
        "seen": {str(id): others for id, others in seen.items()},
        "askers": {str(port.ofport): port.network_id for port in ports},
        "names": _names(session, networks)
        if whole
        else _changed(session, networks, rows or ())
        | (_names(session, {id: networks[id] for id in new}) if new else {}),
    }


def changed_for_host(session: Session, host_id: int, after: int) -> bool:
    """Whether the host's names may differ from those at `after`."""
    current, oldest = reach(session)
    if after == current:
        return False
    if not says(current, oldest, after):
        return True
    near = _neighbours(session, session.execute(_TENANTS_OF_HOST, {"host": host_id}).scalars())
    asked: dict[str, Any] = {"after": after, "host": host_id}
    if near is None:
        return session.execute(_IS_NEWS_OF_ALL, asked).first() is not None
    return session.execute(_IS_NEWS_OF_TENANTS, asked | {"tenants": sorted(near)}).first() is not None


def note(session: Session, host_id: int, known: int | None, now: datetime) -> None:
    """The host's agent answers from the names of revision `known`; None: from none that count."""
    known = known or 0
    stale = or_(
        HostStatus.names_revision != known,
        HostStatus.names_seen_at.is_(None),
        HostStatus.names_seen_at < now - HEARTBEAT,
    )
    statement = update(HostStatus).where(HostStatus.host_id == host_id, stale)
    noted = session.execute(statement.values(names_revision=known, names_seen_at=now).returning(HostStatus.host_id))
    if noted.first() is not None:
        notify(session, PROGRESS_CHANNEL)


def is_noted(session: Session, host_id: int, known: int | None, now: datetime) -> bool:
    """Whether `note` would change nothing: looked at first, so that an agent that asks again costs no write."""
    row = session.execute(_NOTED, {"host": host_id}).first()
    return row is not None and row[0] == (known or 0) and row[1] is not None and row[1] >= now - HEARTBEAT


def waiting(session: Session, revision: int, now: datetime) -> list[str]:
    """The hosts that may be asked for names which `revision` changed, and answer from older ones still."""
    return behind(session, revision, concerned(session, revision), now)


def concerned(session: Session, revision: int) -> frozenset[int]:
    """The ids of the hosts that may be asked for names which `revision` changed."""
    rows: Sequence[Any] = session.execute(_LOGGED, {"revision": revision}).all()
    if not rows and not 0 <= revision <= (current := current_revision(session)):
        raise NotFound(f"there is no revision {revision}", f"the newest is {current}", "revision")
    if any(row.noun in OF_ALL for row in rows):
        return frozenset(session.execute(select(Host.id)).scalars())
    named = {row.host_id for row in rows if row.host_id is not None}
    tenants = {row.tenant_id for row in rows if row.noun in OF_A_TENANT and row.tenant_id is not None}
    if tenants:
        near = _neighbours(session, tenants)
        hosts = (_HOSTS_OF_ALL,) if near is None else (_HOSTS_OF_TENANTS, {"tenants": sorted(near)})
        named |= set(session.execute(*hosts).scalars())
    return frozenset(named)


def behind(session: Session, revision: int, hosts: Iterable[int], now: datetime) -> list[str]:
    """Those of `hosts` that answer from names older than `revision`; without those whose agents are silent."""
    asked = {"revision": revision, "alive": now - ALIVE, "hosts": sorted(hosts)}
    return list(session.execute(_BEHIND, asked).scalars()) if asked["hosts"] else []


def _neighbours(session: Session, tenants: Iterable[int]) -> set[int] | None:
    """Tenants some network of which may reach some network of one of these; None for all. It is mutual."""
    own = set(tenants)
    if not own:
        return own
    zones = set(session.execute(_ZONES, {"tenants": sorted(own)}).scalars())
    if GLOBAL in zones or is_flat(session):
        return None
    near = own | set(session.execute(_MATES, {"zones": sorted(zones)}).scalars())
    peers = _peers(session)
    return near.union(*(peers.get(tenant, ()) for tenant in own))


def _sees(one: _Network, other: _Network, peers: Mapping[int, set[int]], flat: bool) -> bool:
    """Whether packets pass between two networks, policies aside."""
    if one.zone == other.zone:
        return True
    if GLOBAL in (one.zone, other.zone) and not one.private and not other.private:
        return True
    if one.isolated or other.isolated:
        return False
    return other.tenant_id in peers.get(one.tenant_id, ()) or (flat and not one.private and not other.private)


def _networks(session: Session, local: set[int], peers: Mapping[int, set[int]], flat: bool) -> dict[int, _Network]:
    """These, and all that one of them may see."""
    own = [_Network(*row) for row in session.execute(_LOCAL_NETWORKS, {"networks": sorted(local)})]
    if not own:
        return {}
    zones = {network.zone for network in own}
    if GLOBAL in zones or flat:
        rows = session.execute(_NETWORKS)
    else:
        near = set[int]().union(*(peers.get(network.tenant_id, ()) for network in own))
        rows = session.execute(_NEAR_NETWORKS, {"zones": sorted({GLOBAL, *zones}), "tenants": sorted(near)})
    return {row[0]: _Network(*row) for row in rows}


def _peers(session: Session) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for low, high in session.execute(_PEERINGS):
        found.setdefault(low, set()).add(high)
        found.setdefault(high, set()).add(low)
    return found


def _described(session: Session, networks: Mapping[int, _Network]) -> dict[str, Any]:
    subnets: dict[int, list[str]] = {id: [] for id in networks}
    for id, cidr in session.execute(_SUBNETS, {"networks": list(networks)}):
        subnets[id].append(cidr)
    return {
        str(id): {"name": network.name, "tenant": network.tenant, "subnets": subnets[id]}
        for id, network in networks.items()
    }


def _names(session: Session, networks: Mapping[int, _Network]) -> Entries:
    return _endpoints(session, networks) | _records(session, networks)


def _changed(session: Session, networks: Mapping[int, _Network], rows: Sequence[Change]) -> Entries:
    ids = {noun: {row.id for row in rows if row.noun == noun} for noun in ("endpoint", "record")}
    found: Entries = {f"{noun}/{id}": None for noun in ids for id in ids[noun]}
    if ids["endpoint"]:
        found |= _endpoints(session, networks, ids["endpoint"])
    if ids["record"]:
        found |= _records(session, networks, ids["record"])
    return found


Ids = Collection[int] | None
"""None: all."""


def _endpoints(session: Session, networks: Mapping[int, _Network], ids: Ids = None) -> Entries:
    asked: dict[str, Any] = {"networks": list(networks)}
    rows = session.execute(_ENTRIES, asked) if ids is None else session.execute(_SOME_ENTRIES, asked | {"ids": [*ids]})
    found: Entries = {}
    for id, name, aliases, network, ip in rows:
        entry = found.setdefault(
            f"endpoint/{id}",
            {"tenant": networks[network].tenant, "network": network, "labels": [name, *aliases], "addresses": []},
        )
        assert entry is not None
        entry["addresses"].append(ip)
    return found


def _records(session: Session, networks: Mapping[int, _Network], ids: Ids = None) -> Entries:
    tenants = {network.tenant_id: network.tenant for network in networks.values()}
    asked: dict[str, Any] = {"networks": list(networks), "tenants": list(tenants)}
    rows = session.execute(_RECORDS, asked) if ids is None else session.execute(_SOME_RECORDS, asked | {"ids": [*ids]})
    return {
        f"record/{row.id}": {
            "tenant": tenants[row.tenant_id],
            "network": row.network_id or 0,
            "labels": [row.name],
            "addresses": row.addresses,
        }
        for row in rows.scalars()
    }
