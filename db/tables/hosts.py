"""Hosts, what is known of their state, and the controllers their bridges connect to."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, String, Text, column, false, func, select, table
from sqlalchemy.orm import Mapped, column_property, mapped_column, relationship

from db.tables.base import Base, Timestamped, utcnow

DATAPATH_PREFIX = 0x7761 << 48
"""`wa`, the first two bytes of every bridge's datapath id; the rest is the host's id."""

_endpoint = table("endpoint", column("host_id"))


class Host(Timestamped, Base):
    """A machine with a bridge. `address` is where its tunnels end, `pool_id` its ofports. `mtu` is its underlay's: what
    an operator said when `mtu_fixed`, else what its agent found last. `prefix` is that of the underlay's subnet, where
    the bridge has a way to it."""

    __tablename__ = "host"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    address: Mapped[str | None] = mapped_column(String(39), unique=True)
    datapath_type: Mapped[str] = mapped_column(String(8), default="system")
    mtu: Mapped[int] = mapped_column(default=1500)
    mtu_fixed: Mapped[bool] = mapped_column(default=False, server_default=false())
    prefix: Mapped[int | None]
    labels: Mapped[dict[str, str]] = mapped_column(default=dict)
    facts: Mapped[dict[str, Any]] = mapped_column(default=dict)
    pool_id: Mapped[int] = mapped_column(ForeignKey("pool.id"))
    enrolled_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)

    status: Mapped[HostStatus] = relationship(passive_deletes="all")
    endpoint_count: Mapped[int] = column_property(
        select(func.count()).select_from(_endpoint).where(_endpoint.c.host_id == id).scalar_subquery(),
        deferred=True,
        group="counts",
    )

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012

    @property
    def datapath_id(self) -> int:
        return DATAPATH_PREFIX | self.id


class HostStatus(Base):
    """What the controller and the agent say of a host. Written often; never part of a revision.

    `wanted_revision` is the newest revision that changed this host's program, `confirmed_revision` the newest
    one its bridge has confirmed. `controller` is who last spoke for it. `names_revision` is that
    of the names that its resolver answers from, as of `names_seen_at`. `tunnels_revision` is the newest whose tunnels
    and segments the bridge has ports for, `ports_revision` whose published ports the host's rules follow, and
    `limits_revision` to whose limits endpoints are held; None while no agent has said so. `closed` has the published
    ports that are not open there, by id, each with the reason.
    """

    __tablename__ = "host_status"

    host_id: Mapped[int] = mapped_column(ForeignKey("host.id", ondelete="CASCADE"), primary_key=True)
    controller: Mapped[str | None] = mapped_column(String(63))
    connected: Mapped[bool] = mapped_column(default=False)
    wanted_revision: Mapped[int] = mapped_column(BigInteger, default=0)
    confirmed_revision: Mapped[int] = mapped_column(BigInteger, default=0)
    error: Mapped[str] = mapped_column(Text, default="")
    flows: Mapped[int] = mapped_column(default=0)
    drops: Mapped[dict[str, int]] = mapped_column(default=dict)
    repaired: Mapped[int] = mapped_column(default=0)
    agent_seen_at: Mapped[datetime | None]
    agent_report: Mapped[dict[str, Any]] = mapped_column(default=dict)
    names_revision: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    names_seen_at: Mapped[datetime | None]
    tunnels_revision: Mapped[int | None] = mapped_column(BigInteger)
    ports_revision: Mapped[int | None] = mapped_column(BigInteger)
    limits_revision: Mapped[int | None] = mapped_column(BigInteger)
    closed: Mapped[dict[str, str]] = mapped_column(default=dict, server_default="{}")
    updated_at: Mapped[datetime] = mapped_column(default=utcnow)


class Controller(Base):
    """A controller process: `target` is what bridges connect to, `revision` what it has computed up to."""

    __tablename__ = "controller"

    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    target: Mapped[str] = mapped_column(String(80))
    revision: Mapped[int] = mapped_column(BigInteger, default=0)
    seen_at: Mapped[datetime]
