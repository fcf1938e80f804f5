"""The state of addresses as a whole: how full subnets and pools are, what does not agree, and repairing it.

`check` compares three sayings: the database's rows, the numbers claimed, and what agents report of Open vSwitch and of
containers. It names every difference; `collect` repairs those for which there is but one right answer. A port is the
agent's to mend, or, if it is not Warren's, somebody's to explain.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import ColumnElement, String, cast, func, select
from sqlalchemy.orm import Session, joinedload

from db import allocate, allowed, attachments, blocks, hosts, pools, reservations, subnetting
from db.addressing import address_at, number_of, offset_of, value_of
from db.changes import Transaction
from db.layout import held, offsets
from db.tables import (
    Address,
    AddressPool,
    Block,
    ChangeRow,
    Claim,
    Endpoint,
    Host,
    HostStatus,
    Network,
    Pool,
    Reservation,
    Subnet,
    Tenant,
)

NEARLY_FULL = 0.9
MOST_NAMED = 10_000
"""At most so many values in one statement: SQLite takes 32,766."""
Kind = Literal[
    "claim-without-endpoint",
    "endpoint-without-claim",
    "ofport-without-endpoint",
    "block-without-host",
    "port-missing",
    "port-without-endpoint",
    "container-gone",
    "reservation-expired",
    "block-empty",
    "host-unheard",
]


class Usage(NamedTuple):
    """`free` of the `size` numbers that are given out by themselves; `resting` were freed a moment ago."""

    size: int
    used: int
    resting: int

    @property
    def nearly_full(self) -> bool:
        return self.size > 0 and self.used >= NEARLY_FULL * self.size


class Difference(NamedTuple):
    """`repair` is what `collect` does about it; empty: nothing, and `sentence` says who does."""

    kind: Kind
    subject: str
    sentence: str
    repair: str
    key: tuple[int, ...] = ()


def usage(session: Session, subnets: Sequence[Subnet], now: datetime) -> dict[int, Usage]:
    """By subnet: of the addresses from which one is chosen when none is asked for, how many endpoints or reservations
    have."""
    ids = [subnet.pool_id for subnet in subnets]
    in_use = Claim.released_at.is_(None)
    rested = now.timestamp() - subnetting.ADDRESS_REST_SECONDS
    resting = func.count().filter(Claim.released_at > rested)
    query = select(Pool.id, Pool.first, Pool.last, func.count().filter(in_use), resting)
    query = query.outerjoin(Claim, (Claim.pool_id == Pool.id) & Claim.number.between(Pool.first, Pool.last))
    rows: dict[int, Any] = {row[0]: row for row in session.execute(query.where(Pool.id.in_(ids)).group_by(Pool.id))}
    found = {}
    for subnet in subnets:
        _, first, last, used, resting_now = rows[subnet.pool_id]
        kept = subnetting.kept_within(subnet, first, last)
        found[subnet.id] = Usage(last - first + 1 - kept, used - kept, resting_now)
    return found


def pool_usage(session: Session) -> list[tuple[AddressPool, Usage]]:
    found = list(session.execute(select(AddressPool).order_by(AddressPool.family, AddressPool.id)).scalars())
    used = pools.used(session, found)
    return [(pool, Usage(pools.size(pool), used.get(pool.id, 0), 0)) for pool in found]


def block_usage(session: Session, strict: bool = False) -> list[tuple[str, Subnet, Usage]]:
    """Of the subnets that hosts have blocks of, how many blocks there are and hosts have; or only those of `strict`
    networks, in which a host without one attaches nothing."""
    held = select(func.count()).where(Block.subnet_id == Subnet.id).scalar_subquery()
    name = Tenant.name + "/" + Network.name
    query = select(name, Subnet, Pool.last - Pool.first + 1, held).select_from(Subnet).join(Network).join(Tenant)
    query = query.join(Pool, Pool.id == Subnet.block_pool_id).order_by(Tenant.name, Network.name, Subnet.id)
    rows = session.execute(query.where(Network.strict) if strict else query)
    return [(name, subnet, Usage(size, used, 0)) for name, subnet, size, used in rows]


def _crowded(session: Session) -> list[int]:
    """The pools of numbers of which so many are taken: what is kept aside counts here, so some are not nearly full."""
    taken = select(Claim.pool_id, func.count().label("many")).where(Claim.released_at.is_(None))
    # Those out of the range count here, too: `usage` looks at the few that are left.
    grouped = taken.group_by(Claim.pool_id).subquery()
    most = grouped.c.many >= NEARLY_FULL * (Pool.last - Pool.first + 1)
    return list(session.execute(select(Pool.id).join(grouped, grouped.c.pool_id == Pool.id).where(most)).scalars())


def subnets(session: Session, pools: Sequence[int] | None = None) -> list[tuple[str, Subnet]]:
    """Every subnet with its network's name, or those whose numbers are of these pools."""
    query = select(Tenant.name + "/" + Network.name, Subnet).select_from(Subnet).join(Network).join(Tenant)
    if pools is not None and len(pools) <= MOST_NAMED:
        query = query.where(Subnet.pool_id.in_(pools))
    wanted = None if pools is None else set(pools)
    rows = session.execute(query.order_by(Tenant.name, Network.name, Subnet.id))
    return [(name, subnet) for name, subnet in rows if wanted is None or subnet.pool_id in wanted]


