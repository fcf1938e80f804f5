"""Questions to hosts' agents: what would your switch do with this packet?"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, BigId


class Trace(Base):
    """Lives for seconds: until whoever asked has the answer, or has given up. Never part of a revision.

    `kind` "packet": what the switch would do with `packet`, a flow in the syntax of ovs-fields(7). "flows": which flows
    are installed.
    """

    __tablename__ = "trace"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    host_id: Mapped[int] = mapped_column(ForeignKey("host.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(8), default="packet", server_default="packet")
    packet: Mapped[str] = mapped_column(Text)
    asked_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]
    answer: Mapped[dict[str, Any]] = mapped_column(default=dict)
