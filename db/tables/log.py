"""The revision and the log of what changed at each one."""

from __future__ import annotations

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base


class Revision(Base):
    """One row, `id` 1. `number` goes up by one in each transaction that changes the network."""

    __tablename__ = "revision"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger)


class ChangeRow(Base):
    """Which object a revision touched. The object as it is now is read from its own table."""

    __tablename__ = "change"

    revision: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    noun: Mapped[str] = mapped_column(String(16), primary_key=True)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    op: Mapped[str] = mapped_column(String(8))  # create, update, delete
    tenant_id: Mapped[int | None]
    host_id: Mapped[int | None]
