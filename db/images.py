"""What objects look like, in plain JSON, for the audit log: with the names of what they belong to, without secrets.

What an object was is read beside the transaction of its change, where it is not changed yet.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, FromClause, RowMapping, Select, and_, bindparam, func, select
from sqlalchemy.orm import Session

from db.engine import asking
from db.tables import (
    Address,
    AddressPool,
    AllowedAddress,
    Base,
    DnsRecord,
    Endpoint,
    Group,
    GroupMember,
    Host,
    Network,
    Peering,
    Policy,
    Publication,
    Reservation,
    RoleBinding,
    Setting,
    Subnet,
    Tenant,
    Token,
    User,
)

Json = dict[str, Any]
Described = dict[tuple[str, int], Json]

TABLES: Mapping[str, type[Base]] = {
    "tenant": Tenant,
    "network": Network,
    "endpoint": Endpoint,
    "host": Host,
    "policy": Policy,
    "pool": AddressPool,
    "record": DnsRecord,
    "publication": Publication,
    "peering": Peering,
    "user": User,
    "group": Group,
    "binding": RoleBinding,
    "token": Token,
}
LEFT_OUT = frozenset({"hash", "password", "request", "created_at", "updated_at", "used_at", "owner", "pool_id"})
"""Secrets and their digests, and what only counts."""

_SETTINGS = {"cluster": "isolation", "dns": "dns"}
_TUNNEL_PORTS = "tunnel_ports"
NOUNS = (*TABLES, *_SETTINGS)
_BATCH = 1000


class Touched(NamedTuple):
    noun: str
    id: int
    op: str


class Images(NamedTuple):
    before: Json | None
    after: Json | None


def before_and_after(session: Session, touched: Iterable[Touched]) -> list[tuple[Touched, Images]]:
    """What each object was and is. Call it before any lock that many wait for."""
    known = [one for one in touched if one.noun in NOUNS]
    before: Described = {}
    if any(one.op != "create" for one in known):
        with asking(session.connection().engine) as beside:
            before = describe(beside, (one for one in known if one.op != "create"))
    after = describe(session.connection(), (one for one in known if one.op != "delete"))
    return [(one, Images(before.get((one.noun, one.id)), after.get((one.noun, one.id)))) for one in known]


def canonical(entry: Json) -> str:
    """The text that is hashed: RFC 8785 in what is used of JSON here (no floats)."""
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def describe(connection: Connection, touched: Iterable[Touched]) -> Described:
    """Objects in plain JSON, with the names of what they belong to; without those that are not there.

    One statement for all objects of a noun.
    """
    ids: dict[str, list[int]] = {}
    for one in touched:
        ids.setdefault(one.noun, []).append(one.id)
    found: Described = {}
    for noun, wanted in ids.items():
        if noun in _SETTINGS:
            found |= {(noun, id): _settings(connection, noun) for id in wanted}
            continue
        for first in range(0, len(wanted), _BATCH):
            rows = connection.execute(_query(noun), {"ids": wanted[first : first + _BATCH]})
            found |= {(noun, row["id"]): _image(noun, row) for row in rows.mappings()}
    return found


_LINE = "\n"


@cache
def _query(noun: str) -> Select[Any]:
    table = TABLES[noun].__table__
    columns: list[ColumnElement[Any]] = []
    source: FromClause = table
    for column in table.columns:
        if (owner := _REFERENCES.get(column.name)) is not None:
            other = owner.__table__.alias()
            source = source.outerjoin(other, other.c.id == column)
            columns.append(other.c.name.label(column.name.removesuffix("_id")))
        elif column.name not in LEFT_OUT:
            columns.append(column)
    for name, (value, where) in _LISTS.get(noun, {}).items():
        lines = select(func.aggregate_strings(value, _LINE)).where(where).correlate(table)
        columns.append(lines.scalar_subquery().label(name))
    return select(*columns).select_from(source).where(table.c.id.in_(bindparam("ids", expanding=True)))


def _image(noun: str, row: RowMapping) -> Json:
    owners = {key.removesuffix("_id") for key in _REFERENCES}
    image: Json = {key: value for key, value in row.items() if value is not None or key not in owners}
    image["tenant"] = image["name"] if noun == "tenant" else image.get("tenant")
    for name in _LISTS.get(noun, ()):
        image[name] = sorted(image[name].split(_LINE)) if image[name] else []
    match noun:
        case "record":
            image["name"] = f"{image['scope']}/{image['name']}"
        case "publication":
            image["name"] = f"{image['tenant']}/{image['endpoint']} {image['protocol']}/{image['host_port']}"
        case "peering":
            image["name"] = f"{image['low']} with {image['high']}"
        case "binding":
            image["name"] = f"{image['role']} {image.get('user') or image.get('group')}"
    if image["tenant"] and noun in ("network", "endpoint", "policy"):
        image["name"] = f"{image['tenant']}/{image['name']}"
    # As it is read again: without what JSON has no word for.
    plain: Json = json.loads(canonical(image))
    return plain


_REFERENCES: Mapping[str, Any] = {
    "tenant_id": Tenant,
    "network_id": Network,
    "endpoint_id": Endpoint,
    "host_id": Host,
    "user_id": User,
    "group_id": Group,
    "low_id": Tenant,
    "high_id": Tenant,
}


_subnet, _reservation, _member = Subnet.__table__.c, Reservation.__table__.c, GroupMember.__table__.c
_LISTS: Mapping[str, Mapping[str, tuple[ColumnElement[str], ColumnElement[bool]]]] = {
    "network": {
        "subnets": (_subnet.cidr, _subnet.network_id == Network.__table__.c.id),
        "reservations": (
            _reservation.name + " " + _reservation.ip,
            and_(_reservation.subnet_id == _subnet.id, _subnet.network_id == Network.__table__.c.id),
        ),
    },
    "endpoint": {
        "addresses": (Address.__table__.c.ip, Address.__table__.c.endpoint_id == Endpoint.__table__.c.id),
        "allowed": (AllowedAddress.__table__.c.cidr, AllowedAddress.__table__.c.endpoint_id == Endpoint.__table__.c.id),
    },
    "group": {
        "members": (
            User.__table__.c.name,
            and_(_member.user_id == User.__table__.c.id, _member.group_id == Group.__table__.c.id),
        )
    },
}
"""Lists that are part of an object: what is in them, and of whose."""


def _settings(connection: Connection, noun: str) -> Json:
    said = {"name": noun, **_setting(connection, _SETTINGS[noun])}
    return said | {_TUNNEL_PORTS: _setting(connection, _TUNNEL_PORTS)} if noun == "cluster" else said


def _setting(connection: Connection, name: str) -> Json:
    found: Json | None = connection.execute(select(Setting.value).where(Setting.name == name)).scalar()
    return found or {}
