"""Which addresses an endpoint gets: those kept for it, those asked for, or the next free ones; one of each family.

Of several subnets of a family the first with room gives the address. Decides; what is in use, `allocate` and `blocks`
know.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import allocate, blocks, subnetting
from db.addressing import IPAddress, address_at, offset_of
from db.errors import Conflict, Exhausted
from db.pools import DRAINING, draining
from db.tables import Address


class Given(NamedTuple):
    subnet_id: int
    ip: IPAddress
    prefix: int
    gateway: str | None


def choose(
    session: Session,
    now: datetime,
    host_id: int,
    place: Sequence[Any],
    asked: Mapping[int, IPAddress],
    kept: Mapping[int, str],
    network: str,
) -> list[Given]:
    """In the order of subnets. `place` are the network's subnets, `asked` and `kept` addresses by subnet."""
    found: dict[int, Given] = {}
    for row in place:
        if row.subnet_id in asked or (row.subnet_id in kept and not _asked_elsewhere(row, place, asked)):
            found[row.family] = _exact(session, host_id, row, asked.get(row.subnet_id), kept, network)
    refused: dict[int, Conflict] = {}
    for row in place:
        if row.family not in found:
            try:
                found[row.family] = _next(session, now, host_id, row, network)
            except Conflict as conflict:
                refused.setdefault(row.family, conflict)
    for family, first in refused.items():
        if family not in found:
            raise _all_full(place, family, first, network)
    return sorted(found.values(), key=lambda given: given.subnet_id)


def _asked_elsewhere(row: Any, place: Sequence[Any], asked: Mapping[int, IPAddress]) -> bool:
    return any(other.family == row.family and other.subnet_id in asked for other in place)


def _exact(
    session: Session, host_id: int, row: Any, asked: IPAddress | None, kept: Mapping[int, str], network: str
) -> Given:
    subnet = ipaddress.ip_network(row.cidr)
    reserved = kept.get(row.subnet_id)
    address = ipaddress.ip_address(reserved) if asked is None and reserved is not None else asked
    assert address is not None
    if str(address) == reserved:
        used = select(Address.ip).where(Address.subnet_id == row.subnet_id, Address.ip == reserved)
        free = session.execute(used).scalar() is None
    elif row.pool_state == DRAINING:
        raise draining(row.cidr, network)
    elif row.block_size is not None:
        free = blocks.claim_exact(session, _block_place(row, host_id, network), offset_of(address, subnet))
    else:
        free = allocate.claim_exact(session, row.pool_id, offset_of(address, subnet), go_on=True)
    if not free:
        raise subnetting.taken(session, row.subnet_id, str(address), network)
    return Given(row.subnet_id, address, subnet.prefixlen, row.gateway)


def _next(session: Session, now: datetime, host_id: int, row: Any, network: str) -> Given:
    if row.pool_state == DRAINING:
        raise draining(row.cidr, network)
    subnet = ipaddress.ip_network(row.cidr)
    if row.block_size is not None:
        number = blocks.claim(session, _block_place(row, host_id, network), now)
    else:
        remedy = "remove endpoints or add a subnet"
        number = allocate.claim(session, row.pool_id, now, what=_what(row, network), remedy=remedy)
    return Given(row.subnet_id, address_at(subnet, number), subnet.prefixlen, row.gateway)


def _block_place(row: Any, host_id: int, network: str) -> blocks.Place:
    return blocks.Place(
        subnet_id=row.subnet_id,
        subnet=ipaddress.ip_network(row.cidr),
        pool_id=row.pool_id,
        block_pool_id=row.block_pool_id,
        block_size=row.block_size,
        host_id=host_id,
        host=row.host,
        strict=row.strict,
        first=row.first,
        last=row.last,
        what=_what(row, network),
    )


def _what(row: Any, network: str) -> str:
    return f"subnet {row.cidr} of network {network}"


def _all_full(place: Sequence[Any], family: int, first: Conflict, network: str) -> Conflict:
    cidrs = [row.cidr for row in place if row.family == family]
    if len(cidrs) == 1:
        return first
    problem = f"the subnets {', '.join(cidrs)} of network {network} have no address left"
    return Exhausted(problem, "remove endpoints or add a subnet", getattr(first, "retry_after", None))