def warnings(session: Session, now: datetime) -> list[str]:
    """What is nearly full, before it is."""
    named = subnets(session, _crowded(session))
    by_subnet = usage(session, [subnet for _, subnet in named], now)
    said = [
        f"subnet {subnet.cidr} of network {name} has {one.size - one.used} of {one.size} addresses left"
        for name, subnet in named
        if (one := by_subnet[subnet.id]).nearly_full
    ]
    said += [
        f"subnet {subnet.cidr} of network {name}, which is strict, has {one.size - one.used} of {one.size} blocks left "
        "for hosts without one"
        for name, subnet, one in block_usage(session, strict=True)
        if one.nearly_full or (one.used and one.size - one.used == 1)
    ]
    said += [
        f"pool {pool.name} ({pool.cidr}) has {one.size - one.used} of {one.size} subnets left"
        for pool, one in pool_usage(session)
        if one.nearly_full and pool.state == pools.ENABLED
    ]
    return said


def check(session: Session, now: datetime) -> list[Difference]:
    """Every difference, in the order of kinds. Subnets are compared all at once, and only those that do not agree are
    looked at one by one."""
    found: list[Difference] = []
    doubtful = _doubtful(session, now)
    for name, subnet in subnets(session, doubtful) if doubtful else ():
        found += _claims(session, name, subnet)
        found += _expired(session, name, subnet, now)
        found += _blocks(session, name, subnet, now)
    found += _ofports(session)
    found += _hosts(session, now)
    order = {kind: at for at, kind in enumerate(Kind.__args__)}  # type: ignore[attr-defined]
    return sorted(found, key=lambda one: order[one.kind])


def collect(tx: Transaction) -> list[Difference]:
    """Repairs what can be repaired. Returns all differences that were found; those with a `repair` are gone now."""
    # One at a time, and nobody attaches or detaches meanwhile: what is compared must not change between two looks.
    session = tx.session
    session.execute(select(Network.id).order_by(Network.id).with_for_update())
    session.execute(select(Endpoint.id).order_by(Endpoint.id).with_for_update())
    found = check(session, tx.now)
    for one in found:
        match one.kind:
            case "claim-without-endpoint" | "ofport-without-endpoint" | "block-without-host":
                allocate.release(session, *one.key, tx.now)  # type: ignore[call-arg]
            case "endpoint-without-claim":
                allocate.claim_exact(session, *one.key)
            case "container-gone" if one.repair:
                attachments.remove(tx, *one.key)
            case "reservation-expired":
                reservations.expire(session, *one.key, tx.now)  # type: ignore[call-arg]
            case "block-empty":
                blocks.give_back(session, *one.key, tx.now)  # type: ignore[call-arg]
    return found


