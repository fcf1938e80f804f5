"""The flows that are installed on one host, told in names: by stage, with what they counted and whom they are for.

What the switch has is asked of the host's agent; what it means follows from the model, by the flows' cookies. So a flow
that the model does not know shows as such, and one that is missing, too.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from flask import request

from controller.calc.known import Owned
from controller.pipeline.flow import Flow
from controller.pipeline.stages import Stage
from controller.world import World
from db import hosts, traces
from web.api.asking import asked_of
from web.api.cursors import number
from web.auth.access import READERS, allow
from web.modelled import Program
from web.state import reading_all, state
from web.ui import words
from web.ui.flow_words import Part, action_parts, match_parts
from web.ui.frame import blueprint, render, text_asked

PER_PAGE = 100


class Row(NamedTuple):
    """`state`: installed, missing (wanted and not there) or unknown (there, and not wanted). What has a `flow` is told
    in names only when somebody is to read it: a host may have tens of thousands. `at` is its place in the program."""

    stage: str
    table: int
    priority: int
    match: tuple[Part, ...]
    actions: tuple[Part, ...]
    what: str
    owner: str
    packets: int
    octets: int
    state: str
    reason: str | None = None
    cookie: str = ""
    flow: Flow | None = None
    at: int = 0


class Counted(NamedTuple):
    table: int
    priority: int
    packets: int
    octets: int


@blueprint.get("/hosts/<name>/flows")
@allow(READERS)
def flows(name: str) -> str:
    stage, query = request.args.get("stage", "").upper()[:40], text_asked()
    with reading_all() as session:
        host = hosts.get(session, name)
    said = asked_of({host.id: ""}, traces.FLOWS).get(host.id)
    trouble = "its agent has not answered in time" if said is None else said["trouble"]
    world = state().modelled.now()
    rows: list[Row] = []
    program: Program | None = None
    if not trouble and said is not None and host.id in world.hosts:
        program = state().modelled.program(world, host.id)
        rows = list(joined(program.flows, counted(said["flows"]), whole=not said["left_off"]))
        rows += [_foreign(text) for text in said["foreign"]]
    chosen = [row for row in rows if not stage or row.stage == stage]
    if wanted := needles(query, world):
        chosen = [row for row in chosen if mentions(text_of(row, program), wanted)]
    chosen.sort(key=lambda row: (row.state == "installed", row.table, -row.packets, -row.priority))
    first = number(request.args.get("cursor")) or 0
    return render(
        "flows.html",
        "Hosts",
        host=name,
        stages=stages(rows),
        stage=stage,
        rows=[told(row, program) for row in chosen[first : first + PER_PAGE]],
        first=first,
        next=str(first + PER_PAGE) if first + PER_PAGE < len(chosen) else None,
        total=len(chosen),
        trouble=trouble,
        at=world.revision,
        left_off=0 if said is None else said["left_off"],
        lead=lead(name, rows, trouble),
        numbers="numbers" in request.args,
    )


def lead(host: str, rows: Sequence[Row], trouble: str) -> str:
    if trouble:
        return f"{host} does not tell its flows: {trouble}. Look whether `warren agent` runs there."
    wrong = {state: sum(row.state == state for row in rows) for state in ("missing", "unknown")}
    installed = len(rows) - wrong["missing"]
    dropped = sum(row.packets for row in rows if row.reason)
    said = f"{words.many(installed, 'flow')} installed, {words.many(dropped, 'packet')} dropped by them so far"
    if not any(wrong.values()):
        return f"{said}; they are those of the model."
    more = [f"{words.thousands(count)} {state}" for state, count in wrong.items() if count]
    return f"{said}; {' and '.join(more)}. A change may be on its way; else the controller repairs it within 15 s."


def counted(lines: Sequence[str]) -> dict[str, list[Counted]]:
    """By cookie; equal flows of two tables may share one."""
    found: dict[str, list[Counted]] = {}
    for line in lines:
        cookie, *numbers = line.split()
        found.setdefault(cookie, []).append(Counted(*map(int, numbers)))
    return found


def joined(model: Sequence[tuple[str, Owned]], found: dict[str, list[Counted]], whole: bool) -> Iterator[Row]:
    """What the model wants, by its cookies, with what the switch has of it, and what is left on either side. Where not
    the `whole` was told, nobody knows what is missing."""
    for at, (cookie, one) in enumerate(model):
        flow = one.flow
        here = next((one for one in found.get(cookie, ()) if one[:2] == (flow.table, flow.priority)), None)
        if here is None and not whole:
            continue
        facts = flow.table.name, int(flow.table), flow.priority, (), (), one.what, one.owner
        if here is None:
            yield Row(*facts, 0, 0, "missing", one.reason, cookie, flow, at)
        else:
            found[cookie].remove(here)
            yield Row(*facts, here.packets, here.octets, "installed", one.reason, cookie, flow, at)
    for cookie, left in found.items():
        for at in left:
            yield Row(
                _stage(at.table), at.table, at.priority, (), (), "", "", at.packets, at.octets, "unknown", None, cookie
            )


def told(row: Row, program: Program | None) -> Row:
    """With its match and its actions in names."""
    if row.flow is None or program is None:
        return row
    names = program.names
    match, actions = tuple(match_parts(row.flow, names)), tuple(action_parts(row.flow, names))
    return row._replace(match=match, actions=actions, flow=None)


def _foreign(text: str) -> Row:
    found = re.match(r"table=(\d+), priority=(\d+),? ?(.*?) ?actions=(.*)", text)
    table, priority, match, actions = found.groups() if found else ("0", "0", text, "")
    said = tuple(Part(one, one) for one in match.split(",") if one)
    facts = said, (Part(actions, actions),), "not Warren's", ""
    return Row(_stage(int(table)), int(table), int(priority), *facts, 0, 0, "unknown")


def _stage(table: int) -> str:
    return Stage(table).name if table in Stage._value2member_map_ else f"TABLE {table}"


def stages(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """In the order in which a packet meets them."""
    found: dict[int, dict[str, Any]] = {}
    for row in rows:
        one = found.setdefault(row.table, {"name": row.stage, "flows": 0, "packets": 0, "dropped": 0})
        one["flows"] += row.state != "missing"
        one["packets"] += row.packets
        one["dropped"] += row.packets if row.reason else 0
    return [found[table] for table in sorted(found)]


def needles(query: str, world: World) -> tuple[str, ...]:
    """What to look for: the text, and if it is an endpoint's name, address or MAC, all three of these."""
    if not query:
        return ()
    wanted, address = {query.lower()}, _address(query)
    for one in world.endpoints.values():
        if query == one.name or any((at.version, at.value) == address for at in one.addresses):
            wanted |= {text.lower() for text in (one.name, *(at.ip for at in one.addresses))}
    return tuple(wanted)


def _address(text: str) -> tuple[int, int] | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return address.version, int(address)


def text_of(row: Row, program: Program | None) -> str:
    """All that is said of a flow. Of the model's flows it is kept with them: putting it into words takes most of a
    search, and only what was counted differs from look to look."""
    kept = None if program is None or row.flow is None else program.texts
    text = None if kept is None else kept.get(row.at)
    if text is None:
        said = told(row, program)
        parts = [one for parts in (said.match, said.actions) for part in parts for one in part]
        text = " ".join([*parts, row.owner, row.reason or "", row.cookie]).lower()
        if kept is not None:
            kept[row.at] = text
    return text


def mentions(text: str, wanted: Sequence[str]) -> bool:
    """Whether one of them stands in it by itself: 10.20.0.9 is not in 10.20.0.90."""
    return any(
        needle in text and re.search(rf"(?<![\w.:]){re.escape(needle)}(?![\w:]|\.\d)", text) for needle in wanted
    )
