"""What an operator sets for the whole installation: isolation."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db.tables import Setting

ISOLATION = "isolation"
FLAT, MULTITENANT = "flat", "multitenant"
CLUSTER_ID = 1
"""The id of what holds for all tenants, as a changed object: there is one."""


class Isolation(NamedTuple):
    """What holds between tenants that neither share a zone nor peer: `multitenant` keeps them apart, `flat` does not.

    `version` grows with each change, also of what else holds for all tenants.
    """

    mode: str
    version: int


_ISOLATION = select(Setting.value).where(Setting.name == ISOLATION)


def isolation(session: Session) -> Isolation:
    return Isolation(**session.execute(_ISOLATION).scalar_one())


def set_isolation(session: Session, mode: str) -> Isolation:
    """The next version, with this mode."""
    new = Isolation(mode, isolation(session).version + 1)
    session.execute(update(Setting).where(Setting.name == ISOLATION).values(value=new._asdict()))
    return new


def is_flat(session: Session) -> bool:
    return isolation(session).mode == FLAT
