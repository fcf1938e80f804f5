"""Zones: the numbers of sets of networks that may talk. Decides when one is taken and when it is free again.

A zone belongs to whoever is in it, tenants or one isolated network, and is given back by the last who leaves. Zone 0 is
nobody's. Does not know who may be in a zone with whom.
"""

from __future__ import annotations

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from db import allocate
from db.changes import Transaction
from db.tables import Network, Pool, Shared, Tenant

GLOBAL = 0


def take_turn(session: Session) -> None:
    """One at a time may change who reaches whom, or which addresses there are. Call it before reading either.

    Always zone before VNI, as a new tenant does: two who lock them the other way round would wait for each other.
    """
    order = select(Pool.id).where(Pool.id.in_((Shared.ZONE, Shared.VNI))).order_by(Pool.id)
    session.execute(order.with_for_update()).all()


def take(tx: Transaction, remedy: str) -> int:
    return allocate.claim(tx.session, Shared.ZONE, tx.now, what="the range of zones", remedy=remedy)


def leave(tx: Transaction, zone: int) -> None:
    """After somebody left `zone`: nobody in it is nobody's."""
    if zone == GLOBAL:
        return
    held = select(exists().where(Tenant.zone == zone) | exists().where(Network.zone == zone))
    if not tx.session.execute(held).scalar_one():
        allocate.release(tx.session, Shared.ZONE, zone, tx.now)
