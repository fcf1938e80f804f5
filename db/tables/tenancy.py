"""Tenants and whom they peer with, their networks, and each network's subnets."""

from __future__ import annotations

import ipaddress

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    String,
    UniqueConstraint,
    column,
    func,
    select,
    table,
)
from sqlalchemy.orm import Mapped, column_property, mapped_column, relationship

from db.tables.base import Base, Timestamped

# The counts below look at tables that are declared after these.
_endpoint = table("endpoint", column("tenant_id"), column("network_id"))
_network = table("network", column("tenant_id"))
_address = table("address", column("subnet_id"))


class Tenant(Timestamped, Base):
    """`id` is the tenant's 16-bit number, claimed from a pool: it is the conntrack zone on every host.

    `quota` is how many of what it may have at most; what is not in it is not bounded.
    """

    __tablename__ = "tenant"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    zone: Mapped[int] = mapped_column(index=True)
    labels: Mapped[dict[str, str]] = mapped_column(default=dict)
    track_all: Mapped[bool] = mapped_column(default=False)
    default_deny: Mapped[list[str]] = mapped_column(default=list, server_default="[]")
    quota: Mapped[dict[str, int]] = mapped_column(default=dict, server_default="{}")
    version: Mapped[int] = mapped_column(default=1)

    network_count: Mapped[int] = column_property(
        select(func.count()).select_from(_network).where(_network.c.tenant_id == id).scalar_subquery(),
        deferred=True,
        group="counts",
    )
    endpoint_count: Mapped[int] = column_property(
        select(func.count()).select_from(_endpoint).where(_endpoint.c.tenant_id == id).scalar_subquery(),
        deferred=True,
        group="counts",
    )

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class Peering(Base):
    """Two tenants that reach each other. The smaller number comes first, so there is one row for either order."""

    __tablename__ = "peering"
    __table_args__ = (
        UniqueConstraint("low_id", "high_id"),
        CheckConstraint("low_id < high_id", name="order"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    low_id: Mapped[int] = mapped_column(ForeignKey("tenant.id"))
    high_id: Mapped[int] = mapped_column(ForeignKey("tenant.id"), index=True)


class Network(Timestamped, Base):
    """`zone` is the tenant's, or the network's own when it is isolated. `mtu` empty: what the tunnels leave."""

    __tablename__ = "network"
    __table_args__ = (UniqueConstraint("tenant_id", "name"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenant.id"))
    name: Mapped[str] = mapped_column(String(63))
    vni: Mapped[int] = mapped_column(unique=True)
    zone: Mapped[int] = mapped_column(index=True)
    private: Mapped[bool] = mapped_column(default=False)
    isolated: Mapped[bool] = mapped_column(default=False)
    mtu: Mapped[int | None]
    labels: Mapped[dict[str, str]] = mapped_column(default=dict)
    version: Mapped[int] = mapped_column(default=1)

    tenant: Mapped[Tenant] = relationship()
    subnets: Mapped[list[Subnet]] = relationship(order_by="Subnet.id", passive_deletes="all")
    endpoint_count: Mapped[int] = column_property(
        select(func.count()).select_from(_endpoint).where(_endpoint.c.network_id == id).scalar_subquery(),
        deferred=True,
        group="counts",
    )

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012

    @property
    def qualified_name(self) -> str:
        return f"{self.tenant.name}/{self.name}"


class Subnet(Base):
    """One address family of a network.

    `low` and `high` are its first and last address in hex of full width, so that an overlap is a
    comparison of strings on any database. `block` is its number when it was carved from the cluster pool.
    """

    __tablename__ = "subnet"
    __table_args__ = (Index(None, "family", "low"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    network_id: Mapped[int] = mapped_column(ForeignKey("network.id", ondelete="CASCADE"), index=True)
    family: Mapped[int]
    cidr: Mapped[str] = mapped_column(String(43))
    low: Mapped[str] = mapped_column(String(32))
    high: Mapped[str] = mapped_column(String(32))
    gateway: Mapped[str] = mapped_column(String(39))
    pool_id: Mapped[int] = mapped_column(ForeignKey("pool.id"))
    block: Mapped[int | None] = mapped_column(Integer)

    used: Mapped[int] = column_property(
        select(func.count()).select_from(_address).where(_address.c.subnet_id == id).scalar_subquery(),
        deferred=True,
        group="counts",
    )

    @property
    def ip_network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        return ipaddress.ip_network(self.cidr)
