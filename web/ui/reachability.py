"""The matrix of who may reach whom, on which ports, and why. It is computed from the model when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flask import Response, request, url_for
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from controller.calc.judge import PROTOCOLS, Asked
from controller.calc.matrix import Cell, Line, Names, by_endpoint, by_label, by_network, by_tenant, grouped, matrix
from controller.calc.preview import Effort
from controller.world import World
from db import snapshot, tenants
from db.changes import current_revision
from db.errors import DomainError
from db.tables import Endpoint
from web.auth.access import SIGHT, TENANT_READERS, allow
from web.problems import FieldFault, Problem, from_domain
from web.state import reading
from web.ui.frame import blueprint, render

MOST_TENANTS = 12
MOST_ENDPOINTS = 4000
MOST_GROUPS = 40
MOST_JUDGED = 1500
LINES = 30
GROUPINGS: dict[str, Names] = {"tenant": by_tenant, "network": by_network, "endpoint": by_endpoint}
NUMBERS = {name: number for number, name in PROTOCOLS.items()}
ECHO = {"icmp": 8 << 8, "icmpv6": 128 << 8}


class Wanted(NamedTuple):
    """What the page was asked for, as it was written."""

    by: str
    label: str
    tenants: list[str]
    protocol: str
    port: str


@blueprint.get("/policies/matrix")
@allow(TENANT_READERS, by=SIGHT)
def reachability() -> str | Response:
    with reading() as session:
        known = [row.name for row in tenants.find(session, limit=MOST_TENANTS + 1).items]
    wanted = _wanted(len(known))
    try:
        return _answered(wanted, known)
    except (Problem, DomainError) as refused:
        problem = refused if isinstance(refused, Problem) else from_domain(refused)
        return Response(render("matrix.html", "Policies", wanted=wanted, names=[], problem=problem), problem.status)


def _answered(wanted: Wanted, known: Sequence[str]) -> str:
    if len(wanted.tenants) > MOST_TENANTS:
        raise _too_much(f"{len(wanted.tenants)} tenants")
    service = _service(wanted)
    with reading() as session:
        rows = [tenants.get(session, name) for name in wanted.tenants or known[:MOST_TENANTS]]
        ids = [row.id for row in rows]
        many = _endpoints(session, ids)
        if many > MOST_ENDPOINTS:
            raise _too_much(f"{many} endpoints")
        world = World().apply(current_revision(session), snapshot.among(session, ids))
    naming = by_label(wanted.label) if wanted.by == "label" else GROUPINGS[wanted.by]
    groups = grouped(world, naming)
    names = list(groups)[:MOST_GROUPS]
    effort = Effort(MOST_JUDGED)
    cells = matrix(world, {name: groups[name] for name in names}, effort, service)
    row, column = request.args.get("row"), request.args.get("column")
    chosen = cells.get((row or "", column or ""))
    return render(
        "matrix.html",
        "Policies",
        wanted=wanted,
        names=names,
        left_out=len(groups) - len(names),
        more_tenants=not wanted.tenants and len(known) > MOST_TENANTS,
        spent=effort.spent,
        cells=cells,
        chosen=chosen,
        row=row,
        column=column,
        lines=chosen.lines[:LINES] if chosen else [],
        link=lambda **cell: url_for("ui.reachability", **_asked(wanted), **cell),
        trace=trace_of,
        short=short,
    )


def _wanted(tenants: int) -> Wanted:
    by, label = request.args.get("by", ""), request.args.get("label", "app").strip()[:317]
    by = by if by in GROUPINGS or by == "label" else "tenant" if tenants > 1 else "network"
    protocol, port = request.args.get("protocol", ""), request.args.get("port", "").strip()
    if protocol not in NUMBERS:
        protocol = ""
    if not protocol or protocol in ECHO:
        port = ""
    return Wanted(by, label, request.args.get("tenants", "").replace(",", " ").split(), protocol, port)


def _service(wanted: Wanted) -> tuple[int, int] | None:
    """A protocol and a port as in `Asked`; None: whatever there is."""
    protocol, port = wanted.protocol, wanted.port
    if not protocol:
        return None
    if protocol in ECHO:
        return NUMBERS[protocol], ECHO[protocol]
    if not port.isdecimal() or len(port) > 5 or not 1 <= int(port) <= 65535:
        message = f"'{port[:20]}' is not a port; use 1 to 65535."
        raise Problem("invalid", message, [FieldFault("port", message)])
    return NUMBERS[protocol], int(port)


def _asked(wanted: Wanted) -> dict[str, str]:
    asked = {"by": wanted.by, "tenants": ",".join(wanted.tenants), "protocol": wanted.protocol, "port": wanted.port}
    return {name: value for name, value in asked.items() if value} | (
        {"label": wanted.label} if wanted.by == "label" else {}
    )


def _too_much(what: str) -> Problem:
    return Problem("invalid", f"{what} are more than a matrix can show; name at most {MOST_TENANTS} tenants.")


def _endpoints(session: Session, ids: Sequence[int]) -> int:
    query = select(func.count()).select_from(Endpoint).where(Endpoint.tenant_id.in_(ids))
    return session.execute(query).scalar_one()


def trace_of(line: Line) -> str | None:
    """Where the connection that a line speaks of is traced."""
    asked: Asked | None = line.said.asked
    if asked is None:
        return None
    protocol = PROTOCOLS[asked.protocol]
    more: dict[str, int | str] = {"protocol": protocol, "version": asked.version}
    if protocol in ECHO:
        more |= {"type": asked.port >> 8, "code": asked.port & 0xFF}
    else:
        more["port"] = asked.port
    return url_for("ui.trace", source=line.source, destination=line.destination, **more)


def short(cell: Cell) -> str:
    """What stands in the cell: a word, or what little is allowed."""
    if cell.verdict != "partly":
        return {"allowed": "all", "denied": "none", "nobody": "", "unknown": "?"}[cell.verdict]
    return cell.allowed[0] if len(cell.allowed) == 1 else f"{len(cell.allowed)} kinds"
