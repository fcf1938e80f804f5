"""What an operator sets for the whole installation: the cluster pool that subnets are carved from, and isolation."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db import allocate
from db.addressing import IPNetwork, bounds, parse_subnet
from db.changes import Transaction
from db.errors import Conflict, Invalid
from db.tables import Network, Pool, Setting, Shared, Subnet

CLUSTER = "cluster_pool"
ISOLATION = "isolation"
FLAT, MULTITENANT = "flat", "multitenant"
CLUSTER_ID = 1
"""The id of what holds for all tenants, as a changed object: there is one."""


class Isolation(NamedTuple):
    """What holds between tenants that neither share a zone nor peer: `multitenant` keeps them apart, `flat` does not.

    `version` grows with each change.
    """

    mode: str
    version: int


def isolation(session: Session) -> Isolation:
    return Isolation(**session.execute(select(Setting.value).where(Setting.name == ISOLATION)).scalar_one())


def is_flat(session: Session) -> bool:
    return isolation(session).mode == FLAT


class Carving(NamedTuple):
    """One family of the cluster pool: `whole` is cut into subnets of `prefix`, numbered from 0."""

    whole: IPNetwork
    prefix: int
    pool_id: int

    @property
    def blocks(self) -> int:
        return 1 << (self.prefix - self.whole.prefixlen)

    def block(self, number: int) -> IPNetwork:
        start = int(self.whole.network_address) + (number << (self.whole.max_prefixlen - self.prefix))
        return type(self.whole)((start, self.prefix))


def cluster_pool(session: Session) -> list[Carving]:
    """IPv4 first; a family that is not set is missing."""
    value = session.execute(select(Setting.value).where(Setting.name == CLUSTER)).scalar_one()
    pools = (("v4", Shared.CLUSTER4), ("v6", Shared.CLUSTER6))
    return [
        Carving(ipaddress.ip_network(value[family]), value[f"{family}_prefix"], pool)
        for family, pool in pools
        if value.get(family)
    ]


def set_cluster_pool(
    tx: Transaction, *, v4: str | None, v4_prefix: int = 24, v6: str | None, v6_prefix: int = 64
) -> None:
    """Moves the pool of which subnets are carved; only while nothing is carved of it and nobody is in the way."""
    session = tx.session
    if v4 is None and v6 is None:
        raise Invalid("the cluster pool needs at least one family", "give an IPv4 or an IPv6 range", CLUSTER)
    for family, text, prefix, pool_id, largest in (
        (4, v4, v4_prefix, Shared.CLUSTER4, 30),
        (6, v6, v6_prefix, Shared.CLUSTER6, 64),
    ):
        if allocate.in_use(session, pool_id):
            raise Conflict(
                f"the cluster pool of IPv{family} cannot change while subnets are carved of it",
                "remove the networks that have one",
                CLUSTER,
            )
        if text is None:
            continue
        whole = _parse_range(text, family)
        if not max(whole.prefixlen, 64 if family == 6 else 8) <= prefix <= largest or prefix - whole.prefixlen > 24:
            raise Invalid(f"{whole} cannot be carved in subnets of /{prefix}", f"use up to /{largest}", CLUSTER)
        _refuse_overlap(session, whole)
        blocks = Carving(whole, prefix, pool_id).blocks
        session.execute(update(Pool).where(Pool.id == pool_id).values(first=0, next=0, last=blocks - 1))
    value = {"v4": v4, "v4_prefix": v4_prefix, "v6": v6, "v6_prefix": v6_prefix}
    session.execute(update(Setting).where(Setting.name == CLUSTER).values(value=value))


def _parse_range(text: str, family: int) -> IPNetwork:
    # A range may be wider than any subnet: /48 is usual for IPv6.
    whole = ipaddress.ip_network(text) if family == 6 else parse_subnet(text, CLUSTER)
    if whole.version != family:
        raise Invalid(f"{text} is not an IPv{family} range", f"give an IPv{family} range", CLUSTER)
    return whole


def _refuse_overlap(session: Session, whole: IPNetwork) -> None:
    low, high = bounds(whole)
    query = select(Network, Subnet.cidr).join(Subnet).where(Subnet.family == whole.version)
    for network, cidr in session.execute(query.where(Subnet.low <= high, Subnet.high >= low).limit(1)):
        raise Conflict(f"{whole} overlaps {cidr} of network {network.qualified_name}", "choose another range", CLUSTER)