def _doubtful(session: Session, now: datetime) -> list[int]:
    """The pools of numbers of the subnets in which something may differ. Always those with blocks, which are looked at
    for other things, too."""
    claimed = _gathered(session, Claim.pool_id, cast(Claim.number, String), Claim.released_at.is_(None))
    users = _gathered(session, Address.subnet_id, Address.ip)
    reserved = _gathered(session, Reservation.subnet_id, Reservation.ip)
    declared = allowed.singles(session)
    expired = set(session.execute(select(Reservation.subnet_id).where(Reservation.expires_at <= now)).scalars())
    s = Subnet
    # Most have none of these: as text they need not be parsed to tell.
    kept = cast(s.excludes, String), cast(s.aux, String)
    query = select(s.id, s.network_id, s.cidr, s.low, s.high, s.gateway, *kept, s.pool_id, s.block_pool_id)
    doubtful = []
    for id, network_id, cidr, low, high, gateway, excludes, aux, pool_id, block_pool_id in session.execute(query):
        base, end = int(low, 16), int(high, 16)
        taken = [value_of(ip) for ip in f"{users.get(id, '')} {reserved.get(id, '')}".split()]
        taken += [address for address in map(int, declared.get(network_id, ())) if base <= address <= end]
        taken += [value_of(gateway)] if gateway else []
        numbers = {number_of(address - base) for address in taken}
        if excludes != "[]" or aux != "{}":
            spans = held(ipaddress.ip_network(cidr), None, json.loads(excludes), json.loads(aux))
            numbers |= {number_of(one) for one in offsets(spans)}
        if block_pool_id is not None or id in expired or numbers != set(map(int, claimed.get(pool_id, "").split())):
            doubtful.append(pool_id)
    return doubtful


def _gathered(session: Session, key: Any, value: Any, *which: ColumnElement[bool]) -> dict[int, str]:
    """Values by key, with spaces between them: one row for each key costs far less than one for each value."""
    rows: Sequence[Any] = session.execute(
        select(key, func.aggregate_strings(value, " ")).where(*which).group_by(key)
    ).all()
    return dict(rows)


def _claims(session: Session, name: str, subnet: Subnet) -> Iterator[Difference]:
    network = subnet.ip_network
    in_use = select(Claim.number).where(Claim.pool_id == subnet.pool_id, Claim.released_at.is_(None))
    claimed = set(session.execute(in_use).scalars())
    users = select(Address.ip, Tenant.name + "/" + Endpoint.name).select_from(Address)
    users = users.join(Endpoint).join(Tenant, Tenant.id == Endpoint.tenant_id)
    rows = session.execute(users.where(Address.subnet_id == subnet.id))
    users_of = {offset_of(ipaddress.ip_address(ip), network): user for ip, user in rows}
    kept = {number_of(offset) for offset in offsets(subnetting.held_spans(subnet))}
    reserved = session.execute(select(Reservation.ip).where(Reservation.subnet_id == subnet.id)).scalars()
    kept |= {offset_of(ipaddress.ip_address(ip), network) for ip in reserved}
    kept |= {offset_of(ip, network) for ip in allowed.single(session, subnet.network_id) if ip in network}
    for number in sorted(claimed - users_of.keys() - kept):
        ip = str(address_at(network, number))
        sentence = f"address {ip} of network {name} is claimed, and no endpoint has it"
        yield Difference("claim-without-endpoint", ip, sentence, "free the address", (subnet.pool_id, number))
    for number in sorted((users_of.keys() | kept) - claimed):
        ip = str(address_at(network, number))
        whose = f"is endpoint {users_of[number]}'s" if number in users_of else "is kept from endpoints"
        sentence = f"address {ip} of network {name} {whose}, and is not claimed"
        yield Difference("endpoint-without-claim", ip, sentence, "claim the address", (subnet.pool_id, number))


def _expired(session: Session, name: str, subnet: Subnet, now: datetime) -> Iterator[Difference]:
    query = select(Reservation).where(Reservation.subnet_id == subnet.id, Reservation.expires_at <= now)
    for one in session.execute(query.order_by(Reservation.ip)).scalars():
        sentence = f"the reservation of {one.ip} of network {name} for {one.name} has expired"
        yield Difference("reservation-expired", one.ip, sentence, "give it up", (subnet.network_id,))


