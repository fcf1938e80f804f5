"""Bearer tokens `wrn_ID_SECRET`. Decides what opens a door; what lies behind each role's door is not its business.

A secret has 256 random bits, so a plain SHA-256 of it is as good as any slow hash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, get_args

from sqlalchemy import Connection, bindparam, delete, select, update
from sqlalchemy.orm import Session, joinedload

from db import bindings
from db.changes import Transaction
from db.errors import EnrolTokenUsed, Invalid, NotFound, Unauthenticated
from db.pages import Page, Sort, containing, number, page
from db.tables import Host, Tenant, Token

Role = Literal["admin", "operator", "viewer", "agent", "enrol", "cni"]
CARRIED = frozenset({"agent", "enrol", "cni"})
"""Roles that are a machine's, not a share of what people may do."""
_TEXT = re.compile(r"wrn_([0-9]{1,9})_([0-9a-f]{64})")


def create(
    tx: Transaction,
    role: Role,
    *,
    name: str,
    host_id: int | None = None,
    user_id: int | None = None,
    tenant: Tenant | None = None,
    expires_at: datetime | None = None,
) -> tuple[Token, str]:
    """The row, and the text that is shown once and never again."""
    if role not in get_args(Role):
        raise Invalid(f"role {role!r} is unknown", f"use one of {', '.join(get_args(Role))}", "role")
    if not name or len(name) > 80:
        raise Invalid("a token needs a name of 1 to 80 characters", "say what it is for", "name")
    if role in ("agent", "enrol") and host_id is None:
        raise Invalid(f"a token for role {role} is bound to a host", "use `warren host token NAME`", "role")
    if role == "operator" and tenant is None:
        raise Invalid("the role operator is for one tenant", "name a tenant, or use admin or viewer", "role")
    if role in ("agent", "enrol", "cni") and tenant is not None:
        raise Invalid(f"a token for role {role} is not limited to a tenant", "leave the tenant out", "tenant")
    if expires_at is not None and expires_at.tzinfo is None:
        raise Invalid(f"{expires_at} has no time zone", "write it like 2030-01-31T12:00:00Z", "expires_at")
    if expires_at is not None and expires_at <= tx.now:
        raise Invalid(f"{expires_at.isoformat()} is in the past", "give a later time", "expires_at")
    secret = secrets.token_hex(32)
    token = Token(
        name=name,
        role=role,
        hash=hash_of(secret),
        host_id=host_id,
        user_id=user_id,
        tenant=tenant,
        created_at=tx.now,
        expires_at=expires_at,
    )
    tx.session.add(token)
    tx.session.flush()
    tx.note("token", token.id, "create")
    return token, f"wrn_{token.id}_{secret}"


class Bearer(NamedTuple):
    """Who shows a token: what it says, and what its user may do at this moment, whom it reaches no further than."""

    id: int
    name: str
    role: str
    host_id: int | None
    host: str | None
    user_id: int | None
    expires_at: datetime | None
    grants: bindings.Grants


_token, _host, _owner = Token.__table__.c, Host.__table__.c, Tenant.__table__.alias("owner").c
_BEARER = (
    select(
        *(_token.id, _token.name, _token.role, _token.hash, _token.expires_at, _token.host_id, _token.user_id),
        *(_host.name.label("host"), _owner.id.label("tenant_id"), _owner.name.label("tenant")),
        *bindings.GRANTED,
    )
    .select_from(
        Token.__table__.outerjoin(Host.__table__, _host.id == _token.host_id)
        .outerjoin(_owner.id.table, _owner.id == _token.tenant_id)
        .outerjoin(bindings.BINDINGS, bindings.of_user(_token.user_id))
        .outerjoin(bindings.TENANTS, bindings.IN_TENANT)
    )
    .where(_token.id == bindparam("id"))
)


