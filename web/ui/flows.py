"""The flows that are installed on one host, told in names: by stage, with what they counted and whom they are for.

What the switch has is asked of the host's agent; what it means follows from the model, by the flows' cookies. So a flow
that the model does not know shows as such, and one that is missing, too.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from flask import request

from controller.calc.known import Names, Recorded, owner_of
from controller.pipeline.flow import Flow
from controller.pipeline.program import Key
from controller.pipeline.stages import Stage
from controller.world import World
from db import hosts, traces
from web.api.asking import asked_of
from web.api.cursors import number
from web.auth.access import READERS, allow
from web.modelled import Fragment, Program, Spoken
from web.state import reading_all, state
from web.ui import words
from web.ui.flow_words import Part, action_parts, match_parts
from web.ui.frame import blueprint, render, text_asked

PER_PAGE = 100


class Row(NamedTuple):
    """`state`: installed, missing (wanted and not there) or unknown (there, and not wanted)."""

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


Counts = tuple[int, int]
"""Packets and bytes."""


class Look(NamedTuple):
    """What a switch has of a program: what its flows counted and which are missing, by their places in it, and what is
    there besides. A host may have tens of thousands, so a flow becomes a row only when somebody is to read it."""

    counts: dict[int, Counts]
    missing: Sequence[int]
    unknown: Sequence[Row]


@blueprint.get("/hosts/<name>/flows")
@allow(READERS)
def flows(name: str) -> str:
    stage, query = request.args.get("stage", "").upper()[:40], text_asked()
    with reading_all() as session:
        host = hosts.get(session, name)
    said = asked_of({host.id: ""}, traces.FLOWS).get(host.id)
    trouble = "its agent has not answered in time" if said is None else said["trouble"]
    program = state().modelled.program(host.id)
    look = Look({}, (), ())
    chosen: list[Rank] = []
    if not trouble and said is not None and program is not None:
        look = compared(program, said)
        chosen = ranked(program, look, stage, needles(query, program.world))
    first = number(request.args.get("cursor")) or 0
    shown = stages(program, look)
    return render(
        "flows.html",
        "Hosts",
        host=name,
        stages=shown,
        stage=stage,
        rows=[row(program, look, rank) for rank in chosen[first : first + PER_PAGE] if program],
        first=first,
        next=str(first + PER_PAGE) if first + PER_PAGE < len(chosen) else None,
        total=len(chosen),
        trouble=trouble,
        left_off=0 if said is None else said["left_off"],
        lead=lead(name, look, sum(one["dropped"] for one in shown), trouble),
        numbers="numbers" in request.args,
    )


def lead(host: str, look: Look, dropped: int, trouble: str) -> str:
    if trouble:
        return f"{host} does not tell its flows: {trouble}. Look whether `warren agent` runs there."
    wrong = {"missing": len(look.missing), "unknown": len(look.unknown)}
    installed = len(look.counts) + len(look.unknown)
    said = f"{words.many(installed, 'flow')} installed, {words.many(dropped, 'packet')} dropped by them so far"
    if not any(wrong.values()):
        return f"{said}; they are those of the model."
    more = [f"{words.thousands(count)} {state}" for state, count in wrong.items() if count]
    return f"{said}; {' and '.join(more)}. A change may be on its way; else the controller repairs it within 15 s."


def compared(program: Program, said: Mapping[str, Any]) -> Look:
    """What the model wants with what the switch has of it. Where not all was told, nobody knows what is missing."""
    counts: dict[int, Counts] = {}
    unknown = []
    for line in said["flows"]:
        place, packets, octets = line.rsplit(" ", 2)
        at = program.places.get(place)
        if at is None or at in counts:
            unknown.append(_unknown(place, int(packets), int(octets)))
        else:
            counts[at] = int(packets), int(octets)
    unknown += map(_foreign, said["foreign"])
    missing = () if said["left_off"] else [at for at in range(len(program.flows)) if at not in counts]
    return Look(counts, missing, unknown)


Rank = tuple[bool, int, int, int, int]
"""Whether it is as it should be, its table, the most packets and the highest priority first; its place in the program,
or from -1 downwards among what is unknown."""


def ranked(program: Program, look: Look, stage: str, wanted: Sequence[str]) -> list[Rank]:
    """What is asked for, in the order in which it is shown."""
    found: list[Rank] = [
        (False, one.table, -one.packets, -one.priority, -1 - number)
        for number, one in enumerate(look.unknown)
        if (not stage or one.stage == stage) and (not wanted or mentions(_text(one), wanted))
    ]
    texts = _texts(program) if wanted else ()
    table = Stage.__members__.get(stage)
    for good, places in ((False, look.missing), (True, look.counts)):
        for at in places:
            flow = program.flows[at][1].flow
            if stage and flow.table != table:
                continue
            if not wanted or mentions(texts[at], wanted):
                found.append((good, flow.table, -look.counts[at][0] if good else 0, -flow.priority, at))
    found.sort()
    return found


def row(program: Program, look: Look, rank: Rank) -> Row:
    """In names."""
    good, table, _, _, at = rank
    if at < 0:
        return look.unknown[-1 - at]
    key, one = program.flows[at]
    what, owner = owner_of(program.world, key)
    counts, state = look.counts.get(at, (0, 0)), "installed" if good else "missing"
    cookie = one.place.partition(" ")[0]
    facts = what, owner, *counts, state, one.reason, cookie
    return Row(one.flow.table.name, table, one.flow.priority, *told(one.flow, program.names), *facts)


def _unknown(place: str, packets: int, octets: int) -> Row:
    cookie, table, priority = place.split()
    facts = _stage(int(table)), int(table), int(priority)
    return Row(*facts, (), (), "", "", packets, octets, "unknown", None, cookie)


def told(flow: Flow, names: Names) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Its match and its actions in names."""
    return tuple(match_parts(flow, names)), tuple(action_parts(flow, names))


