"""Address pools: ranges of which networks without a subnet of their own get one. Decides which pool gives the next one.

Pools of a family are asked in the order in which they were made. A pool never overlaps another one, nor a subnet that
somebody chose, unless it is just one of the pool's: then it counts there. Does not know how the addresses of a subnet
are given out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import allocate, underlay, zones
from db.addressing import IPNetwork, bounds, overlap, parse_range
from db.changes import Transaction
from db.errors import Conflict, Exhausted, Invalid, NotFound
from db.names import dns_label
from db.pages import Page, Sort, containing, created, moment, page
from db.rows import assign, check_version, shortened
from db.tables import AddressPool, Claim, Network, Subnet, Tenant

ENABLED, DISABLED, DRAINING = "enabled", "disabled", "draining"
STATES = (ENABLED, DISABLED, DRAINING)
REST_SECONDS = 5
SUBNET_PREFIX = {4: 24, 6: 64}
_LARGEST_PREFIX = {4: 30, 6: 64}
_MOST_BITS = 24
"""A pool has at most 2 to the power of this many subnets."""


class Carved(NamedTuple):
    """A subnet of a pool, and its number there."""

    subnet: IPNetwork
    pool_id: int
    number: int


def create(tx: Transaction, name: str, cidr: str, *, prefix: int | None = None) -> AddressPool:
    """`prefix` is the length of the subnets that are carved of it: /24 or /64 unless given."""
    session = tx.session
    dns_label(name, "pool")
    whole = parse_range(cidr, what="range")
    if prefix is None:
        prefix = SUBNET_PREFIX[whole.version]
    largest = _LARGEST_PREFIX[whole.version]
    least = max(whole.prefixlen, 64 if whole.version == 6 else 8)
    if not least <= prefix <= min(largest, whole.prefixlen + _MOST_BITS):
        most = min(largest, whole.prefixlen + _MOST_BITS)
        remedy = f"use /{least} to /{most}" if least <= most else "give another range"
        raise Invalid(f"{whole} cannot be cut into subnets of /{prefix}", remedy, "prefix")
    zones.take_turn(session)
    if session.execute(select(AddressPool.id).where(AddressPool.name == name)).scalar() is not None:
        raise Conflict(f"pool {name} exists already", "choose another name", "name")
    _refuse_overlap(session, name, whole)
    id = allocate.create_pool(session, "subnet", 0, (1 << (prefix - whole.prefixlen)) - 1, REST_SECONDS)
    low, high = bounds(whole)
    values = {"family": whole.version, "cidr": str(whole), "low": low, "high": high, "prefix": prefix}
    pool = AddressPool(id=id, name=name, state=ENABLED, **values)
    session.add(pool)
    session.flush()
    tx.note("pool", pool.id, "create")
    return pool


def get(session: Session, name: str) -> AddressPool:
    pool = session.execute(select(AddressPool).where(AddressPool.name == name)).scalar_one_or_none()
    if pool is None:
        raise NotFound(f"there is no pool {name}", "list them with `warren pool list`", "pool")
    return pool


SORTS = {"created": Sort(AddressPool.created_at, created, moment)}


def find(
    session: Session,
    *,
    text: str | None = None,
    family: int | None = None,
    state: str | None = None,
    sort: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> Page[AddressPool]:
    """`text` is part of the name or the range. `sort` is by "name" or "created"."""
    query = select(AddressPool).where(*containing(text, AddressPool.name, AddressPool.cidr))
    for asked, column in ((family, AddressPool.family), (state, AddressPool.state)):
        if asked is not None:
            query = query.where(column == asked)
    return page(session, query, (AddressPool.name,), lambda pool: pool.name, cursor, limit, sort, SORTS)


def set_state(tx: Transaction, name: str, state: str, *, version: int | None = None) -> AddressPool:
    """What is carved of the pool stays, whatever the state."""
    if state not in STATES:
        raise Invalid(f"{state!r} is not a state of a pool", f"use {', '.join(STATES)}", "state")
    pool = get(tx.session, name)
    check_version(pool, version, f"pool {name}")
    if assign(pool, state=state):
        tx.session.flush()
        tx.note("pool", pool.id, "update")
    return pool


def delete(tx: Transaction, name: str, *, version: int | None = None) -> None:
    session = tx.session
    zones.take_turn(session)
    pool = get(session, name)
    check_version(pool, version, f"pool {name}")
    holding = select(Tenant.name, Network.name).join(Network.tenant).join(Subnet, Subnet.network_id == Network.id)
    rows = session.execute(holding.where(Subnet.address_pool_id == pool.id).order_by(Tenant.name, Network.name)).all()
    if rows:
        names = shortened([f"{tenant}/{network}" for tenant, network in rows])
        raise Conflict(
            f"pool {name} is in use by {names}", f"`warren pool drain {name}`, and give them other subnets", "pool"
        )
    session.delete(pool)
    session.flush()
    allocate.delete_pool(session, pool.id)
    tx.note("pool", pool.id, "delete")


def carve(tx: Transaction, network: str, family: int) -> Carved | None:
    """The next subnet of a family; None when no pool of it is enabled."""
    session = tx.session
    query = select(AddressPool).where(AddressPool.family == family, AddressPool.state == ENABLED)
    full: list[tuple[str, Exhausted]] = []
    for pool in session.execute(query.order_by(AddressPool.id)).scalars().all():
        what = f"network {network}: the cluster pool {pool.cidr}"
        try:
            return _claim(tx, pool, what)
        except Exhausted as refused:
            full.append((pool.cidr, refused))
    if len(full) > 1:
        waits = [refused.retry_after for _, refused in full if refused.retry_after is not None]
        problem = f"network {network}: the cluster pools {shortened([cidr for cidr, _ in full])} are all full"
        raise Exhausted(problem, full[0][1].remedy, min(waits, default=None))
    if full:
        raise full[0][1]
    return None


def _claim(tx: Transaction, pool: AddressPool, what: str) -> Carved:
    """The next subnet that hosts have no addresses in: they may have got some since the pool was made."""
    remedy = "choose a subnet with --subnet, or create a pool"
    hosts_own, passed = list(underlay.taken(tx.session)), []
    try:
        while True:
            number = allocate.claim(tx.session, pool.id, tx.now, what=what, remedy=remedy)
            subnet = _carved(pool.cidr, pool.prefix, number)
            if not any(overlap(one.cidr, subnet) for one in hosts_own):
                return Carved(subnet, pool.id, number)
            passed.append(number)
    finally:
        for number in passed:
            allocate.release(tx.session, pool.id, number, tx.now)


def has(pool: AddressPool, subnet: IPNetwork) -> bool:
    """Whether it is one of those that the pool gives out."""
    return subnet.prefixlen == pool.prefix and overlap(parse_range(pool.cidr), subnet)


def take(tx: Transaction, pool: AddressPool, subnet: IPNetwork) -> Carved | None:
    """This subnet of a pool, whatever the pool's state: a file names it to have what there was. None: it is taken."""
    start = int(parse_range(pool.cidr).network_address)
    number = (int(subnet.network_address) - start) >> (subnet.max_prefixlen - pool.prefix)
    return Carved(subnet, pool.id, number) if allocate.claim_exact(tx.session, pool.id, number) else None