def bearer(connection: Connection, text: str, now: datetime) -> Bearer:
    """Who shows the token `text`, in one statement: each request begins with it."""
    id, secret = _parsed(text)
    rows: Sequence[Any] = connection.execute(_BEARER, {"id": id}).all()
    token = _opened(rows[0] if rows else None, secret, now)
    tenant = bindings.Owner(token.tenant_id, token.tenant) if token.tenant_id is not None else None
    grants = bindings.NOTHING
    if token.role in CARRIED:
        pass
    elif token.user_id is None:
        grants = bindings.scope(token.role, tenant)
    else:
        granted = bindings.gathered((row.bound_role, row.bound_id, row.bound_to) for row in rows)
        grants = bindings.capped(granted, token.role, tenant)
    return Bearer(token.id, token.name, token.role, token.host_id, token.host, token.user_id, token.expires_at, grants)


def verify(session: Session, text: str, now: datetime) -> Token:
    """The token that `text` opens, with its host. A used enrol token still verifies; `use` refuses it."""
    id, secret = _parsed(text)
    query = select(Token).where(Token.id == id).options(joinedload(Token.host), joinedload(Token.tenant))
    token: Token = _opened(session.execute(query).scalar_one_or_none(), secret, now)
    return token


def _parsed(text: str) -> tuple[int, str]:
    """Its id and its secret; of what is no token at all, those of none."""
    match = _TEXT.fullmatch(text)
    return (int(match[1]), match[2]) if match else (0, "")


def _opened(token: Any, secret: str, now: datetime) -> Any:
    """The row of a token, if this is its secret and it is not too late."""
    if token is None or not hmac.compare_digest(token.hash, hash_of(secret)):
        raise Unauthenticated("the token is not valid", "check it, or make another with `warren token create`")
    if token.expires_at is not None and token.expires_at <= now:
        raise Unauthenticated(
            f"token {token.name} expired at {token.expires_at:%Y-%m-%d %H:%M} UTC",
            "make another with `warren token create`",
        )
    return token


def use(tx: Transaction, token: Token) -> None:
    """Uses up an enrol token, of two callers at once for one of them only."""
    once = update(Token).where(Token.id == token.id, Token.used_at.is_(None)).values(used_at=tx.now)
    if tx.session.execute(once.returning(Token.id)).scalar() is None:
        host = token.host.name if token.host else "HOST"
        raise EnrolTokenUsed(
            f"this token has enrolled host {host} already", f"get a new one with `warren host token {host}`"
        )


SORTS = {
    "name": Sort(Token.name, lambda row: row.name),
    "role": Sort(Token.role, lambda row: row.role),
}


def find(
    session: Session,
    *,
    role: str | None = None,
    tenant: str | None = None,
    host: str | None = None,
    text: str | None = None,
    sort: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> Page[Token]:
    """Every token but the enrol tokens that are used up, in the order in which they were made. `text` is part of the
    name. `sort` is by "created", "name" or "role"."""
    shown = (Token.role != "enrol") | Token.used_at.is_(None)
    loaded = joinedload(Token.host), joinedload(Token.tenant), joinedload(Token.user)
    query = select(Token).where(shown, *containing(text, Token.name)).options(*loaded)
    query = query if role is None else query.where(Token.role == role)
    query = query if tenant is None else query.where(Token.tenant.has(Tenant.name == tenant))
    query = query if host is None else query.where(Token.host.has(Host.name == host))
    order = (Token.id,)
    return page(session, query, order, lambda row: str(row.id), cursor, limit, sort, SORTS, own="created", read=number)


def get(session: Session, id: int, tenants: Collection[int] | None = None) -> Token:
    """`tenants`: only one that is kept to one of these."""
    among = [] if tenants is None else [Token.tenant_id.in_(tenants)]
    loaded = joinedload(Token.host), joinedload(Token.tenant), joinedload(Token.user)
    query = select(Token).where(Token.id == id, *among).options(*loaded)
    token: Token | None = session.execute(query).scalar_one_or_none()
    if token is None:
        raise NotFound(f"there is no token {id}", "list them with `warren token list`", "token")
    return token


def revoke(tx: Transaction, id: int, tenants: Collection[int] | None = None) -> None:
    """`tenants`: only one that is kept to one of these."""
    get(tx.session, id, tenants)
    tx.note("token", id, "delete")
    tx.session.execute(delete(Token).where(Token.id == id))


def revoke_of_host(tx: Transaction, host_id: int, role: Role) -> None:
    tx.session.execute(delete(Token).where(Token.host_id == host_id, Token.role == role))


def hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
