"""Addresses that endpoints were declared to use besides their own: allowed-address pairs, and addresses that several
endpoints share, as VRRP does.

Of those that share one, the first to declare it has it until another takes it over. A single address is nobody else's
as long as anybody declares it. Does not know how it is announced that an address changes hands.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from db import allocate, pools
from db.addressing import (
    IPAddress,
    IPNetwork,
    check_usable,
    is_made_of_an_address,
    offset_of,
    overlap,
    parse_mac,
    unzoned,
)
from db.changes import Transaction
from db.errors import Conflict, Invalid
from db.tables import AllowedAddress, Endpoint, Network, Subnet, Tenant

FIELD = "allowed"
MOST = 64


class Pair(NamedTuple):
    cidr: IPNetwork
    mac: str  # empty: the endpoint's own
    active: bool


def declare(tx: Transaction, endpoint: Endpoint, asked: Sequence[Mapping[str, Any]]) -> bool:
    """Makes `asked` all that the endpoint may use; whether that changes anything.

    Each is an `address` (`10.20.0.100` or `10.20.0.96/28`), a `mac`, and `active`, which takes a shared address over.
    """
    session, network = tx.session, endpoint.network
    # Whoever removes a subnet holds the row against this lock.
    session.execute(select(Network.id).where(Network.id == network.id).with_for_update(read=True, key_share=True))
    subnets = {subnet.ip_network: subnet for subnet in network.subnets}
    pairs = [_pair(endpoint, one, list(subnets)) for one in asked]
    if len({pair.cidr for pair in pairs}) < len(pairs):
        raise Invalid("an address is given twice", "give each address once", FIELD)
    known = {row.cidr: row for row in endpoint.allowed}
    changed = False
    for cidr in known.keys() - {str(pair.cidr) for pair in pairs}:
        _drop(tx, known[cidr])
        changed = True
    for pair in pairs:
        row = known.get(str(pair.cidr))
        if row is None:
            sharing = _sharing(session, endpoint.network_id, str(pair.cidr))
            if not sharing:
                _reserve(session, endpoint, pair.cidr, subnets)
            row = AllowedAddress(
                endpoint_id=endpoint.id,
                network_id=endpoint.network_id,
                cidr=str(pair.cidr),
                mac=pair.mac,
                active=not any(other.active for other in sharing),
            )
            session.add(row)
            session.flush()
            changed = True
        elif row.mac != pair.mac:
            row.mac = pair.mac
            changed = True
        if pair.active:
            changed |= take_over(tx, endpoint.id, row.cidr)
    if changed:
        _note(tx, endpoint.id)
        session.flush()
        session.refresh(endpoint)
    return changed


def take_over(tx: Transaction, endpoint_id: int, cidr: str) -> bool:
    """Gives the address to one of those that declare it; False when it has it already, or declares it no more."""
    row = tx.session.get(AllowedAddress, (endpoint_id, cidr), with_for_update=True, populate_existing=True)
    if row is None or row.active:
        return False
    for other in _sharing(tx.session, row.network_id, cidr):
        if other.active:
            other.active = False
            _note(tx, other.endpoint_id)
    tx.session.flush()
    row.active = True
    tx.session.flush()
    _note(tx, endpoint_id)
    return True


def release(tx: Transaction, endpoint_id: int) -> None:
    """Before the endpoint goes: what it shares is the next one's."""
    query = select(AllowedAddress).where(AllowedAddress.endpoint_id == endpoint_id)
    for row in tx.session.execute(query).scalars().all():
        _drop(tx, row)


def single(session: Session, network_id: int) -> list[IPAddress]:
    """The declared addresses of a network; ranges reserve none."""
    return singles(session, AllowedAddress.network_id == network_id).get(network_id, [])


def singles(session: Session, *where: ColumnElement[bool]) -> dict[int, list[IPAddress]]:
    """The declared addresses of every network that has some, by the network's id."""
    found: dict[int, list[IPAddress]] = {}
    query = select(AllowedAddress.network_id, AllowedAddress.cidr).where(*where).distinct()
    for id, cidr in session.execute(query):
        network = ipaddress.ip_network(cidr)
        if network.prefixlen == network.max_prefixlen:
            found.setdefault(id, []).append(network.network_address)
    return found


def declarer(session: Session, subnet_id: int, address: IPAddress) -> str | None:
    """Whose declared address it is."""
    prefix = 32 if address.version == 4 else 128
    query = (
        select(Tenant.name, Endpoint.name)
        .join(Endpoint, Endpoint.tenant_id == Tenant.id)
        .join(AllowedAddress, AllowedAddress.endpoint_id == Endpoint.id)
        .join(Subnet, Subnet.network_id == AllowedAddress.network_id)
        .where(Subnet.id == subnet_id, AllowedAddress.cidr == f"{address}/{prefix}")
    )
    found = session.execute(query).first()
    return f"{found[0]}/{found[1]}" if found else None


