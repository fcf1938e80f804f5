"""Users and their passwords, kept as argon2 hashes. Decides who someone is; not what they may do."""

from __future__ import annotations

from functools import cache
from typing import Literal, get_args

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.changes import Transaction
from db.errors import Conflict, Invalid, NotFound
from db.names import dns_label
from db.tables import User

Role = Literal["admin", "viewer"]
LEAST_PASSWORD = 8
hasher = PasswordHasher()


def create(tx: Transaction, name: str, password: str, *, role: Role = "viewer") -> User:
    dns_label(name, "user")
    if role not in get_args(Role):
        raise Invalid(f"role {role!r} is unknown", f"use {' or '.join(get_args(Role))}", "role")
    if tx.session.execute(select(User.id).where(User.name == name)).scalar() is not None:
        raise Conflict(f"user {name} exists already", "choose another name", "name")
    user = User(name=name, role=role, password=_hashed(password))
    tx.session.add(user)
    tx.session.flush()
    return user


def find(session: Session, name: str) -> User | None:
    return session.execute(select(User).where(User.name == name)).scalar_one_or_none()


def get(session: Session, name: str) -> User:
    user = find(session, name)
    if user is None:
        raise NotFound(f"there is no user {name}", "check the name", "user")
    return user


def authenticate(session: Session, name: str, password: str) -> User | None:
    """The user of that name and password. Takes as long for a name that nobody has."""
    user = find(session, name)
    known = user.password if user and user.password else _nobody()
    try:
        hasher.verify(known, password)
    except VerificationError:
        return None
    return user if user and user.password else None


def set_password(tx: Transaction, user: User, password: str) -> None:
    user.password = _hashed(password)
    tx.session.add(user)


def _hashed(password: str) -> str:
    if len(password) < LEAST_PASSWORD:
        raise Invalid("the password is too short", f"use at least {LEAST_PASSWORD} characters", "password")
    return hasher.hash(password)


@cache
def _nobody() -> str:
    return hasher.hash("nobody has this password")
