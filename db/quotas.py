"""How much a tenant may have at most. Decides what is counted; whoever makes one more asks here, in its transaction.

What a tenant has already stays when its quota becomes smaller. Bandwidth is what each endpoint may have, so it is
counted nowhere; see `db.bandwidth`.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from db import bandwidth
from db.errors import Invalid, QuotaExceeded
from db.tables import Address, Endpoint, Network, Policy, Tenant

COUNTED = ("networks", "endpoints", "addresses", "policies")
NOUNS = (*COUNTED, bandwidth.QUOTA)
LARGEST = 2**31 - 1


def changed(quota: Mapping[str, int], changes: Mapping[str, int | None]) -> dict[str, int]:
    """`quota` with `changes` laid over it; None takes a bound away."""
    for noun, most in changes.items():
        if noun not in NOUNS:
            raise Invalid(f"there is no quota of {noun!r}", f"use {', '.join(NOUNS)}", "quota")
        least, largest = (bandwidth.LEAST, bandwidth.LARGEST) if noun == bandwidth.QUOTA else (0, LARGEST)
        if most is not None and not least <= most <= largest:
            raise Invalid(f"{most} {noun} is not possible", f"use {least} to {largest}", "quota")
    merged: dict[str, int | None] = {**quota, **changes}
    return {noun: most for noun in NOUNS if (most := merged.get(noun)) is not None}


def used(session: Session, tenant_id: int, noun: str) -> int:
    query: Select[int] = select(func.count())
    match noun:
        case "networks":
            query = query.select_from(Network).where(Network.tenant_id == tenant_id)
        case "endpoints":
            query = query.select_from(Endpoint).where(Endpoint.tenant_id == tenant_id)
        case "addresses":
            query = query.select_from(Address).join(Endpoint, Endpoint.id == Address.endpoint_id)
            query = query.where(Endpoint.tenant_id == tenant_id)
        case _:
            query = query.select_from(Policy).where(Policy.tenant_id == tenant_id)
    return session.execute(query).scalar_one()


def take(session: Session, tenant_id: int, quota: Mapping[str, int], more: Mapping[str, int]) -> None:
    """Refuses `more` than is left. Who takes of a tenant with such a quota takes turns; others are not held up."""
    bounded = [noun for noun in more if noun in quota]
    if not bounded:
        return
    lock = select(Tenant.name).where(Tenant.id == tenant_id).with_for_update(key_share=True)
    name = session.execute(lock).scalar_one()
    for noun in bounded:
        has = used(session, tenant_id, noun)
        if has + more[noun] > quota[noun]:
            raise QuotaExceeded(
                f"tenant {name} has {has} {noun} and may have {quota[noun]}",
                f"remove some, or have an administrator raise it (`warren tenant quota {name} {noun}=N`)",
            )
