"""Numbers that are handed out once: the pools and what is claimed of each. Ranges of which subnets are carved."""

from __future__ import annotations

from enum import IntEnum

from sqlalchemy import BigInteger, Float, ForeignKey, Identity, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base, Timestamped


class Shared(IntEnum):
    """Ids of the pools that exist once. Pools of a host's ofports or a subnet's addresses come after them."""

    TENANT = 1
    ZONE = 2
    VNI = 3
    MESH = 0


FIRST_OWN_POOL = 16


class Pool(Base):
    """`first`..`last`, of which everything from `next` on was never handed out; with `gaps`, some below it neither."""

    __tablename__ = "pool"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012

    id: Mapped[int] = mapped_column(Identity(start=FIRST_OWN_POOL), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    first: Mapped[int] = mapped_column(BigInteger)
    last: Mapped[int] = mapped_column(BigInteger)
    next: Mapped[int] = mapped_column(BigInteger)
    gaps: Mapped[bool] = mapped_column(default=False)
    rest_seconds: Mapped[int]


class Claim(Base):
    """A number that was handed out; in use while `released_at` (seconds since 1970) is empty.

    The primary key is the guarantee that a number has one holder.
    """

    __tablename__ = "claim"
    __table_args__ = (Index(None, "pool_id", "released_at"),)

    pool_id: Mapped[int] = mapped_column(ForeignKey("pool.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    released_at: Mapped[float | None] = mapped_column(Float(53))


class AddressPool(Timestamped, Base):
    """A range that is cut into subnets of `prefix`; their numbers are those of the pool with the same id.

    `low` and `high` are as in `Subnet`. `state`: `enabled`, `disabled` (no new subnets) or `draining` (no new subnets,
    and no new addresses in those there are).
    """

    __tablename__ = "address_pool"

    id: Mapped[int] = mapped_column(ForeignKey("pool.id"), primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(63), unique=True)
    family: Mapped[int]
    cidr: Mapped[str] = mapped_column(String(43))
    low: Mapped[str] = mapped_column(String(32))
    high: Mapped[str] = mapped_column(String(32))
    prefix: Mapped[int]
    state: Mapped[str] = mapped_column(String(8))
    version: Mapped[int] = mapped_column(default=1)

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012
