"""Numbers that are handed out once: the pools and what is claimed of each."""

from __future__ import annotations

from enum import IntEnum

from sqlalchemy import BigInteger, Float, ForeignKey, Identity, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from db.tables.base import Base


class Shared(IntEnum):
    """Ids of the pools that exist once. Pools of a host's ofports or a subnet's addresses come after them."""

    TENANT = 1
    ZONE = 2
    VNI = 3
    CLUSTER4 = 4
    CLUSTER6 = 5


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
