"""Endpoints, their addresses, and whether their port is up."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from db.tables.base import Base, BigId, Timestamped, utcnow
from db.tables.hosts import Host
from db.tables.tenancy import Network, Tenant


def port_name(endpoint_id: int, interface: str = "") -> str:
    """The name of the endpoint's port on its host's bridge; an interface name holds 15 characters."""
    return interface or f"wrn{endpoint_id}"


class Endpoint(Timestamped, Base):
    """One interface of a container. Its id is never used again; `request` is a digest of what was asked for.
    `interface` is the name of the host's own interface that is its port, empty where the agent makes one."""

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
    interface: Mapped[str] = mapped_column(String(15), default="")
    labels: Mapped[dict[str, str]] = mapped_column(default=dict)
    ports: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    aliases: Mapped[list[str]] = mapped_column(default=list, server_default="[]")
    bandwidth: Mapped[dict[str, int]] = mapped_column(default=dict, server_default="{}")
    request: Mapped[str] = mapped_column(String(64))
    move_to: Mapped[str | None] = mapped_column(String(63))
    """The host whose agent may take it."""
    version: Mapped[int] = mapped_column(default=1)

    # Only read: nothing is written by way of them, and a flush need not put six tables in order for one row.
    tenant: Mapped[Tenant] = relationship(viewonly=True)
    network: Mapped[Network] = relationship(viewonly=True)
    host: Mapped[Host] = relationship(viewonly=True)
    addresses: Mapped[list[Address]] = relationship(order_by="Address.subnet_id", viewonly=True)
    allowed: Mapped[list[AllowedAddress]] = relationship(order_by="AllowedAddress.cidr", viewonly=True)
    status: Mapped[EndpointStatus | None] = relationship(viewonly=True)

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012

    @property
    def qualified_name(self) -> str:
        return f"{self.tenant.name}/{self.name}"

    @property
    def port_name(self) -> str:
        return port_name(self.id, self.interface)

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


class AllowedAddress(Base):
    """An address or a range that the endpoint may use besides its own; of those that share one, one is active.

    `cidr` always has its prefix length; an empty `mac` is the endpoint's own.
    """

    __tablename__ = "allowed_address"
    __table_args__ = (
        Index(
            "uq_allowed_address_active",
            *("network_id", "cidr"),
            unique=True,
            sqlite_where=text("active"),
            postgresql_where=text("active"),
        ),
    )

    endpoint_id: Mapped[int] = mapped_column(ForeignKey("endpoint.id", ondelete="CASCADE"), primary_key=True)
    cidr: Mapped[str] = mapped_column(String(43), primary_key=True)
    network_id: Mapped[int] = mapped_column(ForeignKey("network.id"), index=True)
    mac: Mapped[str] = mapped_column(String(17))
    active: Mapped[bool]


class EndpointStatus(Base):
    """Written by reports; never part of a revision."""

    __tablename__ = "endpoint_status"

    endpoint_id: Mapped[int] = mapped_column(ForeignKey("endpoint.id", ondelete="CASCADE"), primary_key=True)
    state: Mapped[str] = mapped_column(String(8))
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)
