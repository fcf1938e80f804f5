"""Hands out numbers: each once, the unused ones first, then the one that has rested longest.

A pool is a range with a counter; a claim is a row whose key guarantees that a number has one holder. The counter goes
on from a number that somebody asked for by name, as people who number their machines expect; what it jumped over
comes when it has reached the end. A freed number rests, so that whoever still speaks to its last holder does not
reach the next one. Knows nothing of what the numbers mean.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import bindparam, delete, func, insert, select, text, update
from sqlalchemy.orm import Session

from db.errors import Exhausted
from db.tables import Claim, Pool

_NEXT = text("UPDATE pool SET next = next + 1 WHERE id = :pool AND next <= last RETURNING next - 1")
_TAKE_UNUSED = text(
    "INSERT INTO claim (pool_id, number) VALUES (:pool, :number) ON CONFLICT DO NOTHING RETURNING number"
)
_TAKE_EXACT = text(
    "INSERT INTO claim (pool_id, number) VALUES (:pool, :number) "
    "ON CONFLICT (pool_id, number) DO UPDATE SET released_at = NULL WHERE claim.released_at IS NOT NULL "
    "RETURNING number"
)
_GO_ON_AFTER = text(
    "UPDATE pool SET gaps = (gaps OR next < :number), next = :number + 1 "
    "WHERE id = :pool AND next <= :number AND :number BETWEEN first AND last"
)
_HAS_GAPS = text("SELECT gaps FROM pool WHERE id = :pool")
_FIRST_GAP = text(
    "SELECT min(n) FROM (SELECT first AS n FROM pool WHERE id = :pool "
    "UNION ALL SELECT number + 1 FROM claim WHERE pool_id = :pool) AS candidate "
    "WHERE n BETWEEN (SELECT first FROM pool WHERE id = :pool) AND (SELECT last FROM pool WHERE id = :pool) "
    "AND NOT EXISTS (SELECT 1 FROM claim WHERE pool_id = :pool AND number = n)"
)
_FREE_WITHIN = text(
    "SELECT min(n) FROM (SELECT CAST(:first AS BIGINT) AS n "
    "UNION ALL SELECT number + 1 FROM claim WHERE pool_id = :pool AND number BETWEEN :first AND :last) AS candidate "
    "WHERE n <= :last AND NOT EXISTS (SELECT 1 FROM claim WHERE pool_id = :pool AND number = n)"
)
_NO_GAPS = text("UPDATE pool SET gaps = :no WHERE id = :pool")
_RELEASE = text("UPDATE claim SET released_at = :now WHERE pool_id = :pool AND number = :number")

_of_pool = Pool.id == bindparam("pool")
# A number outside of the pool's range was asked for by name, or chosen before the range was another.
_in_range = Claim.number.between(
    select(Pool.first).where(_of_pool).scalar_subquery(), select(Pool.last).where(_of_pool).scalar_subquery()
)
_rested = (
    select(Claim.number)
    .where(
        Claim.pool_id == bindparam("pool"),
        _in_range,
        Claim.released_at <= bindparam("now") - select(Pool.rest_seconds).where(_of_pool).scalar_subquery(),
    )
    .order_by(Claim.released_at, Claim.number)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_TAKE_RESTED = (
    update(Claim.__table__)  # type: ignore[arg-type]
    .where(
        Claim.pool_id == bindparam("pool"), Claim.number == _rested.scalar_subquery(), Claim.released_at.is_not(None)
    )
    .values(released_at=None)
    .returning(Claim.number)
)
_within = Claim.number.between(bindparam("first"), bindparam("last"))
_TAKE_RESTED_WITHIN = (
    update(Claim.__table__)  # type: ignore[arg-type]
    .where(
        Claim.pool_id == bindparam("pool"),
        Claim.number == _rested.where(_within).scalar_subquery(),
        Claim.released_at.is_not(None),
    )
    .values(released_at=None)
    .returning(Claim.number)
)


def create_pool(session: Session, kind: str, first: int, last: int, rest_seconds: int) -> int:
    values = {"kind": kind, "first": first, "last": last, "next": first, "rest_seconds": rest_seconds}
    return session.execute(insert(Pool).values(values).returning(Pool.id)).scalar_one()


def delete_pool(session: Session, pool_id: int) -> None:
    session.execute(delete(Pool).where(Pool.id == pool_id))


def claim(session: Session, pool_id: int, now: datetime, *, what: str, remedy: str) -> int:
    """The next free number. `what` and `remedy` are for the sentence when there is none: "subnet 10.0.0.0/30"."""
    while (number := session.execute(_NEXT, {"pool": pool_id}).scalar()) is not None:
        if session.execute(_TAKE_UNUSED, {"pool": pool_id, "number": number}).scalar() is not None:
            return int(number)
    if (number := _claim_gap(session, pool_id)) is not None:
        return number
    rested = session.execute(_TAKE_RESTED, {"pool": pool_id, "now": now.timestamp()}).scalar()
    if rested is None:
        raise exhausted(session, pool_id, now, what, remedy)
    return int(rested)


def claim_within(session: Session, pool_id: int, first: int, last: int, now: datetime) -> int | None:
    """A number from `first` to `last`: the lowest that was never handed out, else the one that has rested longest.

    Looks at every claim between the two, so it is for short ranges.
    """
    place = {"pool": pool_id, "first": first, "last": last}
    while (number := session.execute(_FREE_WITHIN, place).scalar()) is not None:
        if session.execute(_TAKE_UNUSED, {"pool": pool_id, "number": number}).scalar() is not None:
            return int(number)
    rested: int | None = session.execute(_TAKE_RESTED_WITHIN, {**place, "now": now.timestamp()}).scalar()
    return rested


def claim_exact(session: Session, pool_id: int, number: int, *, go_on: bool = False) -> bool:
    """This number, resting or not, and whether or not the pool would ever hand it out; False when it is in use.

    With `go_on` the counter goes on from there.
    """
    place = {"pool": pool_id, "number": number}
    if session.execute(_TAKE_EXACT, place).scalar() is None:
        return False
    if go_on:
        session.execute(_GO_ON_AFTER, place)
    return True


def release(session: Session, pool_id: int, number: int, now: datetime) -> None:
    session.execute(_RELEASE, {"pool": pool_id, "number": number, "now": now.timestamp()})


def in_use(session: Session, pool_id: int) -> int:
    query = select(func.count()).where(Claim.pool_id == pool_id, Claim.released_at.is_(None))
    return session.execute(query).scalar_one()


def _claim_gap(session: Session, pool_id: int) -> int | None:
    """The lowest number that the counter jumped over."""
    while session.execute(_HAS_GAPS, {"pool": pool_id}).scalar():
        number = session.execute(_FIRST_GAP, {"pool": pool_id}).scalar()
        if number is None:
            session.execute(_NO_GAPS, {"pool": pool_id, "no": False})
        elif session.execute(_TAKE_UNUSED, {"pool": pool_id, "number": number}).scalar() is not None:
            return int(number)
    return None


def exhausted(session: Session, pool_id: int, now: datetime, what: str, remedy: str) -> Exhausted:
    """The refusal, which tells whether waiting helps."""
    oldest, resting = session.execute(
        select(func.min(Claim.released_at), func.count()).where(
            Claim.pool_id == pool_id, Claim.released_at.is_not(None), _in_range
        ),
        {"pool": pool_id},
    ).one()
    used = in_use(session, pool_id)
    if oldest is None:
        return Exhausted(f"{what} is full: all {used} are in use", remedy)
    rest = session.execute(select(Pool.rest_seconds).where(Pool.id == pool_id)).scalar_one()
    wait = max(0.0, oldest + rest - now.timestamp())
    return Exhausted(
        f"{what} is full: {used} are in use, and {resting} freed a moment ago rest until nobody speaks to them",
        f"try again in {wait:.0f} s, or {remedy}",
        retry_after=wait,
    )
