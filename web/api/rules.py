"""What rules of policies did: what they counted, and what they denied."""

from __future__ import annotations

from apiflask import APIBlueprint

from db import counters, denials
from web import present
from web.api.replies import Json, listed
from web.api.schemas.rule import DenialQuery, Denials, RulePage, RuleQuery
from web.auth.access import SIGHT, TENANT_READERS, allow, sight
from web.state import reading

blueprint = APIBlueprint("rules", __name__, tag="Policies")


@blueprint.get("/rules")
@allow(TENANT_READERS, by=SIGHT)
@blueprint.input(RuleQuery, "query", "query")
@blueprint.output(RulePage)
def find(query: RuleQuery) -> Json:
    """List rules of policies

    With what each has counted. The cluster's policies come first; a page has the rules of `limit` policies.
    """
    return listed(lambda session: counters.find(session, **query.model_dump()), present.rules)


@blueprint.get("/denials")
@allow(TENANT_READERS, by=SIGHT)
@blueprint.input(DenialQuery, "query", "query")
@blueprint.output(Denials)
def denied(query: DenialQuery) -> Json:
    """List what was denied

    The newest first; a few thousand are kept. What is alike is one item with a number.
    """
    with reading() as session:
        return {"items": present.denials(denials.find(session, **query.model_dump(), seen=sight()))}
