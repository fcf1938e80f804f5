"""Tenants and whom they peer with, their networks, and each network's subnets."""

from __future__ import annotations

import ipaddress
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    String,
    UniqueConstraint,
    column,
    false,
    func,
    select,
    table,
    true,
)
from sqlalchemy.orm import Mapped, column_property, mapped_column, relationship

from db.tables.base import Base, Timestamped, utcnow
from db.tables.hosts import Host
from db.tables.pools import AddressPool

# The counts below look at tables that are declared after these.
_endpoint = table("endpoint", column("tenant_id"), column("network_id"))
_network = table("network", column("tenant_id"))
_address = table("address", column("subnet_id"))


class Tenant(Timestamped, Base):
    """`id` is the tenant's 15-bit number, claimed from a pool: it is the conntrack zone on every host.

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


class Physical(Base):
    """A physical segment that networks are on. From `id` follows its port's number on every bridge."""

    __tablename__ = "physical"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(12), unique=True)


class Network(Timestamped, Base):
    """`zone` is the tenant's, or the network's own when it is isolated. `mtu` empty: what the transport leaves. `vlan`
    is the tag on the physical segment, 0 for frames without one; no two networks on a segment have the same.

    `plan` says whether hosts share each subnet's addresses (`shared`) or have blocks of them (`per-host`); `strict`:
    a host never takes an address of another's block.
    """

    __tablename__ = "network"
    __table_args__ = (
        UniqueConstraint("tenant_id", "name"),
        UniqueConstraint("physical_id", "vlan"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int] = mapped_column(ForeignKey("tenant.id"))
    name: Mapped[str] = mapped_column(String(63))
    vni: Mapped[int] = mapped_column(unique=True)
    zone: Mapped[int] = mapped_column(index=True)
    private: Mapped[bool] = mapped_column(default=False)
    isolated: Mapped[bool] = mapped_column(default=False)
    plan: Mapped[str] = mapped_column(String(8), default="shared")
    strict: Mapped[bool] = mapped_column(default=False)
    broadcast: Mapped[bool] = mapped_column(default=False, server_default=false())
    outbound: Mapped[bool] = mapped_column(default=True, server_default=true())
    mtu: Mapped[int | None]
    transport: Mapped[str] = mapped_column(String(16), default="vxlan", server_default="vxlan")
    cross_subnet: Mapped[bool] = mapped_column(default=False, server_default=false())
    physical_id: Mapped[int | None] = mapped_column(ForeignKey("physical.id"))
    vlan: Mapped[int] = mapped_column(default=0, server_default="0")
    labels: Mapped[dict[str, str]] = mapped_column(default=dict)
    version: Mapped[int] = mapped_column(default=1)

    tenant: Mapped[Tenant] = relationship()
    physical: Mapped[Physical | None] = relationship(lazy="joined")
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
    """A range of addresses of a network, which may have several of a family.

    `low` and `high` are its first and last address in hex of full width, so that an overlap is a
    comparison of strings on any database. `block` is its number in `address_pool`, when it was carved of one.
    `ip_range` is where addresses are chosen when nobody asks for one. Nobody gets those of `excludes` (addresses and
    CIDRs) and `aux`, by name. `block_size` is the prefix length of hosts' blocks, whose numbers are `block_pool_id`'s;
    empty in a network with the plan `shared`. On a physical segment there may be no gateway.
    """

    __tablename__ = "subnet"
    __table_args__ = (Index(None, "family", "low"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    network_id: Mapped[int] = mapped_column(ForeignKey("network.id", ondelete="CASCADE"), index=True)
    family: Mapped[int]
    cidr: Mapped[str] = mapped_column(String(43))
    low: Mapped[str] = mapped_column(String(32))
    high: Mapped[str] = mapped_column(String(32))
    gateway: Mapped[str | None] = mapped_column(String(39))
    pool_id: Mapped[int] = mapped_column(ForeignKey("pool.id"))
    block: Mapped[int | None] = mapped_column(Integer)
    address_pool_id: Mapped[int | None] = mapped_column(ForeignKey("address_pool.id"), index=True)
    ip_range: Mapped[str | None] = mapped_column(String(43))
    excludes: Mapped[list[str]] = mapped_column(default=list)
    aux: Mapped[dict[str, str]] = mapped_column(default=dict)
    block_size: Mapped[int | None]
    block_pool_id: Mapped[int | None] = mapped_column(ForeignKey("pool.id"))

    address_pool: Mapped[AddressPool | None] = relationship()

    used: Mapped[int] = column_property(
        select(func.count()).select_from(_address).where(_address.c.subnet_id == id).scalar_subquery(),
        deferred=True,
        group="counts",
    )

    @property
    def ip_network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        return ipaddress.ip_network(self.cidr)


class Block(Base):
    """A host's part of a subnet: the addresses whose offsets are `number` and the following, in units of a block."""

    __tablename__ = "block"

    subnet_id: Mapped[int] = mapped_column(ForeignKey("subnet.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    host_id: Mapped[int] = mapped_column(ForeignKey("host.id"), index=True)

    host: Mapped[Host] = relationship()


class Reservation(Base):
    """An address that is kept for endpoints called `name`, or that ask for it by that name, until `expires_at`."""

    __tablename__ = "reservation"
    __table_args__ = (Index(None, "name"),)

    subnet_id: Mapped[int] = mapped_column(ForeignKey("subnet.id", ondelete="CASCADE"), primary_key=True)
    ip: Mapped[str] = mapped_column(String(39), primary_key=True)
    name: Mapped[str] = mapped_column(String(63))
    expires_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utcnow)

    subnet: Mapped[Subnet] = relationship()
