"""What hosts have counted: of their endpoints, and between each other."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base


class HostTraffic(Base):
    """One row for each host, with the newest counters only; written often, never part of a revision.

    `endpoints` by the endpoint's id: packets, bytes and dropped packets received, and those sent, as the host's agent
    read them at `counted_at`. `tunnels` by the other host's id: packets and bytes sent, and those received, as a
    controller read them.
    """

    __tablename__ = "host_traffic"

    host_id: Mapped[int] = mapped_column(ForeignKey("host.id", ondelete="CASCADE"), primary_key=True)
    counted_at: Mapped[datetime | None]
    endpoints: Mapped[dict[str, Any]] = mapped_column(default=dict)
    tunnels: Mapped[dict[str, Any]] = mapped_column(default=dict)
