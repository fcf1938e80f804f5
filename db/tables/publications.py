"""Published ports: how what is outside reaches an endpoint, by an address of its host."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db.tables.base import Base, BigId, Timestamped
from db.tables.endpoints import Endpoint


class Publication(Timestamped, Base):
    """`count` ports of an endpoint from `port` on, by those of its host from `host_port` on. An empty `host_ip` is any
    of the host's addresses, 0.0.0.0 and :: any of one family. `by_runtime`: the container's runtime asked for it.
    `mesh` is the endpoint's number among those that all hosts publish, and 0 where its own host alone does."""

    __tablename__ = "publication"
    __table_args__ = (Index(None, "protocol", "host_port"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenant.id"), index=True)
    endpoint_id: Mapped[int] = mapped_column(ForeignKey("endpoint.id", ondelete="CASCADE"), index=True)
    protocol: Mapped[str] = mapped_column(String(4))
    host_ip: Mapped[str] = mapped_column(String(39), default="")
    host_port: Mapped[int]
    port: Mapped[int]
    count: Mapped[int]
    by_runtime: Mapped[bool] = mapped_column(default=False)
    mesh: Mapped[int] = mapped_column(default=0, server_default="0")

    endpoint: Mapped[Endpoint] = relationship()

    @property
    def host_ports(self) -> range:
        return range(self.host_port, self.host_port + self.count)
