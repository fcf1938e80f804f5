"""Isolation: who is joined with whom, who peers, and what holds for the whole cluster."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from web.api.schemas.common import LONGEST_WAIT_SECONDS, Contract, Deleted, Name, Query, Revision, Version, example
from web.api.schemas.network import Network
from web.api.schemas.revision import HostProgress
from web.api.schemas.tenant import Tenant

Mode = Literal["flat", "multitenant"]


class ChangeQuery(Query):
    wait: float = Field(
        0, ge=0, le=LONGEST_WAIT_SECONDS, description="Seconds to wait until every host concerned has confirmed."
    )
    dry_run: bool = Field(False, description="Change nothing and answer with what the change would do.")


class Join(Contract):
    """Whose zone to share."""

    model_config = ConfigDict(json_schema_extra=example({"to": "beta"}))

    to: Name


class Peer(Contract):
    """Whom to peer with."""

    model_config = ConfigDict(json_schema_extra=example({"with": "beta"}))

    other: Name = Field(alias="with")


class Progress(Contract):
    """How far a change has come."""

    state: Literal["applied", "pending", "failed"] = Field(
        description="`applied`: every host concerned has confirmed this revision."
    )
    hosts: list[HostProgress] = Field(description="The hosts concerned, and what they say.")


class Changed(Contract):
    """An answer to a change."""

    live: Progress | None = Field(description="Where it is live; null: told to who asks with `wait`.")


class Applied(Changed, Progress):
    """The same, always told, and once more beside it: of what has no state of its own."""

    @model_validator(mode="before")
    @classmethod
    def beside(cls, given: Any) -> Any:
        return {**given["live"], **given} if isinstance(given, dict) and given.get("live") else given


class Gone(Applied, Deleted):
    """What was asked for is gone, and where that is live."""


@cache
def after(model: type[BaseModel]) -> type[BaseModel]:
    """`model` after a change, and where the change is live."""
    return create_model(f"Changed{model.__name__}", __base__=(Changed, model), __doc__=model.__doc__)


class ChangedTenant(Applied, Tenant):
    """A tenant after a change, and where the change is live."""


class ChangedNetwork(Applied, Network):
    """A network after a change, and where the change is live."""


TunnelPorts = Annotated[
    dict[str, Annotated[int, Field(ge=1, le=65535)]],
    Field(
        max_length=8,
        description="UDP ports on which hosts take tunnels' packets, by transport.",
        examples=[{"vxlan": 4789}],
    ),
]


class Cluster(Contract):
    """Settings for all tenants."""

    isolation: Mode = Field(
        description="`multitenant`: tenants are apart unless they are joined, peer, or one is global. "
        "`flat`: all reach all, but for private and isolated networks."
    )
    tunnel_ports: TunnelPorts
    version: Version
    revision: Revision


class ClusterChange(Contract):
    """What to change; fields that are left out stay."""

    model_config = ConfigDict(json_schema_extra=example({"isolation": "flat"}))

    isolation: Mode | None = Field(None, description="Null leaves it.")
    tunnel_ports: TunnelPorts = Field({})


class ChangedCluster(Applied, Cluster):
    """The cluster after a change, and where the change is live."""
