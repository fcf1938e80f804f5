"""Names over HTTP: static records, Warren's domain, what each host's resolver knows, and who knows what."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from apiflask import APIBlueprint
from flask import Response

from db import directory, records
from db.changes import Transaction
from web import present
from web.api.agents import OWN_GATHER_SECONDS, is_own
from web.api.applied import applied, previewable, removed
from web.api.attachments import host_id
from web.api.replies import Answer, Json, conditional, if_match, listed, shown
from web.api.revisions import all_but, unaware
from web.api.schemas.dns import (
    Dns,
    DnsChange,
    Names,
    NamesKnown,
    NamesKnownQuery,
    NamesQuery,
    Record,
    RecordPage,
    RecordPut,
    RecordQuery,
)
from web.api.schemas.isolation import ChangeQuery, Gone, after
from web.auth.access import AGENTS, ANYONE_KNOWN, CHANGERS, READERS, SIGHT, TENANT_ADMINS, TENANT_READERS, allow
from web.live import Change, Held
from web.state import noting, reading, reading_all, state

blueprint = APIBlueprint("dns", __name__, tag="Names")

OF_TENANT = "/dns/records/<tenant>/<name>"
OF_NETWORK = "/dns/records/<tenant>/<network>/<name>"
REPLACED: dict[int | str, dict[str, str | dict[str, dict[str, Any]]]] = {
    200: {
        "description": "It was there already, and stands for these addresses now.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ChangedRecord"}}},
    }
}


@blueprint.get("/dns")
@allow(READERS)
@blueprint.output(Dns)
def get() -> Answer:
    """Show the DNS settings"""
    return shown(lambda session: records.settings(session)._asdict())


@blueprint.patch("/dns")
@allow(CHANGERS)
@blueprint.input(DnsChange, arg_name="body")
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(after(Dns))
@conditional
@previewable
def set_domain(body: DnsChange, query: ChangeQuery) -> Answer | Response:
    """Change the DNS settings

    Running containers keep the search domains with which they were started.
    """
    return applied(lambda tx: records.set_domain(tx, body.domain, version=if_match())._asdict(), query, beside=False)


@blueprint.get("/dns/records")
@allow(TENANT_READERS, by=SIGHT)
@blueprint.input(RecordQuery, "query", "query")
@blueprint.output(RecordPage)
def find(query: RecordQuery) -> Json:
    """List static records"""
    return listed(
        lambda session: records.find(session, **query.model_dump()),
        present.records,
    )


@blueprint.get(OF_TENANT)
@allow(TENANT_READERS)
@blueprint.output(Record)
def get_of_tenant(tenant: str, name: str) -> Answer:
    """Show a tenant's record"""
    return shown(lambda session: present.record(session, records.get(session, tenant, name)))


@blueprint.put(OF_TENANT)
@allow(TENANT_ADMINS)
@blueprint.input(RecordPut, arg_name="body")
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(after(Record), 201)
@blueprint.doc(responses=REPLACED)
@conditional
@previewable
def put_of_tenant(tenant: str, name: str, body: RecordPut, query: ChangeQuery) -> Answer | Response:
    """Create or replace a tenant's record"""
    return _put(tenant, name, body.addresses, query)


@blueprint.delete(OF_TENANT)
@allow(TENANT_ADMINS)
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(Gone)
@conditional
@previewable
def delete_of_tenant(tenant: str, name: str, query: ChangeQuery) -> Answer | Response:
    """Delete a tenant's record"""
    return _delete(tenant, name, query)


@blueprint.get(OF_NETWORK)
@allow(TENANT_READERS)
@blueprint.output(Record)
def get_of_network(tenant: str, network: str, name: str) -> Answer:
    """Show a network's record"""
    return shown(lambda session: present.record(session, records.get(session, f"{tenant}/{network}", name)))


@blueprint.put(OF_NETWORK)
@allow(TENANT_ADMINS)
@blueprint.input(RecordPut, arg_name="body")
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(after(Record), 201)
@blueprint.doc(responses=REPLACED)
@conditional
@previewable
def put_of_network(tenant: str, network: str, name: str, body: RecordPut, query: ChangeQuery) -> Answer | Response:
    """Create or replace a network's record"""
    return _put(f"{tenant}/{network}", name, body.addresses, query)


