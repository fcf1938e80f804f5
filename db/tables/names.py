"""What DNS names stand for, as endpoints were told."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db.tables.base import Base, BigId


class ResolvedName(Base):
    """A name with at least one address; its id is never used again."""

    __tablename__ = "resolved_name"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(255), unique=True)

    addresses: Mapped[list[ResolvedAddress]] = relationship(cascade="all, delete-orphan", passive_deletes=True)


class ResolvedAddress(Base):
    """`until` is when the newest answer ends, of those that were written down; the address counts a little longer."""

    __tablename__ = "resolved_address"

    name_id: Mapped[int] = mapped_column(ForeignKey("resolved_name.id", ondelete="CASCADE"), primary_key=True)
    ip: Mapped[str] = mapped_column(String(39), primary_key=True)
    until: Mapped[datetime] = mapped_column(index=True)
