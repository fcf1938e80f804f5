"""Which policies are about an endpoint."""

from __future__ import annotations

from sqlalchemy.orm import Session

from controller.world import World
from db import snapshot
from db.changes import current_revision
from web.api.replies import Json


def selecting(session: Session, endpoint: int) -> list[Json]:
    """The policies that select an endpoint, the cluster's too, in the order of their names."""
    world = World().apply(current_revision(session), snapshot.between(session, endpoint, endpoint))
    found = world.endpoints.get(endpoint)
    if found is None:
        return []
    chosen = world.policies_selecting(world.identity_of(found))
    return sorted(
        (
            {
                "name": policy.name,
                "tier": policy.tier.name.lower(),
                "ingress": None if policy.ingress is None else len(policy.ingress),
                "egress": None if policy.egress is None else len(policy.egress),
            }
            for policy in chosen
        ),
        key=lambda policy: str(policy["name"]),
    )
