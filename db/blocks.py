"""Blocks: the parts of a subnet that hosts hold, in a network with the plan `per-host`.

A host gets a block with its first endpoint, another when its blocks are full, and gives one back when its last
address is free and has rested. With no block left it borrows an address of another's, unless the network is strict. A
block is no promise of uniqueness: an address is its subnet's number whoever's block it is in.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam, delete, func, insert, or_, select
from sqlalchemy.orm import Session

from db import allocate, subnetting
from db.addressing import IPNetwork, number_of, usable
from db.errors import Conflict, Exhausted
from db.layout import block_cidr, block_number, block_span, count_within
from db.tables import Block, Claim, Host, Subnet

_OF_HOST = (
    select(Block.number)
    .where(Block.subnet_id == bindparam("subnet_id"), Block.host_id == bindparam("host_id"))
    .order_by(Block.number)
)
_TAKE = insert(Block.__table__)  # type: ignore[arg-type]


class Place(NamedTuple):
    """Where a host looks for an address: from `first` to `last` in the subnet. `what` is the subnet in a sentence."""

    subnet_id: int
    subnet: IPNetwork
    pool_id: int
    block_pool_id: int
    block_size: int
    host_id: int
    host: str
    strict: bool
    first: int
    last: int
    what: str


class Usage(NamedTuple):
    """A block of a host; `used` are endpoints' addresses, `resting` those that were freed a moment ago."""

    number: int
    host: str
    cidr: str
    size: int
    used: int
    resting: int


def claim(session: Session, place: Place, now: datetime) -> int:
    """The offset of a free address: of the host's own blocks, of a new one, or borrowed."""
    for number in session.execute(_OF_HOST, place._asdict()).scalars().all():
        if (offset := _claim_in(session, place, number, now)) is not None:
            return offset
    if (offset := _claim_in_new(session, place, now)) is not None:
        return offset
    if not place.strict:
        if (offset := allocate.claim_within(session, place.pool_id, place.first, place.last, now)) is not None:
            return offset
        raise allocate.exhausted(session, place.pool_id, now, place.what, "remove endpoints or add a subnet")
    own = ", whose own are full" if session.execute(_OF_HOST, place._asdict()).first() else ", which has none"
    raise Exhausted(
        f"{place.what} has no block left for host {place.host}{own}",
        "remove endpoints, add a subnet, or use another host",
    )


def claim_exact(session: Session, place: Place, offset: int) -> bool:
    """This offset, in one of the host's blocks; False when it is in use. A block that nobody has becomes the host's."""
    number = block_number(place.subnet, place.block_size, offset)
    if allocate.claim_exact(session, place.block_pool_id, number):
        session.execute(_TAKE, {"subnet_id": place.subnet_id, "number": number, "host_id": place.host_id})
    elif place.strict:
        owner = select(Host.name).join(Block).where(Block.subnet_id == place.subnet_id, Block.number == number)
        holder = session.execute(owner).scalar()
        if holder != place.host:
            cidr = block_cidr(place.subnet, place.block_size, number)
            raise Conflict(
                f"address {place.subnet[offset]} is in block {cidr} of host {holder}, not of host {place.host}",
                "choose another, or leave it out to get one",
                "addresses",
            )
    return allocate.claim_exact(session, place.pool_id, number_of(offset))


def give_back(session: Session, subnet_id: int, now: datetime, host_id: int | None = None) -> list[str]:
    """Takes the blocks that are empty, of one host or of all; their CIDRs."""
    subnet = session.get_one(Subnet, subnet_id)
    if subnet.block_size is None or subnet.block_pool_id is None:
        return []
    empty = [one for one in usage(session, subnet, now, host_id) if not one.used and not one.resting]
    for one in empty:
        _release(session, subnet, one.number, now)
    return [one.cidr for one in empty]


def release_of_host(session: Session, host_id: int, now: datetime) -> None:
    """Gives back all blocks of a host that is deleted. Its addresses rest like any others."""
    query = select(Subnet, Block.number).join(Block, Block.subnet_id == Subnet.id).where(Block.host_id == host_id)
    for subnet, number in session.execute(query).all():
        _release(session, subnet, number, now)


def usage(session: Session, subnet: Subnet, now: datetime, host_id: int | None = None) -> list[Usage]:
    """The blocks of a subnet, of one host or of all, by number."""
    if subnet.block_size is None:
        return []
    query = select(Block.number, Host.name).join(Block.host).where(Block.subnet_id == subnet.id)
    if host_id is not None:
        query = query.where(Block.host_id == host_id)
    blocks = session.execute(query.order_by(Block.number)).all()
    held = subnetting.held_spans(subnet)
    found = []
    for number, host in blocks:
        first, last = block_span(subnet.ip_network, subnet.block_size, number)
        used, resting = _counts(session, subnet.pool_id, first, last, now)
        first, last = (end % (1 << 64) for end in (first, last))  # numbers of the upper half of a /64 are negative
        kept = count_within(held, first, last)
        cidr = block_cidr(subnet.ip_network, subnet.block_size, number)
        low, high = max(first, usable(subnet.ip_network)[0]), min(last, usable(subnet.ip_network)[1])
        size = high - low + 1 - count_within(held, low, high)
        found.append(Usage(number, host, cidr, size, used - kept, resting))
    return found


def _counts(session: Session, pool_id: int, first: int, last: int, now: datetime) -> tuple[int, int]:
    rested = now.timestamp() - subnetting.ADDRESS_REST_SECONDS
    in_use = Claim.released_at.is_(None)
    query = select(func.count(), func.count().filter(in_use)).where(
        Claim.pool_id == pool_id, Claim.number.between(first, last), or_(in_use, Claim.released_at > rested)
    )
    both, used = session.execute(query).one()
    return used, both - used


def _claim_in_new(session: Session, place: Place, now: datetime) -> int | None:
    """An offset of a block that becomes the host's. Passes over blocks of which all is excluded, reserved or rests."""
    passed: list[int] = []
    offset: int | None = None
    while offset is None:
        try:
            number = allocate.claim(session, place.block_pool_id, now, what=place.what, remedy="")
        except Exhausted:
            if not give_back(session, place.subnet_id, now):
                break
            continue
        if (offset := _claim_in(session, place, number, now)) is None:
            passed.append(number)
        else:
            session.execute(_TAKE, {"subnet_id": place.subnet_id, "number": number, "host_id": place.host_id})
    for number in passed:
        allocate.release(session, place.block_pool_id, number, now)
    return offset


def _claim_in(session: Session, place: Place, number: int, now: datetime) -> int | None:
    first, last = block_span(place.subnet, place.block_size, number)
    first, last = max(first, place.first), min(last, place.last)
    return allocate.claim_within(session, place.pool_id, first, last, now)


def _release(session: Session, subnet: Subnet, number: int, now: datetime) -> None:
    session.execute(delete(Block).where(Block.subnet_id == subnet.id, Block.number == number))
    assert subnet.block_pool_id is not None
    allocate.release(session, subnet.block_pool_id, number, now)
