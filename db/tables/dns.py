"""Static DNS records: names that no endpoint has."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, BigId, Timestamped


class DnsRecord(Timestamped, Base):
    """`scope` is in words where it belongs: `acme`, or `acme/web`, which no other tenant or network can come to be."""

    __tablename__ = "dns_record"
    __table_args__ = (UniqueConstraint("scope", "name"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenant.id", ondelete="CASCADE"), index=True)
    network_id: Mapped[int | None] = mapped_column(ForeignKey("network.id", ondelete="CASCADE"), index=True)
    scope: Mapped[str] = mapped_column(String(127))
    name: Mapped[str] = mapped_column(String(63))
    addresses: Mapped[list[str]]
    version: Mapped[int] = mapped_column(default=1)

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012
