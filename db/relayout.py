"""How the addresses of a network are given out changes while it is used: its ranges, what is excluded, strictness.

Decides what of that is in the way of addresses that are used. Nobody loses an address by it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from db import allocate, blocks, subnetting
from db.addressing import number_of, offset_of
from db.changes import Transaction
from db.errors import Conflict, Invalid
from db.layout import PER_HOST, Laid, Layout, block_cidr, block_number, lay, offsets
from db.rows import shortened
from db.tables import Address, Block, Claim, Endpoint, Host, Network, Pool, Subnet, Tenant


def change(
    tx: Transaction,
    network: Network,
    ranges: Sequence[str] | None,
    excludes: Sequence[str] | None,
    strict: bool | None,
) -> bool:
    """Whether anything is different now. `ranges` and `excludes` are all that the network has from now on; None leaves
    them. An address outside of a new range stays with who has it, as any may be asked for."""
    session = tx.session
    # Whoever attaches an endpoint holds the row against this lock.
    session.execute(select(Network.id).where(Network.id == network.id).with_for_update())
    subnets = {one.ip_network: one for one in network.subnets}
    kept = [one.ip_range for one in network.subnets if one.ip_range]
    layout = Layout(
        gateways=[one.gateway for one in network.subnets if one.gateway],
        ranges=kept if ranges is None else ranges,
        excludes=[text for one in network.subnets for text in one.excludes] if excludes is None else excludes,
        external=True,
    )
    changed = False
    for laid in lay(list(subnets), layout):
        subnet = subnets[laid.subnet]
        if laid.ip_range != subnet.ip_range:
            _move_range(tx, network, subnet, laid)
            changed = True
        if laid.excludes != subnet.excludes:
            _exclude(tx, network, subnet, laid)
            changed = True
    if strict is not None and strict != network.strict:
        _set_strict(session, network, strict)
        changed = True
    return changed


def _move_range(tx: Transaction, network: Network, subnet: Subnet, laid: Laid) -> None:
    session = tx.session
    if subnet.block_size is not None and subnet.block_pool_id is not None:
        blocks.give_back(session, subnet.id, tx.now)
        size = subnet.block_size
        first, last = (block_number(laid.subnet, size, offset) for offset in (laid.first, laid.last))
        query = select(Block.number, Host.name).join(Block.host).where(Block.subnet_id == subnet.id)
        outside = session.execute(query.where(~Block.number.between(first, last)).order_by(Block.number)).all()
        if outside:
            named = [f"{block_cidr(laid.subnet, size, number)} of host {host}" for number, host in outside]
            raise Conflict(
                f"range {laid.ip_range} of network {network.qualified_name} leaves out the block {shortened(named)}",
                "choose a range with it, or remove the endpoints that have its addresses first",
                "ip_ranges",
            )
        _set_pool(session, subnet.block_pool_id, first, last)
    _set_pool(session, subnet.pool_id, laid.first, laid.last)
    subnet.ip_range = laid.ip_range


def _set_pool(session: Session, id: int, first: int, last: int) -> None:
    """What was handed out is passed over."""
    session.execute(update(Pool).where(Pool.id == id).values(first=first, last=last, next=first, gaps=False))


def _exclude(tx: Transaction, network: Network, subnet: Subnet, laid: Laid) -> None:
    session, pool = tx.session, subnet.pool_id
    # Auxiliary addresses are the subnet's still.
    held = laid._replace(aux=subnet.aux).held
    before = set(map(number_of, offsets(subnetting.held_spans(subnet))))
    after = set(map(number_of, offsets(held)))
    for first, last in held:
        within = Claim.pool_id == pool, Claim.number.between(number_of(first), number_of(last))
        used = select(Claim.number).where(*within, Claim.released_at.is_(None))
        for number in session.execute(used).scalars():
            if number not in before:
                why = subnetting.taken(session, subnet.id, str(laid.subnet[number]), network.qualified_name)
                raise Conflict(f"{why.problem}: it cannot be excluded", "remove or release that first", "excludes")
        session.execute(delete(Claim).where(*within, Claim.released_at.is_not(None)))
    if new := after - before:
        session.execute(insert(Claim), [{"pool_id": pool, "number": number} for number in sorted(new)])
    for number in before - after:
        allocate.release(session, pool, number, tx.now)
    subnet.excludes = laid.excludes


def _set_strict(session: Session, network: Network, strict: bool) -> None:
    if network.plan != PER_HOST:
        name = network.qualified_name
        raise Invalid(f"network {name} has no blocks, its hosts share its addresses", "leave it out", "strict")
    if strict and (borrowed := _borrowed(session, network)):
        raise Conflict(
            f"network {network.qualified_name} cannot be strict: {shortened(borrowed)}",
            "remove these endpoints first",
            "strict",
        )
    network.strict = strict


def _borrowed(session: Session, network: Network) -> list[str]:
    """Endpoints with addresses of other hosts' blocks, in words."""
    found = []
    for subnet in network.subnets:
        assert subnet.block_size is not None
        query = select(Block.number, Host.id, Host.name).join(Block.host).where(Block.subnet_id == subnet.id)
        owners = {number: (id, name) for number, id, name in session.execute(query)}
        query_used = select(Address.ip, Endpoint.host_id, Tenant.name + "/" + Endpoint.name).select_from(Address)
        query_used = query_used.join(Endpoint, Endpoint.id == Address.endpoint_id)
        query_used = query_used.join(Tenant, Tenant.id == Endpoint.tenant_id).where(Address.subnet_id == subnet.id)
        for ip, host, name in session.execute(query_used.order_by(Endpoint.id)):
            offset = offset_of(ipaddress.ip_address(ip), subnet.ip_network)
            owner, whose = owners.get(block_number(subnet.ip_network, subnet.block_size, offset), (None, ""))
            if owner != host:
                found.append(f"{name} has {ip} of " + (f"host {whose}'s block" if whose else "nobody's block"))
    return found
