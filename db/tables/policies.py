"""Policies as documents, and what their rules did."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db.tables.base import Base, BigId, Timestamped
from db.tables.tenancy import Tenant


class Policy(Timestamped, Base):
    """A tenant's, or the cluster's when it has no tenant. Its id is never used again, its ordinal is when it is gone.

    `owner` is the tenant's id, or 0: unique keys tell apart what is NULL. `document` is as it was given, its fields in
    their order, which PostgreSQL's JSONB would not keep.
    """

    __tablename__ = "policy"
    __table_args__ = (
        UniqueConstraint("owner", "name"),
        UniqueConstraint("owner", "ordinal"),
        CheckConstraint("owner = coalesce(tenant_id, 0)", name="owner"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    owner: Mapped[int]
    tenant_id: Mapped[int | None] = mapped_column(ForeignKey("tenant.id"), index=True)
    name: Mapped[str] = mapped_column(String(253))
    kind: Mapped[str] = mapped_column(String(32))
    ordinal: Mapped[int]
    document: Mapped[dict[str, Any]] = mapped_column(JSON())
    version: Mapped[int] = mapped_column(default=1)

    tenant: Mapped[Tenant | None] = relationship()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012

    @property
    def qualified_name(self) -> str:
        return f"{self.tenant.name}/{self.name}" if self.tenant else self.name


class RuleCounter(Base):
    """What a rule has counted on a host, as long as its policy is at `version`. `direction` and `number` (from 0) are
    the rule's; `seen_packets` and `seen_bytes` are what its flows said together when they were last looked at.

    Written often, and by nobody who waits for others: no keys tie it to what it is about. It goes with its policy.
    """

    __tablename__ = "rule_counter"

    policy_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    direction: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    host_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[int]
    packets: Mapped[int] = mapped_column(BigInteger)
    bytes: Mapped[int] = mapped_column(BigInteger)
    seen_packets: Mapped[int] = mapped_column(BigInteger)
    seen_bytes: Mapped[int] = mapped_column(BigInteger)
    last_hit: Mapped[datetime | None]


class Denial(Base):
    """A decision of a rule that was logged, in the names that all had then, and how often it was made.

    `key` is made of all that is not counted. Nothing is tied to what it names: it tells what was.
    """

    __tablename__ = "denial"

    key: Mapped[str] = mapped_column(String(32), primary_key=True)
    host: Mapped[str] = mapped_column(String(63))
    action: Mapped[str] = mapped_column(String(8))
    direction: Mapped[str] = mapped_column(String(8))
    policies: Mapped[list[str]]
    rule: Mapped[int | None]
    rule_name: Mapped[str] = mapped_column(String(100))
    source: Mapped[str] = mapped_column(String(127))
    source_address: Mapped[str] = mapped_column(String(39))
    destination: Mapped[str] = mapped_column(String(127))
    destination_address: Mapped[str] = mapped_column(String(39))
    protocol: Mapped[str] = mapped_column(String(8))
    port: Mapped[int | None]
    icmp_type: Mapped[int | None]
    icmp_code: Mapped[int | None]
    count: Mapped[int] = mapped_column(BigInteger)
    first_at: Mapped[datetime]
    last_at: Mapped[datetime] = mapped_column(index=True)
