"""Reservations: addresses that are kept for endpoints of a name, for ever or until a moment.

A reserved address is claimed whether or not somebody uses it. Nobody watches the clock: what has expired is given up by
the next attach to its network, or by `ipam.collect`. Takes no revision, for no packet goes elsewhere by it.

Locks: whoever changes reservations holds the network's row, as an attach does; before it gives up an address that an
endpoint uses it locks the endpoint, as a detach does.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, bindparam, delete, or_, select
from sqlalchemy.orm import Session, contains_eager

from db import allocate, networks, pools, subnetting
from db.addressing import address_at, check_usable, offset_of, parse_address
from db.changes import Transaction
from db.errors import Conflict, Invalid, NotFound
from db.layout import subnet_of
from db.names import dns_label
from db.pages import MAX_LIMIT, Page, containing, page
from db.tables import Address, Endpoint, Network, Reservation, Subnet

_CONCERNING = (
    select(Reservation.subnet_id, Reservation.ip, Reservation.name, Reservation.expires_at)
    .join(Subnet, Subnet.id == Reservation.subnet_id)
    .where(
        Subnet.network_id == bindparam("network_id"),
        or_(Reservation.name == bindparam("name"), Reservation.expires_at <= bindparam("now")),
    )
)
_OF_ENDPOINT = (
    select(Reservation.subnet_id, Reservation.ip)
    .join(Address, (Address.subnet_id == Reservation.subnet_id) & (Address.ip == Reservation.ip))
    .where(Address.endpoint_id == bindparam("id"))
)
_DELETE = delete(Reservation.__table__)  # type: ignore[arg-type]
Key = tuple[int, str]
"""Subnet and address."""


def create(
    tx: Transaction, network: str, name: str, *, addresses: Sequence[str] = (), expires_at: datetime | None = None
) -> list[Reservation]:
    """Reserves these addresses, or the next free one of each family. What the endpoint of that name has, it keeps."""
    dns_label(name, "reservation")
    session = tx.session
    if expires_at is not None and expires_at.tzinfo is None:
        raise Invalid(f"{expires_at} has no time zone", "write it like 2026-12-31T12:00:00Z", "expires_at")
    if expires_at is not None and expires_at <= tx.now:
        raise Invalid(f"{expires_at.isoformat()} is in the past", "give a later time", "expires_at")
    row = _locked(session, network)
    expire(session, row.id, tx.now)
    if there := of(session, row.id, name):
        given = ", ".join(one.ip for one in there)
        raise Conflict(f"network {network} has a reservation for {name} already, {given}", "delete it first", "name")
    chosen = _chosen(tx, row, name, addresses) if addresses else _next(tx, row)
    made = [
        Reservation(subnet_id=subnet.id, subnet=subnet, ip=ip, name=name, expires_at=expires_at, created_at=tx.now)
        for subnet, ip in chosen
    ]
    session.add_all(made)
    session.flush()
    tx.note("network", row.id, "update")
    return made


def find(
    session: Session,
    network: str,
    *,
    text: str | None = None,
    sort: str | None = None,
    cursor: str | None = None,
    limit: int = MAX_LIMIT,
) -> Page[Reservation]:
    """A page of names, each with all its addresses, by subnet. `text` is part of the name."""
    id = networks.get(session, network).id
    names = select(Reservation.name).join(Subnet).where(Subnet.network_id == id, *containing(text, Reservation.name))
    found = page(session, names.distinct(), (Reservation.name,), str, cursor, limit, sort)
    rows = _rows(session, Subnet.network_id == id, Reservation.name.in_(found.items))
    place = {name: number for number, name in enumerate(found.items)}
    return Page(sorted(rows, key=lambda row: place[row.name]), found.next)


def by_network(session: Session, ids: Sequence[int]) -> dict[int, list[Reservation]]:
    """The reservations of several networks, by network id."""
    found: dict[int, list[Reservation]] = {id: [] for id in ids}
    for one in _rows(session, Subnet.network_id.in_(ids)):
        found[one.subnet.network_id].append(one)
    return found


def _rows(session: Session, *where: ColumnElement[bool]) -> Sequence[Reservation]:
    """Reservations, by name and then by subnet."""
    query = select(Reservation).join(Reservation.subnet).options(contains_eager(Reservation.subnet)).where(*where)
    return session.execute(query.order_by(Reservation.name, Reservation.subnet_id)).scalars().all()


def of(session: Session, network_id: int, name: str) -> list[Reservation]:
    query = select(Reservation).join(Subnet).where(Subnet.network_id == network_id, Reservation.name == name)
    return list(session.execute(query.order_by(Reservation.subnet_id)).scalars())


def remove(tx: Transaction, network: str, name: str) -> None:
    row = _locked(tx.session, network)
    keys = [(one.subnet_id, one.ip) for one in of(tx.session, row.id, name)]
    if not keys:
        remedy = f"list them with `warren reservation list {network}`"
        raise NotFound(f"network {network} has no reservation for {name}", remedy, "name")
    _give_up(tx.session, keys, tx.now)
    tx.note("network", row.id, "update")


def expire(session: Session, network_id: int, now: datetime) -> list[Key]:
    """Gives up what has expired in a network whose row is locked."""
    query = select(Reservation.subnet_id, Reservation.ip).join(Subnet)
    query = query.where(Subnet.network_id == network_id, Reservation.expires_at <= now)
    keys = [(subnet_id, ip) for subnet_id, ip in session.execute(query)]
    _give_up(session, keys, now)
    return keys


def kept_for(session: Session, network_id: int, name: str, now: datetime) -> dict[int, str]:
    """The addresses that are kept for a name, by subnet; gives up what has expired in the network."""
    found: dict[int, str] = {}
    expired = False
    for row in session.execute(_CONCERNING, {"network_id": network_id, "name": name, "now": now}):
        if row.expires_at is not None and row.expires_at <= now:
            expired = True
        else:
            found[row.subnet_id] = row.ip
    if expired:
        expire(session, network_id, now)
    return found


def of_endpoint(session: Session, endpoint_id: int) -> set[Key]:
    """Those of an endpoint's addresses that stay claimed when it goes."""
    return {(subnet_id, ip) for subnet_id, ip in session.execute(_OF_ENDPOINT, {"id": endpoint_id})}


