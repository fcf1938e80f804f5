"""Endpoints, their addresses, and whether their port is up."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db.tables.base import Base, BigId, Timestamped, utcnow
from db.tables.hosts import Host
from db.tables.tenancy import Network, Tenant


def port_name(endpoint_id: int) -> str:
    """The name of the endpoint's port on its host's bridge; an interface name holds 15 characters."""
    return f"wrn{endpoint_id}"


class Endpoint(Timestamped, Base):
    """One interface of a container. Its id is never used again; `request` is a digest of what was asked for."""

    __tablename__ = "endpoint"
    __table_args__ = (
        UniqueConstraint("tenant_id", "name"),
        UniqueConstraint("host_id", "container_id", "ifname"),
        UniqueConstraint("host_id", "ofport"),
        UniqueConstraint("network_id", "mac"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenant.id"))
    network_id: Mapped[int] = mapped_column(ForeignKey("network.id"))
    host_id: Mapped[int] = mapped_column(ForeignKey("host.id"))
    name: Mapped[str] = mapped_column(String(63))
    ofport: Mapped[int]
    mac: Mapped[str] = mapped_column(String(17))
    container_id: Mapped[str] = mapped_column(String(128))
    ifname: Mapped[str] = mapped_column(String(15))
    netns: Mapped[str] = mapped_column(String(255))
    labels: Mapped[dict[str, str]] = mapped_column(default=dict)
    ports: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    aliases: Mapped[list[str]] = mapped_column(default=list, server_default="[]")
    request: Mapped[str] = mapped_column(String(64))
    version: Mapped[int] = mapped_column(default=1)

    tenant: Mapped[Tenant] = relationship()
    network: Mapped[Network] = relationship()
    host: Mapped[Host] = relationship()
    addresses: Mapped[list[Address]] = relationship(order_by="Address.subnet_id", passive_deletes="all")
    status: Mapped[EndpointStatus | None] = relationship(passive_deletes="all")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012

    @property
    def qualified_name(self) -> str:
        return f"{self.tenant.name}/{self.name}"

    @property
    def port_name(self) -> str:
        return port_name(self.id)

    @property
    def state(self) -> str:
        """`up` or `down` as the host's agent last said, `pending` before it said anything."""
        return "pending" if self.status is None else self.status.state


class Address(Base):
    __tablename__ = "address"

    subnet_id: Mapped[int] = mapped_column(ForeignKey("subnet.id"), primary_key=True)
    ip: Mapped[str] = mapped_column(String(39), primary_key=True)
    prefix: Mapped[int]
    endpoint_id: Mapped[int] = mapped_column(ForeignKey("endpoint.id", ondelete="CASCADE"), index=True)

    def __str__(self) -> str:
        return f"{self.ip}/{self.prefix}"


class EndpointStatus(Base):
    """Written by reports; never part of a revision."""

    __tablename__ = "endpoint_status"

    endpoint_id: Mapped[int] = mapped_column(ForeignKey("endpoint.id", ondelete="CASCADE"), primary_key=True)
    state: Mapped[str] = mapped_column(String(8))
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)
