"""Subnets of networks: how they come into being and go, and whose may overlap whose.

Whatever nobody may get (gateways, excluded and auxiliary addresses) is claimed when a subnet is made, so that no later
claim has to think of it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from sqlalchemy import insert, or_, select
from sqlalchemy.orm import Session

from db import allocate, allowed, collisions, pools, underlay
from db.addressing import IPNetwork, bounds, number_of, parse_subnet, usable
from db.changes import Transaction
from db.collisions import Place
from db.errors import CollidesElsewhere, Conflict, Invalid
from db.layout import Laid, Layout, Span, block_number, count_within, held, lay, offsets
from db.pools import Carved
from db.tables import Address, Claim, Endpoint, Network, Reservation, Subnet, Tenant

ADDRESS_REST_SECONDS = 5
"""How long a freed address is given to nobody. A subnet is used up before any address comes twice, so this
matters to small and full subnets only; there it must not starve a runtime that starts and stops containers."""

MOST_SUBNETS = 16
ELSEWHERE = "is in use elsewhere"
"""What is said of another tenant's subnet to who may not know of it."""
_FAMILIES = (4, 6)


def parse(texts: Sequence[str], name: str) -> list[IPNetwork]:
    """The subnets of one network as people write them."""
    chosen = [parse_subnet(text) for text in texts]
    if len(chosen) > MOST_SUBNETS:
        raise Invalid(f"network {name} would have {len(chosen)} subnets", f"use at most {MOST_SUBNETS}", "subnets")
    for at, subnet in enumerate(chosen):
        for other in chosen[:at]:
            if subnet.overlaps(other):
                raise Invalid(f"network {name}: subnets {other} and {subnet} overlap", "choose others", "subnets")
    return chosen


def make(
    tx: Transaction, name: str, place: Place, chosen: Sequence[IPNetwork], layout: Layout, of_pools: bool = False
) -> list[Subnet]:
    """Rows for subnets that somebody chose, or for one of each family that has a pool. Call it in one's turn.

    `of_pools`: those of pools may be chosen, too."""
    if chosen:
        origins = []
        for subnet in chosen:
            origins.append(_origin(tx, name, place, subnet, of_pools))
            if not (place.private or layout.external):
                refuse_hosts_own(tx.session, name, subnet)
        return [_row(tx, laid, origin) for laid, origin in zip(lay(chosen, layout), origins, strict=True)]
    return carve(tx, name, _FAMILIES, layout)


def carve(tx: Transaction, name: str, families: Sequence[int], layout: Layout) -> list[Subnet]:
    carved = [found for family in families if (found := pools.carve(tx, name, family))]
    if not carved:
        which = f"IPv{families[0]} pool" if len(families) == 1 else "pool"
        remedy = "choose a subnet with --subnet, or make a pool with `warren pool create`"
        raise Conflict(f"network {name}: no {which} is enabled", remedy, "subnets")
    laid = lay([one.subnet for one in carved], layout)
    return [_row(tx, one, origin) for one, origin in zip(laid, carved, strict=True)]


def forget(tx: Transaction, subnet: Subnet) -> None:
    """After the row of a subnet is gone: its numbers, and its place in a pool."""
    allocate.delete_pool(tx.session, subnet.pool_id)
    if subnet.block_pool_id is not None:
        allocate.delete_pool(tx.session, subnet.block_pool_id)
    pools.give_back(tx.session, subnet, tx.now)


def held_spans(subnet: Subnet) -> list[Span]:
    """The offsets that no endpoint gets, whatever is reserved."""
    return held(subnet.ip_network, subnet.gateway, subnet.excludes, subnet.aux)


def kept_within(subnet: Subnet, first: int, last: int) -> int:
    """How many offsets from `first` to `last` no endpoint gets."""
    return count_within(held_spans(subnet), first, last)


def taken(session: Session, subnet_id: int, ip: str, network: str) -> Conflict:
    """Why an address that is claimed cannot be had."""
    choose = "choose another, or leave it out to get one"
    users = select(Tenant.name, Endpoint.name).join(Endpoint, Endpoint.tenant_id == Tenant.id).join(Address)
    user = session.execute(users.where(Address.subnet_id == subnet_id, Address.ip == ip)).first()
    name = select(Reservation.name).where(Reservation.subnet_id == subnet_id, Reservation.ip == ip)
    subnet = session.get_one(Subnet, subnet_id)
    aux = {address: name for name, address in subnet.aux.items()}
    if user is not None:
        whose = f"endpoint {user[0]}/{user[1]}'s"
    elif declarer := allowed.declarer(session, subnet_id, ipaddress.ip_address(ip)):
        whose = f"endpoint {declarer}'s"
    elif (reserved := session.execute(name).scalar()) is not None:
        whose = f"reserved for {reserved}"
    elif ip == subnet.gateway:
        whose = "the gateway's"
    elif ip in aux:
        whose = f"auxiliary address {aux[ip]}"
    elif any(ipaddress.ip_address(ip) in ipaddress.ip_network(one) for one in subnet.excludes):
        whose = "excluded"
    else:
        whose, choose = "claimed, and nobody has it", "see `warren ipam check`, or choose another"
    return Conflict(f"address {ip} of network {network} is {whose}", choose, "addresses")


