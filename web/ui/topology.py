"""The picture of the network: boxes (hosts, tenants or networks) that hold endpoints, and tunnels between hosts.

It decides what is in a box and where its place is; how it is drawn is `topology.js`'s business. A box has the place of
its number, so it stays where it is however many come and go. The table below the picture says the same in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Response, jsonify, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from db import gathered, tenants
from db.errors import DomainError
from db.gathered import Gathered
from web.auth.access import SIGHT, TENANT_READERS, allow, sight, unseen
from web.problems import Problem, from_domain
from web.state import reading
from web.ui import words
from web.ui.frame import blueprint, render, text_asked
from web.ui.nouns import NOUNS
from web.ui.tunnels import tunnels

Json = dict[str, Any]
GROUPS = {"host": "tenant", "tenant": "network", "network": "host"}
"""What boxes may be, and what the parts of a box's bar are then."""
MOST_BOXES = 300
MOST_IN_BOX = 400
BUSIEST = 8
FEW_HOSTS = 8
"""So many hosts' tunnels are all drawn; of more, those that are in trouble and those of the host that is looked at."""
NOTHING: Json = {"part": "", "boxes": [], "tunnels": [], "hues": {}}


@blueprint.get("/topology")
@allow(TENANT_READERS, by=SIGHT)
def topology() -> str | Response:
    try:
        with reading() as session:
            drawn = draw(session)
    except (Problem, DomainError) as refused:
        problem = refused if isinstance(refused, Problem) else from_domain(refused)
        return Response(_page(NOTHING, problem.detail), problem.status)
    return _page(drawn, lead(drawn))


def _page(drawn: Json, said: str) -> str:
    return render("topology.html", "Topology", lead=said, drawn=drawn, asked=_written(), groups=list(GROUPS))


@blueprint.get("/topology/boxes")
@allow(TENANT_READERS, by=SIGHT)
def topology_boxes() -> ResponseReturnValue:
    with reading() as session:
        return jsonify(draw(session))


@blueprint.get("/topology/inside")
@allow(TENANT_READERS, by=SIGHT)
def topology_inside() -> ResponseReturnValue:
    """The endpoints of one box, at most so many as can be told apart."""
    which = asked()
    box = request.args.get("box", "")[:200]
    with reading() as session:
        rows = gathered.inside(session, which["group"], box, tenant=which["tenant"], limit=MOST_IN_BOX)
    return jsonify(
        [
            {
                "id": row.id,
                "name": row.name,
                "tenant": row.tenant,
                "network": row.network,
                "host": row.host,
                "state": row.state or "pending",
                "addresses": list(row.addresses),
                "url": url_for("ui.endpoint", tenant=row.tenant, name=row.name),
            }
            for row in rows
        ]
    )


def asked() -> dict[str, str | None]:
    """`group`: what boxes are; `tenant`: only what is of this one."""
    which = _written()
    tenant, seen = which["tenant"], sight()
    if tenant is not None and seen is not None and tenant not in seen:
        raise unseen(tenant)
    return which


def _written() -> dict[str, str | None]:
    group = request.args.get("group", "host")
    tenant = request.args.get("tenant", "").strip()[:63] or None
    return {"group": group if group in GROUPS else "host", "tenant": tenant, "q": text_asked()}


