"""Somebody who has shown who they are, and what they may do."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from db.bindings import NOTHING, Grants

ADMIN = "admin"
VIEWER = "viewer"
AGENT = "agent"
ENROL = "enrol"
CNI = "cni"
MEMBER = "member"
"""Who has no role in the cluster, but may have some in tenants."""
TENANT_ADMIN, TENANT_OPERATOR, TENANT_VIEWER = TENANT_ROLES = ("tenant-admin", "tenant-operator", "tenant-viewer")
ROLES = (ADMIN, VIEWER, *TENANT_ROLES, AGENT, CNI, ENROL)
"""As rules of routes name them."""


class Principal(NamedTuple):
    """`kind` is "user" (a session) or "token"; `host` is set when a token speaks for one host only.

    `role` is that in the cluster. `user_id` is whose the token or session is, if anybody's; `expires_at` is a token's.
    """

    kind: str
    id: int
    name: str
    role: str
    host: str | None = None
    host_id: int | None = None
    user_id: int | None = None
    grants: Grants = NOTHING
    expires_at: datetime | None = None

    def __str__(self) -> str:
        return f"{'User' if self.kind == 'user' else 'Token'} '{self.name}'"

    def words(self) -> list[str]:
        """Its roles, as people read them."""
        return [self.role, *(f"tenant-{own.role} of {name}" for name, own in self.grants.tenants.items())]

    def roles_in(self, tenant: str) -> set[str]:
        """As rules name them."""
        own = self.grants.tenants.get(tenant)
        return {self.role} | ({f"tenant-{own.role}"} if own else set())


def of_person(
    kind: str, id: int, name: str, user_id: int | None, grants: Grants, expires_at: datetime | None = None
) -> Principal:
    role = grants.cluster or MEMBER
    return Principal(kind, id, name, role, user_id=user_id, grants=grants, expires_at=expires_at)