def _blocks(session: Session, name: str, subnet: Subnet, now: datetime) -> Iterator[Difference]:
    if subnet.block_pool_id is None:
        return
    for one in blocks.usage(session, subnet, now):
        if not one.used and not one.resting:
            sentence = f"block {one.cidr} of network {name} is empty, and host {one.host} has it"
            yield Difference("block-empty", one.cidr, sentence, "give it back", (subnet.id,))
    owned = select(Block.number).where(Block.subnet_id == subnet.id)
    query = select(Claim.number).where(Claim.pool_id == subnet.block_pool_id, Claim.released_at.is_(None))
    for number in session.execute(query.where(Claim.number.not_in(owned)).order_by(Claim.number)).scalars():
        sentence = f"block number {number} of subnet {subnet.cidr} of network {name} is claimed, and no host has it"
        key = (subnet.block_pool_id, number)
        yield Difference("block-without-host", f"{subnet.cidr}#{number}", sentence, "free the block", key)


def _ofports(session: Session) -> Iterator[Difference]:
    used = select(Endpoint.id).where(Endpoint.host_id == Host.id, Endpoint.ofport == Claim.number).exists()
    query = select(Host.name, Claim.pool_id, Claim.number).join(Claim, Claim.pool_id == Host.pool_id)
    query = query.where(Claim.released_at.is_(None), ~used).order_by(Host.name, Claim.number)
    for host, pool_id, number in session.execute(query):
        sentence = f"port number {number} of host {host} is claimed, and no endpoint has it"
        yield Difference("ofport-without-endpoint", f"{host}:{number}", sentence, "free the number", (pool_id, number))


def _hosts(session: Session, now: datetime) -> Iterator[Difference]:
    """What agents report. What they have not heard of yet, or what changed since they spoke, is no difference."""
    query = select(Host).join(HostStatus).options(joinedload(Host.status)).where(Host.enrolled_at.is_not(None))
    for host in session.execute(query.order_by(Host.name)).unique().scalars():
        report = host.status.agent_report
        seen = host.status.agent_seen_at
        if seen is None or now - seen > hosts.SILENT_AFTER or report.get("revision") is None:
            sentence = f"host {host.name} has not reported; its ports and containers are not compared"
            yield Difference("host-unheard", host.name, sentence, "")
            continue
        if not (report["gone"] or report["missing"] or report["strays"]):
            continue
        named = select(Endpoint.id, Tenant.name + "/" + Endpoint.name).select_from(Endpoint)
        named = named.join(Tenant, Tenant.id == Endpoint.tenant_id)
        rows: Sequence[Any] = session.execute(named.where(Endpoint.host_id == host.id)).all()
        there: dict[int, str] = dict(rows)
        yield from _of_host(session, host.name, report, there)


def _of_host(session: Session, host: str, report: dict[str, Any], there: dict[int, str]) -> Iterator[Difference]:
    since = report.get("revision")
    known = {
        id for id in (*report["gone"], *report["missing"]) if id in there and not _changed_since(session, id, since)
    }
    for id in sorted(known.intersection(report["gone"])):
        sentence = f"the container of endpoint {there[id]} on host {host} is gone"
        yield Difference("container-gone", there[id], sentence, "remove the endpoint", (id,))
    for id in sorted(known.intersection(report["missing"])):
        sentence = f"endpoint {there[id]} has no port on its host {host}"
        yield Difference("port-missing", there[id], f"{sentence}; its agent makes one while the container is there", "")
    for port in report["strays"]:
        id = port.get("endpoint")
        if id in there or (id is not None and _changed_since(session, id, since)):
            continue
        whose = f", of container {port['container_id']}" if port.get("container_id") else ""
        sentence = f"port {port['name']} on host {host}{whose} belongs to no endpoint"
        yield Difference("port-without-endpoint", f"{host}:{port['name']}", f"{sentence}; see who made it", "")


def _changed_since(session: Session, id: int, revision: int | None) -> bool:
    """Whether the endpoint went, moved or got another container after the agent last heard from us."""
    changed = select(ChangeRow.revision).where(ChangeRow.noun == "endpoint", ChangeRow.id == id)
    return session.execute(changed.where(ChangeRow.revision > (revision or 0)).limit(1)).first() is not None
