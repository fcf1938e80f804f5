"""Users and their passwords, kept as argon2 hashes. Decides who someone is; not what they may do."""

from __future__ import annotations

import hashlib
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from argon2.low_level import Type, hash_secret_raw
from sqlalchemy import delete as sql_delete
from sqlalchemy import select
from sqlalchemy.orm import Session

from db import bindings, sessions
from db.changes import Transaction
from db.errors import Conflict, Invalid, NotFound
from db.names import dns_label
from db.pages import Page, Sort, containing, created, moment, page
from db.tables import KeptReply, User

LEAST_PASSWORD = 8
hasher = PasswordHasher()


def create(tx: Transaction, name: str, password: str | None = None, *, role: str | None = None) -> User:
    """`role` is one in the whole cluster. Without a password nobody logs in with one."""
    dns_label(name, "user")
    if tx.session.execute(select(User.id).where(User.name == name)).scalar() is not None:
        raise Conflict(f"user {name} exists already", "choose another name", "name")
    user = User(name=name, password="" if password is None else hashed(password))
    tx.session.add(user)
    tx.session.flush()
    tx.note("user", user.id, "create")
    if role is not None:
        bindings.grant(tx, role, user=name)
    return user


def find_one(session: Session, name: str) -> User | None:
    return session.execute(select(User).where(User.name == name)).scalar_one_or_none()


def get(session: Session, name: str) -> User:
    user = find_one(session, name)
    if user is None:
        raise NotFound(f"there is no user {name}", f"create it with `warren user create {name}`", "user")
    return user


SORTS = {"created": Sort(User.created_at, created, moment)}


def find(
    session: Session,
    *,
    text: str | None = None,
    sort: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> Page[User]:
    """`text` is part of the name. `sort` is by "name" or "created"."""
    query = select(User).where(*containing(text, User.name))
    return page(session, query, (User.name,), lambda user: user.name, cursor, limit, sort, SORTS)


def authenticate(session: Session, name: str, password: str) -> User | None:
    """The user of that name and password. Takes as long for a name that nobody has."""
    user = find_one(session, name)
    known = user.password if user and user.password else _nobody()
    try:
        hasher.verify(known, password)
    except VerificationError:
        return None
    return user if user and user.password else None


def has_still(tx: Transaction, user: User) -> bool:
    """Whether the user is there with the same password, which nobody changes before the transaction ends."""
    same = select(User.id).where(User.id == user.id, User.password == user.password)
    return tx.session.execute(same.with_for_update(read=True)).scalar() is not None


def set_password(tx: Transaction, user: User, password: str) -> None:
    """Whoever is logged in with the old one is not any more."""
    user.password = hashed(password)
    tx.session.add(user)
    sessions.end_all(tx, user)
    tx.note("user", user.id, "update")


def delete(tx: Transaction, name: str) -> None:
    """With the user go its sessions, tokens, role bindings and memberships."""
    user = get(tx.session, name)
    tx.note("user", user.id, "delete")
    # Its number may be another's one day.
    tx.session.execute(sql_delete(KeptReply).where(KeptReply.principal == f"user:{user.id}"))
    with bindings.keeping_an_admin(tx):
        tx.session.execute(sql_delete(User).where(User.id == user.id))


def hashed(password: str) -> str:
    if len(password) < LEAST_PASSWORD:
        raise Invalid("the password is too short", f"use at least {LEAST_PASSWORD} characters", "password")
    return hasher.hash(password)


def digest(password: str, salt: str) -> str:
    """The same for the same two, and as slow as `hashed`."""
    cost = hasher.time_cost, hasher.memory_cost, hasher.parallelism, 32, Type.ID
    return hash_secret_raw(password.encode(), hashlib.sha256(salt.encode()).digest(), *cost).hex()


@cache
def _nobody() -> str:
    return hasher.hash("nobody has this password")
