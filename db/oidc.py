"""People whom an OpenID Connect provider vouches for: which user they are here, and log-ins that are under way.

A person is known by the provider's number for it, not by a name, which may be another's one day. Who comes first under
the name of a user without a password is that user from then on; a user with a password is nobody else's.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import delete, select

from db import groups, users
from db.changes import Transaction
from db.errors import Conflict, Invalid
from db.tables import Group, OidcIdentity, OidcLogin, User
from db.tokens import hash_of

PATIENCE = timedelta(minutes=10)
"""How long somebody may take to log in elsewhere."""


class Begun(NamedTuple):
    nonce: str
    verifier: str
    onward: str


def begin(tx: Transaction, state: str, browser: str, begun: Begun) -> None:
    """`browser` is a secret that only the browser has which was sent away."""
    tx.session.execute(delete(OidcLogin).where(OidcLogin.expires_at <= tx.now))
    key = hash_of(f"{state} {browser}")
    tx.session.add(OidcLogin(hash=key, **begun._asdict(), expires_at=tx.now + PATIENCE))
    tx.session.flush()


def end(tx: Transaction, state: str, browser: str) -> Begun | None:
    """What `begin` kept, once; None when there is no such log-in (any more) of this browser."""
    mine = OidcLogin.hash == hash_of(f"{state} {browser}"), OidcLogin.expires_at > tx.now
    columns = OidcLogin.nonce, OidcLogin.verifier, OidcLogin.onward
    found = tx.session.execute(delete(OidcLogin).where(*mine).returning(*columns)).one_or_none()
    return Begun(*found) if found else None


def user(tx: Transaction, issuer: str, subject: str, name: str) -> User:
    """Who that is here; a new user when it is nobody yet. Raises Invalid and Conflict."""
    if len(subject) > 255:
        raise Invalid("the provider's identifier of this user is too long", "255 characters are accepted", "sub")
    query = select(User).join(OidcIdentity, OidcIdentity.user_id == User.id)
    known = OidcIdentity.issuer == issuer, OidcIdentity.subject == subject
    found = tx.session.execute(query.where(*known)).scalar_one_or_none()
    if found is not None:
        return found
    here = name.partition("@")[0].lower()
    found = users.find_one(tx.session, here)
    taken = found and tx.session.execute(select(OidcIdentity.user_id).where(OidcIdentity.user_id == found.id)).first()
    if found is not None and (found.password or taken):
        raise Conflict(
            f"the user name {here} belongs to somebody else", "ask an administrator for another name", "name"
        )
    found = found or users.create(tx, here)
    tx.session.add(OidcIdentity(issuer=issuer, subject=subject, user_id=found.id))
    tx.session.flush()
    return found


def member_of(tx: Transaction, user: User, names: Collection[str]) -> None:
    """Makes the user a member of these groups and of no others. Groups that are not there are left out."""
    for group in tx.session.execute(select(Group).order_by(Group.name)).scalars().all():
        within = user in group.members
        if group.name in names and not within:
            groups.add(tx, group.name, user.name)
        elif within and group.name not in names:
            groups.remove(tx, group.name, user.name)
