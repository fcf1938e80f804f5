"""Who changed what: rows that are only ever added, each with a digest of itself and of the one before."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base


class AuditRow(Base):
    """One object that somebody changed. `entry` is what was hashed; other columns repeat what is looked for."""

    __tablename__ = "audit"

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(index=True)
    actor: Mapped[str] = mapped_column(String(127), index=True)
    noun: Mapped[str] = mapped_column(String(16))
    tenant: Mapped[str | None] = mapped_column(String(63), index=True)
    entry: Mapped[str] = mapped_column(Text)
    hash: Mapped[str] = mapped_column(String(64))

    def document(self) -> dict[str, Any]:
        return {**json.loads(self.entry), "hash": self.hash}


class AuditHead(Base):
    """One row, `id` 1: the number and the hash of the newest entry, so that none is taken off the end unnoticed."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(String(64))