def _locked(session: Session, network: str) -> Network:
    id = networks.get(session, network).id
    session.execute(select(Network.id).where(Network.id == id).with_for_update(key_share=True))
    return networks.get(session, network)


def _give_up(session: Session, keys: Iterable[Key], now: datetime) -> None:
    for subnet_id, ip in keys:
        session.execute(_DELETE.where(Reservation.subnet_id == subnet_id, Reservation.ip == ip))
        if _user(session, subnet_id, ip) is None:
            subnet = session.get_one(Subnet, subnet_id)
            allocate.release(session, subnet.pool_id, offset_of(ipaddress.ip_address(ip), subnet.ip_network), now)


def _user(session: Session, subnet_id: int, ip: str) -> Endpoint | None:
    """The endpoint that has the address; it cannot go before this transaction ends."""
    query = select(Endpoint).join(Address).where(Address.subnet_id == subnet_id, Address.ip == ip)
    return session.execute(query.with_for_update(of=Endpoint)).scalar_one_or_none()


def _chosen(tx: Transaction, network: Network, name: str, texts: Sequence[str]) -> list[tuple[Subnet, str]]:
    subnets = {subnet.ip_network: subnet for subnet in network.subnets}
    chosen: dict[int, tuple[Subnet, str]] = {}
    for text in texts:
        address = parse_address(text, "reserved", "addresses")
        within = subnet_of(list(subnets), address, "address", "addresses")
        check_usable(address, within, "address", "addresses")
        if address.version in chosen:
            problem = f"{chosen[address.version][1]} and {address} are both IPv{address.version}"
            raise Invalid(problem, "an endpoint has one address of each family: reserve one", "addresses")
        subnet = subnets[within]
        number = offset_of(address, within)
        if allocate.claim_exact(tx.session, subnet.pool_id, number):
            pools.refuse_draining(subnet, network.qualified_name)
        else:
            user = _user(tx.session, subnet.id, str(address))
            gone = user is None and allocate.claim_exact(tx.session, subnet.pool_id, number)  # at this very moment
            if not gone and (user is None or (user.name, user.tenant_id) != (name, network.tenant_id)):
                raise subnetting.taken(tx.session, subnet.id, str(address), network.qualified_name)
            reserved = select(Reservation.name).where(Reservation.subnet_id == subnet.id)
            if tx.session.execute(reserved.where(Reservation.ip == str(address))).scalar() is not None:
                raise subnetting.taken(tx.session, subnet.id, str(address), network.qualified_name)
        chosen[address.version] = subnet, str(address)
    return list(chosen.values())


def _next(tx: Transaction, network: Network) -> list[tuple[Subnet, str]]:
    """One of each family, of the first subnet with room. In a network with blocks it is of no host's."""
    found: dict[int, tuple[Subnet, str]] = {}
    full: dict[int, Conflict] = {}
    for subnet in network.subnets:
        if subnet.family in found:
            continue
        what = f"subnet {subnet.cidr} of network {network.qualified_name}"
        try:
            pools.refuse_draining(subnet, network.qualified_name)
            number = allocate.claim(
                tx.session, subnet.pool_id, tx.now, what=what, remedy="remove endpoints or add a subnet"
            )
        except Conflict as refused:
            full.setdefault(subnet.family, refused)
            continue
        found[subnet.family] = subnet, str(address_at(subnet.ip_network, number))
    for family, why in full.items():
        if family not in found:
            raise why
    return list(found.values())