def draw(session: Session) -> Json:
    which = asked()
    if which["tenant"]:
        tenants.get(session, which["tenant"])
    group = which["group"] or "host"
    found = gathered.count(session, group, GROUPS[group], tenant=which["tenant"])
    match = (
        gathered.count(session, group, GROUPS[group], tenant=which["tenant"], text=which["q"]) if which["q"] else None
    )
    hosts = NOUNS["hosts"].page(session, 1000)[0] if sight() is None else []
    boxes = _boxes(found, match)
    if group == "host":
        boxes = _with_hosts(boxes, hosts, which["tenant"] is None)
    boxes = _lightest_last(boxes)
    for box in boxes[:MOST_BOXES]:
        box["url"] = _url(group, box["name"])
    between = tunnels(session, hosts) if group == "host" else []
    if which["tenant"]:
        drawn = {box["name"] for box in boxes}
        between = [one for one in between if drawn.issuperset(one["ends"])]
    return {
        "tenant": which["tenant"],
        "group": group,
        "part": GROUPS[group],
        "boxes": boxes[:MOST_BOXES],
        "left_out": len(boxes[MOST_BOXES:]),
        "tunnels": between,
        "busiest": sorted((one for one in between if one["carried"]), key=lambda one: -sum(one["bytes"]))[:BUSIEST],
        "few": len(hosts) <= FEW_HOSTS,
        "hues": dict(sorted({(one.tenant, one.tenant_id) for one in found})),
    }


def _boxes(found: Sequence[Gathered], match: Sequence[Gathered] | None) -> list[Json]:
    boxes: dict[str, Json] = {}
    for one in found:
        box = boxes.setdefault(
            one.box, {"name": one.box, "id": one.box_id, "endpoints": 0, "down": 0, "parts": [], "state": None}
        )
        box["endpoints"] += one.endpoints
        box["down"] += one.down
        box["parts"].append([one.part, one.endpoints, one.tenant])
    for box in boxes.values():
        box["parts"].sort(key=lambda part: (-part[1], part[0]))
        box["mark"] = "wrong" if box["down"] else "ok"
    if match is not None:
        matching: dict[str, int] = {}
        for one in match:
            matching[one.box] = matching.get(one.box, 0) + one.endpoints
        for name, box in boxes.items():
            box["match"] = matching.get(name, 0)
    return list(boxes.values())


def _url(group: str, name: str) -> str | None:
    match group:
        case "host":
            return url_for("ui.host", name=name) if sight() is None else None
        case "tenant":
            return url_for("ui.tenant", tenant=name)
    tenant, _, short = name.partition("/")
    return url_for("ui.network", tenant=tenant, name=short)


def _with_hosts(boxes: list[Json], hosts: Sequence[Json], whole: bool) -> list[Json]:
    """What is known of hosts themselves; also hosts without endpoints, in the whole picture."""
    if not hosts:
        return boxes
    known = {box["name"]: box for box in boxes}
    for host in hosts:
        if host["name"] not in known and not whole:
            continue
        box = known.setdefault(
            host["name"],
            {"name": host["name"], "endpoints": 0, "down": 0, "parts": []},
        )
        box |= {"id": int(host["datapath_id"][4:], 16), "state": host["state"], "address": host["address"]}
        box["mark"], box["says"] = words.host_mark(host)
    return list(known.values())


def _lightest_last(boxes: list[Json]) -> list[Json]:
    """Those that are left out, when there are too many, are the ones with the fewest endpoints."""
    if len(boxes) > MOST_BOXES:
        boxes = sorted(boxes, key=lambda box: (-box["endpoints"], box["id"]))
        return sorted(boxes[:MOST_BOXES], key=lambda box: box["id"]) + boxes[MOST_BOXES:]
    return sorted(boxes, key=lambda box: box["id"])


def lead(drawn: Json) -> str:
    boxes, part = drawn["boxes"], drawn["part"]
    if not boxes and drawn["tenant"]:
        return f"Nothing to draw yet: tenant {drawn['tenant']} has no endpoint."
    if not boxes:
        return "Nothing to draw yet: there is no host and no endpoint."
    endpoints = sum(box["endpoints"] for box in boxes)
    said = f"{words.many(endpoints, 'endpoint')} in {words.many(len(boxes), drawn['group'])}"
    wrong = [box for box in boxes if box.get("mark") == "wrong"]
    more = (
        f"; {words.many(drawn['left_out'], drawn['group'])} with the fewest endpoints are left out"
        if drawn["left_out"]
        else ""
    )
    state = f"; look at {words.names(wrong)}" if wrong else ""
    return f"{said}{more}{state}. Bars are by {part}; zoom in for names."
