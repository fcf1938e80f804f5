"""The first page: how it is in one sentence, what needs attention, what changed, how long changes take."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import quantiles
from typing import Any

from sqlalchemy.orm import Session

from db import audit, controllers, ipam, summary
from db.convergence import ALIVE
from web.auth.access import SIGHT, TENANT_READERS, admits, allow, sight, whoever
from web.history import growth, rates
from web.pace import Measured
from web.state import reading, state
from web.ui import words
from web.ui.alerts import Controller, alerts
from web.ui.frame import blueprint, render
from web.ui.nouns import NOUNS, nouns

ON_OVERVIEW = 8
CHANGES = 8
PERCENTILES = (50, 95, 99)


@blueprint.get("/")
@allow(TENANT_READERS, by=SIGHT)
def overview() -> str:
    return of_all() if sight() is None else of_own()


def of_own() -> str:
    """For people of tenants: what is theirs, and nothing of the cluster."""
    with reading() as session:
        counts = summary.counts(session)
        found = {name: noun.page(session, ON_OVERVIEW)[0] for name, noun in nouns().items()}
        changes = last_changes(session)
    return render(
        "overview.html", "Overview", counts=counts, found=found, lead=words.own_overview(counts), changes=changes
    )


def of_all() -> str:
    now, samples = datetime.now(UTC), state().history.samples()
    pace, measured = state().stopwatch.now(), state().stopwatch.measured()
    with reading() as session:
        counts = summary.counts(session)
        found = {name: noun.page(session, ON_OVERVIEW)[0] for name, noun in NOUNS.items()}
        hosts, _ = NOUNS["hosts"].page(session, summary.MOST_HOSTS)
        running = [
            Controller(
                one.name, one.target, one.seen_at, now - one.seen_at < ALIVE, max(0, pace.revision - one.revision)
            )
            for one in controllers.find(session)
        ]
        nearly_full = ipam.warnings(session, now)
        storage = summary.storage(session)
        changes = last_changes(session)
    found["hosts"] = sorted(hosts, key=_badness)[:ON_OVERVIEW]
    return render(
        "overview.html",
        "Overview",
        counts=counts,
        found=found,
        lead=words.overview(hosts, counts, pace, now),
        changes=changes,
        alerts=alerts(hosts, running, nearly_full, growth(samples), now),
        health=words.host_states(hosts),
        controllers=running,
        storage=storage,
        live_after=percentiles(measured),
        measured=[[round(one.at, 1), round(one.milliseconds, 1)] for one in measured],
        drops=rates(samples),
    )


def _badness(host: dict[str, Any]) -> tuple[int, str]:
    order = ("silent", "degraded", "up", "enrolled", "new")
    return order.index(host["state"]), host["name"]


def percentiles(measured: Sequence[Measured]) -> dict[int, float]:
    """Milliseconds that this share (in per cent) of the changes took at most."""
    if len(measured) < 2:
        return {}
    cuts = quantiles([one.milliseconds for one in measured], n=100, method="inclusive")
    return {share: cuts[share - 1] for share in PERCENTILES}


def last_changes(session: Session, **which: Any) -> list[dict[str, Any]] | None:
    """Of the audit log, as much as the asker may see there; None: nothing, ever."""
    if not admits("audit.find", whoever()):
        return None
    seen = sight()
    if seen is not None:
        seen = {name: id for name, id in seen.items() if whoever().grants.tenants[name].role == "admin"}
    page = audit.find(
        session, tenants=None if seen is None else seen.values(), limit=CHANGES, changes_only=True, **which
    )
    entries = [row.document() | {"at": row.at} for row in page.items]
    # What only counted up a version, as an agent's report does, is nothing that somebody changed.
    return [one for one in entries if one["op"] != "update" or words.changed(one)]