def give_back(session: Session, subnet: Subnet, now: datetime) -> None:
    if subnet.address_pool_id is not None and subnet.block is not None:
        allocate.release(session, subnet.address_pool_id, subnet.block, now)


def overlapping(session: Session, subnet: IPNetwork) -> AddressPool | None:
    low, high = bounds(subnet)
    query = select(AddressPool).where(AddressPool.family == subnet.version)
    query = query.where(AddressPool.low <= high, AddressPool.high >= low).order_by(AddressPool.id).limit(1)
    return session.execute(query).scalar_one_or_none()


def refuse_draining(subnet: Subnet, network: str) -> None:
    """Before an address of a subnet is promised to somebody."""
    if subnet.address_pool is not None and subnet.address_pool.state == DRAINING:
        raise draining(subnet.cidr, network)


def draining(cidr: str, network: str) -> Conflict:
    remedy = f"add a subnet with `warren network subnet add {network}`"
    return Conflict(f"subnet {cidr} of network {network} is from a pool that is being drained", remedy)


def used(session: Session, pools: Sequence[AddressPool]) -> dict[int, int]:
    """How many subnets are carved of each pool, by its id."""
    query = select(Claim.pool_id, func.count()).where(Claim.pool_id.in_([pool.id for pool in pools]))
    query = query.where(Claim.released_at.is_(None)).group_by(Claim.pool_id)
    counts: Sequence[Any] = session.execute(query).all()
    return dict(counts)


def size(pool: AddressPool) -> int:
    return 1 << (pool.prefix - int(pool.cidr.rpartition("/")[2]))


def _carved(cidr: str, prefix: int, number: int) -> IPNetwork:
    whole = parse_range(cidr)
    start = int(whole.network_address) + (number << (whole.max_prefixlen - prefix))
    return type(whole)((start, prefix))


def _refuse_overlap(session: Session, name: str, whole: IPNetwork) -> None:
    other = overlapping(session, whole)
    if other is not None:
        raise Conflict(
            f"pool {name}: {whole} overlaps {other.cidr} of pool {other.name}", "choose another range", "cidr"
        )
    remedy = "choose another range: hosts would have routes to endpoints there"
    underlay.refuse(session, f"pool {name}: {whole}", whole, remedy, "cidr")
    low, high = bounds(whole)
    query = select(Network, Subnet.cidr).join(Subnet).where(Subnet.family == whole.version)
    for network, cidr in session.execute(query.where(Subnet.low <= high, Subnet.high >= low).limit(1)):
        problem = f"pool {name}: {whole} overlaps {cidr} of network {network.qualified_name}"
        raise Conflict(problem, "choose another range", "cidr")