def _foreign(text: str) -> Row:
    found = re.match(r"table=(\d+), priority=(\d+),? ?(.*?) ?actions=(.*)", text)
    table, priority, match, actions = found.groups() if found else ("0", "0", text, "")
    said = tuple(Part(one, one) for one in match.split(",") if one)
    facts = said, (Part(actions, actions),), "not Warren's", ""
    return Row(_stage(int(table)), int(table), int(priority), *facts, 0, 0, "unknown")


def _stage(table: int) -> str:
    return Stage(table).name if table in Stage._value2member_map_ else f"TABLE {table}"


def stages(program: Program | None, look: Look) -> list[dict[str, Any]]:
    """In the order in which a packet meets them."""
    found: dict[int, list[int]] = {}
    for one in look.unknown:
        its = found.setdefault(one.table, [0, 0, 0])
        its[0] += 1
        its[1] += one.packets
    flows = program.flows if program else []
    for at in look.missing:
        found.setdefault(flows[at][1].flow.table, [0, 0, 0])
    for at, (packets, _) in look.counts.items():
        _, (_, flow, reason) = flows[at]
        its = found.setdefault(flow.table, [0, 0, 0])
        its[0] += 1
        its[1] += packets
        its[2] += packets if reason else 0
    return [
        {"name": _stage(table), "flows": count, "packets": packets, "dropped": dropped}
        for table, (count, packets, dropped) in sorted(found.items())
    ]


def needles(query: str, world: World) -> tuple[str, ...]:
    """What to look for: the text, and if it is an endpoint's name, address or MAC, all three of these."""
    if not query:
        return ()
    wanted, address = {query.lower()}, _address(query)
    for one in world.endpoints.values():
        if query == one.name or (address and any((at.version, at.value) == address for at in one.addresses)):
            wanted |= {text.lower() for text in (one.name, *(at.ip for at in one.addresses))}
    return tuple(wanted)


def _address(text: str) -> tuple[int, int] | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return address.version, int(address)


def _texts(program: Program) -> list[str]:
    """All that is said of each flow, by their places. It is kept with them: putting them into words takes most of a
    search, and only what was counted differs from look to look."""
    found: list[str] = []
    for key, fragment in program.fragments.items():
        spoken = program.spoken.get(key)
        if spoken is None:
            spoken = program.spoken[key] = _spoken(program, key, fragment)
        found += spoken.texts
    return found


def _spoken(program: Program, key: Key, fragment: Fragment) -> Spoken:
    names, (_, owner), texts = Recorded(program.names), owner_of(program.world, key), []
    for one in fragment:
        parts = [text for parts in told(one.flow, names) for part in parts for text in part]
        texts.append(" ".join([*parts, owner, one.reason or "", one.place.partition(" ")[0]]).lower())
    return Spoken(fragment, owner, names.answers, tuple(texts))


def _text(row: Row) -> str:
    """The same of what the model does not know."""
    parts = [text for parts in (row.match, row.actions) for part in parts for text in part]
    return " ".join([*parts, row.cookie]).lower()


def mentions(text: str, wanted: Sequence[str]) -> bool:
    """Whether one of them stands in it by itself: 10.20.0.9 is not in 10.20.0.90."""
    return any(
        needle in text and re.search(rf"(?<![\w.:]){re.escape(needle)}(?![\w:]|\.\d)", text) for needle in wanted
    )
