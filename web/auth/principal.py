"""Somebody who has shown who they are."""

from __future__ import annotations

from typing import NamedTuple

ADMIN = "admin"
VIEWER = "viewer"
AGENT = "agent"
ENROL = "enrol"
CNI = "cni"
ROLES = (ADMIN, VIEWER, AGENT, ENROL, CNI)


class Principal(NamedTuple):
    """`kind` is "user" (a session) or "token"; `host` is set when a token speaks for one host only."""

    kind: str
    id: int
    name: str
    role: str
    host: str | None = None
    host_id: int | None = None

    def __str__(self) -> str:
        return f"{'User' if self.kind == 'user' else 'Token'} '{self.name}'"
