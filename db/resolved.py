"""What DNS names stand for: written by controllers as answers come, and read by all.

A revision is taken when a name gets or loses an address, and not when only the time moves until which it has one.
How long an answer counts is `controller.calc.names`' business.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime

from sqlalchemy import Select, exists, select
from sqlalchemy.orm import Session, selectinload

from controller.calc.documents import read
from controller.calc.names import IpAddress, Known, Lifetime, Told
from controller.model import ip_address
from controller.selection import domains, meaning
from db import policies
from db.changes import Transaction
from db.pages import Page, containing, page
from db.tables import ResolvedAddress, ResolvedName


def learn(tx: Transaction, told: Collection[Told], lifetime: Lifetime) -> Known:
    """Merges what endpoints were told into what is known; what is known of these names then."""
    rows = _rows(tx.session, {one.name for one in told})
    known = {name: _addresses(row) for name, row in rows.items()}
    changed = lifetime.merge(known, told, tx.now.timestamp())
    _write(tx, rows, changed)
    return {**known, **changed}


def has_lapsed(session: Session, lifetime: Lifetime, now: datetime) -> bool:
    """Whether `lapse` has something to do."""
    return bool(session.execute(select(exists().where(ResolvedAddress.until <= _end(lifetime, now)))).scalar())


def lapse(tx: Transaction, lifetime: Lifetime) -> None:
    """Addresses whose time is over go, and names that have none left."""
    has = ResolvedName.addresses.any(ResolvedAddress.until <= _end(lifetime, tx.now))
    rows = {row.name: row for row in tx.session.execute(_query().where(has)).scalars()}
    known = {name: _addresses(row) for name, row in rows.items()}
    _write(tx, rows, lifetime.lapse(known, tx.now.timestamp()))


def forget(tx: Transaction, names: Iterable[str]) -> None:
    rows = _rows(tx.session, names)
    _write(tx, rows, {name: {} for name in rows})


def find(
    session: Session,
    *,
    text: str | None = None,
    sort: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> Page[ResolvedName]:
    """`text` is part of the name, by which they come."""
    query = _query().where(*containing(text, ResolvedName.name))
    return page(session, query, (ResolvedName.name,), lambda row: row.name, cursor, limit, sort)


def policies_meaning(session: Session, names: Iterable[str]) -> dict[str, list[str]]:
    """The policies that say each of the names, or one that it is below; in their order."""
    by_domain: dict[str, list[str]] = defaultdict(list)
    for row in policies.saying_names(session):
        for domain in domains(read(row.document).policy(row.id, row.owner, row.ordinal)):
            by_domain[domain.name].append(row.qualified_name)
    return {name: sorted({said for domain in meaning(name) for said in by_domain.get(domain, ())}) for name in names}


def _query() -> Select[ResolvedName]:
    return select(ResolvedName).options(selectinload(ResolvedName.addresses))


def _rows(session: Session, names: Iterable[str]) -> dict[str, ResolvedName]:
    query = _query().where(ResolvedName.name.in_(sorted(names)))
    return {row.name: row for row in session.execute(query).scalars()}


def _addresses(row: ResolvedName) -> dict[IpAddress, float]:
    return {parsed(address.ip): address.until.timestamp() for address in row.addresses}


def _write(tx: Transaction, rows: dict[str, ResolvedName], changed: Known) -> None:
    for name, addresses in sorted(changed.items()):
        row = rows.get(name)
        if row is None:
            row = ResolvedName(name=name)
            tx.session.add(row)
            _set(row, addresses)
            tx.session.flush()
            tx.record("name", row.id, "create")
        elif not addresses:
            tx.session.delete(row)
            tx.record("name", row.id, "delete")
        elif _set(row, addresses):
            tx.record("name", row.id, "update")


def _set(row: ResolvedName, addresses: Mapping[IpAddress, float]) -> bool:
    """Whether other addresses are there than before."""
    wanted = {str(ip_address(*address)): datetime.fromtimestamp(until, UTC) for address, until in addresses.items()}
    there = {address.ip: address for address in row.addresses}
    for ip in there.keys() - wanted.keys():
        row.addresses.remove(there[ip])
    for ip, until in wanted.items():
        if ip in there:
            there[ip].until = until
        else:
            row.addresses.append(ResolvedAddress(ip=ip, until=until))
    return there.keys() != wanted.keys()


def _end(lifetime: Lifetime, now: datetime) -> datetime:
    return datetime.fromtimestamp(lifetime.lapsed_before(now.timestamp()), UTC)


def parsed(text: str) -> IpAddress:
    ip = ipaddress.ip_address(text)
    return ip.version, int(ip)
