"""Static DNS records and Warren's domain: what names there are besides those of endpoints.

A record belongs to a tenant or to one of its networks and goes with it. Who may see it is decided where names are
given to hosts.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db.addressing import unzoned
from db.changes import Transaction
from db.errors import Conflict, Invalid, NotFound
from db.names import dns_label
from db.pages import Page, Sort, containing, number, page
from db.rows import assign, check_version
from db.settings import CLUSTER_ID
from db.tables import DnsRecord, Endpoint, Network, Setting, Tenant

DNS = "dns"
MOST_ADDRESSES = 32
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
LONGEST_DOMAIN = 100
"""Characters: three names of 63 before it still make a name of DNS's 253."""


class Dns(NamedTuple):
    """What holds for all names. `version` grows with each change."""

    domain: str
    version: int


_SETTINGS = select(Setting.value).where(Setting.name == DNS)


def settings(session: Session) -> Dns:
    return Dns(**session.execute(_SETTINGS).scalar_one())


def set_domain(tx: Transaction, domain: str, *, version: int | None = None) -> Dns:
    now = Dns(**tx.session.execute(_SETTINGS.with_for_update()).scalar_one())
    check_version(now, version, "the DNS settings")
    text = domain.rstrip(".").lower()
    if len(text) > LONGEST_DOMAIN or not _DOMAIN.fullmatch(text):
        rule = f"use labels of letters, digits and '-' joined by dots, {LONGEST_DOMAIN} characters at most"
        raise Invalid(f"{domain!r} is not a DNS domain", rule, "domain")
    if "." not in text:
        raise Invalid(f"domain {domain!r} is a single label", "use one like warren.internal", "domain")
    if text.split(".")[-1] == "arpa":
        raise Invalid(f"domain {domain!r} is reserved for reverse look-ups", "use one like warren.internal", "domain")
    if text == now.domain:
        return now
    new = Dns(text, now.version + 1)
    tx.session.execute(update(Setting).where(Setting.name == DNS).values(value=new._asdict()))
    tx.record(DNS, CLUSTER_ID, "update")
    return new


def search(network: str, domain: str) -> list[str]:
    """What a resolver tries behind a short name, for endpoints of a network `acme/web`."""
    tenant, _, short = network.partition("/")
    return [f"{short}.{tenant}.{domain}", f"{tenant}.{domain}"]


def get(session: Session, scope: str, name: str) -> DnsRecord:
    query = select(DnsRecord).where(DnsRecord.scope == scope, DnsRecord.name == name)
    record = session.execute(query).scalar_one_or_none()
    if record is None:
        raise NotFound(f"there is no DNS record {name} in {scope}", "list them with `warren dns list`", "name")
    return record


SORTS = {
    "name": Sort(DnsRecord.name, lambda row: row.name),
    "scope": Sort(DnsRecord.scope, lambda row: row.scope),
}


def find(
    session: Session,
    *,
    tenant: str | None = None,
    text: str | None = None,
    sort: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> Page[DnsRecord]:
    """In the order in which they were made. `text` is part of the name. `sort` is by "created", "name" or "scope"."""
    query = select(DnsRecord).where(*containing(text, DnsRecord.name))
    if tenant is not None:
        query = query.join(Tenant, Tenant.id == DnsRecord.tenant_id).where(Tenant.name == tenant)
    # A scope may have a slash of its own, so the cursor is the record's number.
    order = (DnsRecord.id,)
    return page(session, query, order, lambda row: str(row.id), cursor, limit, sort, SORTS, own="created", read=number)


def put(
    tx: Transaction, scope: str, name: str, addresses: Sequence[str], *, version: int | None = None
) -> tuple[DnsRecord, bool]:
    """Makes the record, or gives it these addresses; whether it is new."""
    session = tx.session
    dns_label(name, "DNS record")
    given = _addresses(addresses)
    tenant_id, network_id = _place(session, scope)
    query = select(DnsRecord).where(DnsRecord.scope == scope, DnsRecord.name == name)
    record = session.execute(query).scalar_one_or_none()
    if record is None:
        _refuse_endpoints_name(session, scope, name, network_id)
        record = DnsRecord(tenant_id=tenant_id, network_id=network_id, scope=scope, name=name, addresses=given)
        session.add(record)
        session.flush()
        tx.record("record", record.id, "create", tenant_id=tenant_id)
        return record, True
    check_version(record, version, f"DNS record {name} in {scope}")
    if assign(record, addresses=given):
        session.flush()
        tx.record("record", record.id, "update", tenant_id=tenant_id)
    return record, False


def delete(tx: Transaction, scope: str, name: str, *, version: int | None = None) -> None:
    record = get(tx.session, scope, name)
    check_version(record, version, f"DNS record {name} in {scope}")
    tx.session.delete(record)
    tx.session.flush()
    tx.record("record", record.id, "delete", tenant_id=record.tenant_id)


def _refuse_endpoints_name(session: Session, scope: str, name: str, network_id: int | None) -> None:
    """Who asks for the name would be told the addresses of both. A tenant's record comes after its endpoints."""
    named = select(Endpoint.id).where(Endpoint.network_id == network_id, Endpoint.name == name)
    if network_id is not None and session.execute(named).first() is not None:
        problem = f"an endpoint of network {scope} is called {name}, and the name would stand for both"
        raise Conflict(problem, "choose another name", "name")


def _addresses(texts: Sequence[str]) -> list[str]:
    if not 1 <= len(texts) <= MOST_ADDRESSES:
        raise Invalid(
            f"{len(texts)} addresses are not possible for a DNS record", f"give 1 to {MOST_ADDRESSES}", "addresses"
        )
    found = []
    for text in texts:
        try:
            found.append(str(ipaddress.ip_address(unzoned(text))))
        except ValueError:
            raise Invalid(f"{text!r} is not an address", "write it like 10.20.0.9 or fd00:20::9", "addresses") from None
    return list(dict.fromkeys(found))


def _place(session: Session, scope: str) -> tuple[int, int | None]:
    """The tenant's number, and the network's where the scope is one."""
    tenant, slash, network = scope.partition("/")
    dns_label(tenant, "tenant", "scope")
    if not slash:
        id = session.execute(select(Tenant.id).where(Tenant.name == tenant)).scalar()
        if id is None:
            raise NotFound(f"there is no tenant {tenant}", f"create it with `warren tenant create {tenant}`", "scope")
        return id, None
    dns_label(network, "network", "scope")
    query = select(Network.tenant_id, Network.id).join(Tenant, Tenant.id == Network.tenant_id)
    row = session.execute(query.where(Tenant.name == tenant, Network.name == network)).first()
    if row is None:
        raise NotFound(f"there is no network {scope}", f"create it with `warren network create {scope}`", "scope")
    return row[0], row[1]
