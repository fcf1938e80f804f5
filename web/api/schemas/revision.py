"""Revisions: what was changed up to a point, and where it is live."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from web.api.schemas.common import Contract, Name, Query, WaitQuery


class HostProgress(Contract):
    host: Name
    state: Literal["applied", "pending", "failed", "disconnected"]
    error: str = Field(description="What the host refused; empty when nothing.", examples=[""])


class Revision(Contract):
    """How far a revision has come."""

    revision: int
    state: Literal["applied", "pending", "failed"] = Field(
        description="`applied`: every host concerned has confirmed it."
    )
    hosts: list[HostProgress] = Field(description="The hosts concerned.")
    unaware: list[Name] = Field([], description="With `names_but`: the hosts that answer from older names still.")


class RevisionWaitQuery(WaitQuery):
    host: Name | SkipJsonSchema[None] = Field(None, description="Look at this host only.")
    names_but: Name | SkipJsonSchema[None] = Field(
        None, description="Wait for the resolvers, too, of all hosts but this, as `GET /revisions/{n}/names` does."
    )


class Change(Contract):
    """One object that changed in a revision."""

    revision: int
    noun: Literal[
        *("tenant", "network", "subnet", "endpoint", "host", "peering", "cluster", "policy", "name", "controller"),
        *("setting", "tunnels", "record", "dns", "publication", "bandwidth", "mesh", "ports"),
    ]
    id: int
    op: Literal["create", "update", "delete"]


class RevisionsQuery(Query):
    after: int | SkipJsonSchema[None] = Field(
        None, ge=0, le=2**53, description="Only changes after this revision; left out: the latest."
    )
    limit: int = Field(100, ge=1, le=1000, description="How many changes at most.")


class Revisions(Contract):
    """The change log, oldest first."""

    revision: int = Field(description="The latest revision.")
    items: list[Change]


class EventsQuery(Query):
    after: int | SkipJsonSchema[None] = Field(
        None, ge=0, le=2**53, description="Continue after this revision; left out: from now on."
    )
    pulse: int | SkipJsonSchema[None] = Field(
        None,
        ge=0,
        le=2**53,
        description="Continue after this pulse, too, and be told of changes in turns: for who asks for much at each.",
    )
