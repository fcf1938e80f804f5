"""Policies as documents."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, String, UniqueConstraint
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
