"""How fast an endpoint may send and receive: what was asked for when it was attached, within what its tenant allows.

A tenant's quota of bandwidth (bit/s) is the most that each of its endpoints may send, and the most that it may receive.
It is no sum: a tenant's packets leave many hosts, and none of them sees what the others let through. With a quota of
endpoints beside it the sum is bounded as well. Hosts' agents hold endpoints to it; a burst is in bits.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select

from db.changes import Transaction
from db.errors import Invalid, QuotaExceeded
from db.tables import Endpoint, Tenant

QUOTA = "bandwidth"
LEAST, LARGEST = 8_000, 2**53
"""bit/s: a kilobyte; beyond it JSON is not exact."""
CHANGED = "bandwidth"
"""The noun in the log for a host on which endpoints have other limits than before; the id is the host's."""
DIRECTIONS = ("ingress", "egress")
NONE = {f"{way}_{what}": 0 for way in DIRECTIONS for what in ("rate", "burst")}
"""`ingress` is into the container. 0: no limit."""
_BURSTS = 10
"""A tenth of a second's worth: what may come at once where nothing else was asked for."""


def asked(given: Mapping[str, int] | None, quota: Mapping[str, int], tenant: str) -> dict[str, int]:
    """What to keep of what an attachment asks for; refuses more than the tenant allows."""
    found = {name: given[name] for name in NONE if given.get(name)} if given else {}
    for way in DIRECTIONS:
        rate = found.get(f"{way}_rate", 0)
        if bool(rate) != bool(found.get(f"{way}_burst", 0)):
            missing = f"{way}_{'burst' if rate else 'rate'}"
            raise Invalid(f"bandwidth has no {missing}", f"give {way}_rate and {way}_burst together", "bandwidth")
        if rate > (most := quota.get(QUOTA, rate)):
            raise QuotaExceeded(
                f"{rate} bit/s ({way}_rate) are asked for, and an endpoint of tenant {tenant} may have {most}",
                f"ask for less, or have an administrator raise it (`warren tenant quota {tenant} {QUOTA}=N`)",
                "bandwidth",
            )
    return found


def limits(asked: Mapping[str, int], quota: Mapping[str, int]) -> dict[str, int]:
    """What holds for an endpoint at the moment."""
    found, most = {**NONE, **asked}, quota.get(QUOTA)
    for way in DIRECTIONS:
        if most is not None and not 0 < found[f"{way}_rate"] <= most:
            found |= {f"{way}_rate": most, f"{way}_burst": most // _BURSTS}
    return found


def quota_changed(tx: Transaction, tenant: Tenant) -> None:
    """Tells the agents that hold the tenant's endpoints to the quota."""
    hosts = select(Endpoint.host_id).where(Endpoint.tenant_id == tenant.id).distinct()
    for host_id in tx.session.execute(hosts).scalars():
        tx.record(CHANGED, host_id, "update", host_id=host_id)
