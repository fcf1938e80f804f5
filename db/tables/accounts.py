"""Who may speak to Warren: users, groups, what they may do, their sessions and tokens; kept replies, settings."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Float, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db.tables.base import Base, Json, Timestamped, utcnow
from db.tables.hosts import Host
from db.tables.tenancy import Tenant


class User(Timestamped, Base):
    """`password` is an argon2 hash, or empty for someone who cannot log in with one."""

    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    password: Mapped[str] = mapped_column(String(255), default="")


class Group(Timestamped, Base):
    """Users who may do the same."""

    __tablename__ = "user_group"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)

    members: Mapped[list[User]] = relationship(secondary="group_member", order_by=User.name, passive_deletes=True)


class GroupMember(Base):
    __tablename__ = "group_member"

    group_id: Mapped[int] = mapped_column(ForeignKey("user_group.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), primary_key=True, index=True)


class RoleBinding(Base):
    """What a user, or each member of a group, may do: in one tenant, or in the cluster when `tenant_id` is empty."""

    __tablename__ = "role_binding"
    __table_args__ = (
        UniqueConstraint("user_id", "tenant_id"),
        UniqueConstraint("group_id", "tenant_id"),
        CheckConstraint("(user_id IS NULL) <> (group_id IS NULL)", name="subject"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    group_id: Mapped[int | None] = mapped_column(ForeignKey("user_group.id", ondelete="CASCADE"))
    tenant_id: Mapped[int | None] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"), index=True)
    role: Mapped[str] = mapped_column(String(8))
    created_at: Mapped[datetime] = mapped_column(default=utcnow)

    user: Mapped[User | None] = relationship()
    group: Mapped[Group | None] = relationship()
    tenant: Mapped[Tenant | None] = relationship()


class LoginSession(Base):
    """A browser that is logged in. Only the SHA-256 of its cookie is kept."""

    __tablename__ = "session"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    expires_at: Mapped[datetime]

    user: Mapped[User] = relationship()


class Token(Base):
    """A bearer token. Only the SHA-256 of its secret is kept. `host_id` binds the agent and enrol roles to a host.

    `user_id` is whose it is: it reaches no further than that user, and goes with it. `tenant_id` keeps it to a tenant.
    """

    __tablename__ = "token"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    role: Mapped[str] = mapped_column(String(8))
    hash: Mapped[str] = mapped_column(String(64))
    host_id: Mapped[int | None] = mapped_column(ForeignKey("host.id", ondelete="CASCADE"), index=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), index=True)
    tenant_id: Mapped[int | None] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    expires_at: Mapped[datetime | None]
    used_at: Mapped[datetime | None]

    host: Mapped[Host | None] = relationship()
    user: Mapped[User | None] = relationship()
    tenant: Mapped[Tenant | None] = relationship()


class OidcIdentity(Base):
    """Who somebody is to an OpenID Connect provider: `subject` is its number for the person, and never another's."""

    __tablename__ = "oidc_identity"

    issuer: Mapped[str] = mapped_column(String(255), primary_key=True)
    subject: Mapped[str] = mapped_column(String(255), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"), unique=True)


class OidcLogin(Base):
    """A browser that was sent to the provider. `hash` is that of our question's state and the browser's secret."""

    __tablename__ = "oidc_login"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    nonce: Mapped[str] = mapped_column(String(64))
    verifier: Mapped[str] = mapped_column(String(64))
    onward: Mapped[str] = mapped_column(String(1024))
    expires_at: Mapped[datetime] = mapped_column(index=True)


class LoginFailure(Base):
    """How often a name was tried in vain from an address, and when last (seconds since 1970)."""

    __tablename__ = "login_failure"

    user: Mapped[str] = mapped_column(String(63), primary_key=True)
    address: Mapped[str] = mapped_column(String(45), primary_key=True)
    failures: Mapped[int]
    last: Mapped[float] = mapped_column(Float(53), index=True)


class KeptReply(Base):
    """The reply to a create that carried an idempotency key; `principal` is who sent it."""

    __tablename__ = "idempotency"

    principal: Mapped[str] = mapped_column(String(80), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    status: Mapped[int]
    body: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=utcnow, index=True)


class Setting(Base):
    __tablename__ = "setting"

    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    value: Mapped[Any] = mapped_column(Json)
