"""What agents ask and tell: enrolment, what their host should have, what they found there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from apiflask import APIBlueprint
from flask import Response

from db import hosts, tables, traces, traffic, wanted
from db.changes import current_revision
from db.errors import EnrolTokenUsed
from web.api.attachments import host_id
from web.api.replies import Json
from web.api.schemas.agent import Dumped, Enrol, Enrolled, Report, Reported, Traced, Wanted, WantedQuery
from web.auth.access import AGENTS, ENROLLERS, WATCHERS, allow, whoever
from web.auth.identity import refused
from web.live import Change
from web.state import changing, noting, reading, state

blueprint = APIBlueprint("agents", __name__, tag="Agents")

GATHER_SECONDS = 0.05
"""How long news for an agent is held back for more, so that many changes at once are one document."""
OWN_GATHER_SECONDS = 0.25
"""The same for its own attachments, which it knows already: they get the time instead."""


@blueprint.post("/enrol")
@allow(ENROLLERS)
@blueprint.input(Enrol, arg_name="body")
@blueprint.output(Enrolled, 201)
def enrol(body: Enrol) -> Json:
    """Enrol a host

    Uses up the one-time token; from then on the agent speaks with the token it gets here.
    """
    facts = {"address": body.address, "datapath_type": body.datapath_type, "facts": body.facts}
    try:
        with changing() as tx:
            host, token = hosts.enrol(tx, tx.session.get_one(tables.Token, whoever().id), **facts)
            return {"host": host.name, "token": token}
    except EnrolTokenUsed as error:
        refused(f"wrn_{whoever().id}_", error)
        raise


@blueprint.get("/hosts/<host>/wanted")
@allow(WATCHERS, own_host=True)
@blueprint.input(WantedQuery, "query", "query")
@blueprint.output(Wanted)
@blueprint.doc(responses={204: "Nothing for this host came after `after`."})
def get_wanted(host: str, query: WantedQuery) -> Json | Response:
    """Show what a host should have

    With `after` and `wait` the answer comes when there is something new for this host, or a question to its agent.
    """
    with reading() as session:
        id = host_id(session, host)
    live = state().live
    with live.patience(query.wait) as deadline:
        while True:
            looked = live.seen()
            with reading() as session:
                asked, dumps = traces.asked(session, id), traces.dumps_asked(session, id)
                if asked or dumps or query.after is None or wanted.changed_for_host(session, id, query.after):
                    return {**wanted.wanted(session, id).document(), "traces": asked, "dumps": dumps}
            left = deadline - time.monotonic()
            asked_now = id, looked.pulse
            if not live.wait_for_change(looked.revision, partial(concerns, host_id=id), left, asked=asked_now):
                return Response(status=204)
            unknown = partial(concerns_more, host_id=id)
            live.wait_for_change(looked.revision, unknown, OWN_GATHER_SECONDS, asked=asked_now)
            time.sleep(GATHER_SECONDS)


def concerns(changes: Sequence[Change], host_id: int) -> bool:
    """Whether the changes may concern the host: a network may have endpoints there or not, which is not known here."""
    return any(change.host_id == host_id or change.noun in ("network", *wanted.OF_ALL_HOSTS) for change in changes)


def concerns_more(changes: Sequence[Change], host_id: int) -> bool:
    """The same without the changes that the host's own agent made."""
    return concerns([one for one in changes if not is_own(one, host_id)], host_id)


def is_own(change: Change, host_id: int) -> bool:
    """Whether an endpoint came to the host or went, which its own agent does by attaching and detaching."""
    return change.noun == "endpoint" and change.host_id == host_id and change.op != "update"


@blueprint.put("/hosts/<host>/report")
@allow(AGENTS, own_host=True)
@blueprint.input(Report, arg_name="body")
@blueprint.output(Reported)
def report(host: str, body: Report) -> Json:
    """Report what an agent found

    It takes no revision, unless the underlay is another than before.
    """
    state().history.begin()
    with noting() as session:
        id, now = host_id(session, host), datetime.now(UTC)
        hosts.report(session, id, body.model_dump(exclude={"traffic"}), now)
        if body.traffic is not None:
            traffic.count(session, id, body.traffic, now)
        found = body.underlay and (body.underlay.prefix if body.underlay.bridged else None, body.underlay.mtu)
        if not found or not hosts.is_new_underlay(session, id, *found):
            return {"revision": current_revision(session)}
    with changing() as tx:
        hosts.set_underlay(tx, id, *found)
    return {"revision": tx.revision}


@blueprint.put("/hosts/<host>/traces/<int:trace>")
@allow(AGENTS, own_host=True)
@blueprint.input(Traced, arg_name="body")
@blueprint.output(Reported)
def answer(host: str, trace: int, body: Traced) -> Json:
    """Answer what the switch would do with a packet

    The question came with what the host should have. Refused when whoever asked has given up.
    """
    with noting() as session:
        traces.answer(session, host_id(session, host), trace, body.model_dump(), datetime.now(UTC))
        return {"revision": current_revision(session)}


@blueprint.put("/hosts/<host>/dumps/<int:dump>")
@allow(AGENTS, own_host=True)
@blueprint.input(Dumped, arg_name="body")
@blueprint.output(Reported)
def answer_dump(host: str, dump: int, body: Dumped) -> Json:
    """Answer which flows are installed

    The question came with what the host should have. Refused when whoever asked has given up.
    """
    with noting() as session:
        traces.answer(session, host_id(session, host), dump, body.model_dump(), datetime.now(UTC))
        return {"revision": current_revision(session)}