def declarers(session: Session, network_id: int, within: IPNetwork) -> list[str]:
    """The endpoints of a network that declare addresses of a subnet."""
    query = select(Tenant.name + "/" + Endpoint.name, AllowedAddress.cidr).select_from(Endpoint).join(Endpoint.tenant)
    query = query.join(AllowedAddress, AllowedAddress.endpoint_id == Endpoint.id)
    rows = session.execute(query.where(AllowedAddress.network_id == network_id))
    return [name for name, cidr in rows if overlap(ipaddress.ip_network(cidr), within)]


def _pair(endpoint: Endpoint, asked: Mapping[str, Any], subnets: Sequence[IPNetwork]) -> Pair:
    text = asked["address"]
    try:
        cidr = ipaddress.ip_network(unzoned(text))
    except ValueError:
        remedy = "write it like 10.20.0.100 or 10.20.0.96/28"
        raise Invalid(f"{text!r} is neither an address nor a range of them", remedy, FIELD) from None
    subnet = next((one for one in subnets if one.version == cidr.version and cidr.subnet_of(one)), None)  # type: ignore[arg-type]
    if subnet is None:
        where = " and ".join(map(str, subnets))
        problem = f"{text} is outside of network {endpoint.network.qualified_name}"
        raise Invalid(problem, f"choose addresses in {where}", FIELD)
    if cidr.num_addresses == 1:
        check_usable(cidr.network_address, subnet, "address", FIELD)
    mac = parse_mac(asked["mac"], FIELD) if asked.get("mac") else ""
    if mac == endpoint.mac:
        mac = ""
    if is_made_of_an_address(mac):
        raise Invalid(f"MAC {mac} looks like one that Warren derives from an address", "use another range", FIELD)
    return Pair(cidr, mac, bool(asked.get("active")))


def _reserve(session: Session, endpoint: Endpoint, cidr: IPNetwork, subnets: Mapping[IPNetwork, Subnet]) -> None:
    """Keeps a single address from being given out; refuses a range that is partly another's."""
    name = endpoint.network.qualified_name
    if cidr.num_addresses > 1:
        others = select(AllowedAddress.cidr).where(AllowedAddress.network_id == endpoint.network_id)
        for text in session.execute(others).scalars():
            other = ipaddress.ip_network(text)
            if other.num_addresses > 1 and overlap(cidr, other):
                problem = f"range {cidr} of network {name} overlaps {other}, which is declared already"
                raise Conflict(problem, f"declare {other}, or choose a range beside it", FIELD)
        return
    subnet = _around(cidr, subnets)
    pools.refuse_draining(subnets[subnet], name)
    address = cidr.network_address
    if not allocate.claim_exact(session, subnets[subnet].pool_id, offset_of(address, subnet)):
        problem = f"address {address} of network {name} is an endpoint's own or the gateway's"
        raise Conflict(problem, "choose another; `warren endpoint list` tells who has it", FIELD)


def _drop(tx: Transaction, row: AllowedAddress) -> None:
    session, network_id, cidr, active = tx.session, row.network_id, row.cidr, row.active
    session.delete(row)
    session.flush()
    sharing = _sharing(session, network_id, cidr)
    if sharing and active:
        sharing[0].active = True
        session.flush()
        _note(tx, sharing[0].endpoint_id)
    if not sharing and (single := ipaddress.ip_network(cidr)).num_addresses == 1:
        rows = session.execute(select(Subnet).where(Subnet.network_id == network_id)).scalars()
        subnets = {subnet.ip_network: subnet for subnet in rows}
        subnet = _around(single, subnets)
        allocate.release(session, subnets[subnet].pool_id, offset_of(single.network_address, subnet), tx.now)


def _around(cidr: IPNetwork, subnets: Mapping[IPNetwork, Subnet]) -> IPNetwork:
    return next(subnet for subnet in subnets if subnet.version == cidr.version and cidr.subnet_of(subnet))  # type: ignore[arg-type]


def _sharing(session: Session, network_id: int, cidr: str) -> list[AllowedAddress]:
    """All that declare it, the oldest endpoint first; locked, so that only one at a time decides who has it."""
    query = select(AllowedAddress).where(AllowedAddress.network_id == network_id, AllowedAddress.cidr == cidr)
    rows = session.execute(query.order_by(AllowedAddress.endpoint_id).with_for_update())
    return list(rows.scalars())


def _note(tx: Transaction, endpoint_id: int) -> None:
    """Records that the endpoint changed, even if another one was asked about."""
    endpoint = tx.session.get_one(Endpoint, endpoint_id)
    endpoint.updated_at = tx.now  # a new version of it
    tx.record("endpoint", endpoint.id, "update", tenant_id=endpoint.tenant_id, host_id=endpoint.host_id)