def size(subnet: Subnet) -> int:
    """How many endpoints a subnet has room for: its usable addresses but for those that nobody gets."""
    first, last = usable(subnet.ip_network)
    return last - first + 1 - count_within(held_spans(subnet), first, last)


def _row(tx: Transaction, laid: Laid, carved: Carved | None) -> Subnet:
    session, subnet = tx.session, laid.subnet
    pool_id = allocate.create_pool(session, "address", laid.first, laid.last, ADDRESS_REST_SECONDS)
    claims = [{"pool_id": pool_id, "number": number_of(offset)} for offset in offsets(laid.held)]
    if claims:
        session.execute(insert(Claim), claims)
    block_pool_id = None
    if laid.block_size is not None:
        first, last = (block_number(subnet, laid.block_size, offset) for offset in (laid.first, laid.last))
        block_pool_id = allocate.create_pool(session, "block", first, last, rest_seconds=0)
    low, high = bounds(subnet)
    return Subnet(
        family=subnet.version,
        cidr=str(subnet),
        low=low,
        high=high,
        gateway=None if laid.gateway is None else str(laid.gateway),
        pool_id=pool_id,
        block=None if carved is None else carved.number,
        address_pool_id=None if carved is None else carved.pool_id,
        ip_range=laid.ip_range,
        excludes=laid.excludes,
        aux=laid.aux,
        block_size=laid.block_size,
        block_pool_id=block_pool_id,
    )


def refuse_hosts_own(session: Session, name: str, subnet: IPNetwork) -> None:
    remedy = "choose another subnet, or create the network with --private: hosts have no route to its addresses"
    underlay.refuse(session, f"network {name}: subnet {subnet}", subnet, remedy, "subnets")


def _origin(tx: Transaction, name: str, place: Place, subnet: IPNetwork, of_pools: bool) -> Carved | None:
    """Where in a pool a chosen subnet is from, if it is one of a pool's. Refuses one that overlaps others."""
    session = tx.session
    pool = pools.overlapping(session, subnet)
    if pool is not None and not (of_pools and pools.has(pool, subnet)):
        raise Conflict(
            f"network {name}: subnet {subnet} overlaps the cluster pool {pool.cidr}",
            "choose another subnet, or leave it out to get one of the pool",
            "subnets",
        )
    low, high = bounds(subnet)
    query = (
        select(Subnet.cidr, Network.name, Network.tenant_id, Tenant.name)
        .join(Network, Network.id == Subnet.network_id)
        .join(Tenant, Tenant.id == Network.tenant_id)
        .where(Subnet.family == subnet.version, Subnet.low <= high, Subnet.high >= low)
    )
    # A private network keeps to its own tenant, so it is in nobody else's way.
    own = Network.tenant_id == place.tenant_id
    query = query.where(own if place.private else or_(own, Network.private.is_(False)))
    for cidr, other, owner, tenant in session.execute(query.order_by(own.desc(), Subnet.id).limit(1)):
        problem = f"network {name}: subnet {subnet} overlaps {cidr} of network {tenant}/{other}"
        if owner == place.tenant_id:
            raise Conflict(problem, "choose another subnet", "subnets")
        remedy = "choose another subnet or create it with --private"
        raise CollidesElsewhere(problem, remedy, "subnets", f"network {name}: subnet {subnet} {ELSEWHERE}")
    if found := collisions.find(session, place, subnet):
        remedy = "choose another subnet" + (" or create it with --isolated" if place.private else "")
        problem, discreet = (f"network {name}: subnet {subnet} {said}" for said in (found.sentence, ELSEWHERE))
        raise CollidesElsewhere(problem, remedy, "subnets", discreet)
    if pool is None:
        return None
    if (carved := pools.take(tx, pool, subnet)) is None:
        problem, discreet = (f"network {name}: subnet {subnet} {said}" for said in ("is another network's", ELSEWHERE))
        raise CollidesElsewhere(problem, "choose another subnet", "subnets", discreet)
    return carved
