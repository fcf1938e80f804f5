"""DNS names that policies say, and what they stand for."""

from __future__ import annotations

from apiflask import APIBlueprint

from db import resolved
from web import present
from web.api.replies import Json, listed
from web.api.schemas.name import ResolvedNamePage, ResolvedNameQuery
from web.auth.access import READERS, allow

blueprint = APIBlueprint("names", __name__, tag="Policies")


@blueprint.get("/names")
@allow(READERS)
@blueprint.input(ResolvedNameQuery, "query", "query")
@blueprint.output(ResolvedNamePage)
def find(query: ResolvedNameQuery) -> Json:
    """List DNS names

    Names in policies for which an endpoint was told an address that is still valid.
    """
    return listed(lambda session: resolved.find(session, **query.model_dump()), present.names)