@blueprint.delete(OF_NETWORK)
@allow(TENANT_ADMINS)
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(Gone)
@conditional
@previewable
def delete_of_network(tenant: str, network: str, name: str, query: ChangeQuery) -> Answer | Response:
    """Delete a network's record"""
    return _delete(f"{tenant}/{network}", name, query)


@blueprint.get("/hosts/<host>/names")
@allow(AGENTS, own_host=True)
@blueprint.input(NamesQuery, "query", "query")
@blueprint.output(Names)
@blueprint.doc(responses={204: "Nothing that this host may see came after `after`."})
def names(host: str, query: NamesQuery) -> Json | Response:
    """Show the names that a host's resolver knows

    With `after` and `wait` the answer comes when a name changed. `after` says, too, that the host answers from the
    names of that revision.
    """
    now = datetime.now(UTC)
    with reading() as session:
        id = host_id(session, host)
        is_noted = directory.is_noted(session, id, query.after, now)
    if not is_noted:
        with noting() as session:
            directory.note(session, id, query.after, now)
    live, is_news = state().live, False
    with live.patience(query.wait) as deadline:
        while True:
            looked = live.seen()
            with reading() as session:
                if query.after is None or is_news or directory.changed_for_host(session, id, query.after):
                    return directory.document(session, id, query.after)
            if not live.wait_for_change(looked.revision, _concerns, deadline - time.monotonic()):
                return Response(status=204)
            live.wait_for_change(looked.revision, partial(_of_others, host_id=id), OWN_GATHER_SECONDS)
            is_news = any(change.host_id == id for change in live.since(looked.revision) or ())


@blueprint.get("/revisions/<int:revision>/names")
@allow(ANYONE_KNOWN)
@blueprint.input(NamesKnownQuery, "query", "query")
@blueprint.output(NamesKnown)
def known(revision: int, query: NamesKnownQuery) -> Json:
    """Show which hosts do not know a revision's names yet

    With `wait` the answer comes when all do, or when the time is over. A host whose agent is silent is not waited for.
    """
    live = state().live
    with reading_all() as session:
        concerned = all_but(session, query.but, directory.concerned(session, revision))
    held = Held(lambda lag: lag.holds_names(revision, concerned), concerned)
    with live.patience(query.wait) as deadline:
        while True:
            pulse = live.seen().pulse
            with reading() as session:
                waiting = unaware(session, revision, concerned)
            if not waiting or not live.wait_for_pulse(pulse, deadline - time.monotonic(), held):
                return {"revision": revision, "waiting": waiting}


def _concerns(changes: Sequence[Change]) -> bool:
    """Whether a look at the database is worth it; whose names changed is seen there."""
    return any(change.noun in (*directory.OF_A_TENANT, *directory.OF_ALL) for change in changes)


def _of_others(changes: Sequence[Change], host_id: int) -> bool:
    """Whether there is more than what the host's own agent attached and detached, which it knows of."""
    return _concerns([one for one in changes if not is_own(one, host_id)])


def _put(scope: str, name: str, addresses: Sequence[str], query: ChangeQuery) -> Answer | Response:
    made = False

    def put(tx: Transaction) -> Json:
        nonlocal made
        record, made = records.put(tx, scope, name, addresses, version=if_match())
        return present.record(tx.session, record)

    answer = applied(put, query, beside=False, tells=stands)
    if isinstance(answer, Response):
        return answer
    body, _, headers = answer
    return body, 201 if made else 200, headers


def _delete(scope: str, name: str, query: ChangeQuery) -> Answer | Response:
    def delete(tx: Transaction) -> Json:
        gone = present.record(tx.session, records.get(tx.session, scope, name))
        records.delete(tx, scope, name, version=if_match())
        return gone

    return removed(delete, query, tells=lambda gone: [ends(gone)])


def stands(made: Json) -> list[str]:
    return [f"{made['full_name']} stands for {', '.join(made['addresses'])}."]


def ends(item: Json) -> str:
    return f"{item['full_name']} is not a name any more."
