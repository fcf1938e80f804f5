"""What is known of the way between two hosts: whether it is well, what it carried, and how fast.

Large packets that do not come through are the agents' finding: their sentence names the other host's address. What was
sent is what the sending end counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from sqlalchemy.orm import Session

from db import traffic
from web.state import state
from web.ui import words

Json = dict[str, Any]
Bytes = Mapping[tuple[str, str], int]
"""By who sends and who receives."""


def tunnels(session: Session, hosts: Sequence[Json]) -> list[Json]:
    """Each pair of hosts that have addresses."""
    sent, rates = _sent(session), _rates(hosts)
    return [_between(one, other, sent, rates) for one, other in combinations(_there(hosts), 2)]


def tunnels_of(session: Session, name: str, hosts: Sequence[Json]) -> list[Json]:
    """Those of one host; what carried most comes first."""
    there = _there(hosts)
    own = next((host for host in there if host["name"] == name), None)
    if own is None:
        return []
    sent, rates = _sent(session), _rates(hosts)
    found = [_between(own, other, sent, rates) for other in there if other is not own]
    for one in found:
        one |= {"peer": one["ends"][1], "sent": one["bytes"][0], "received": one["bytes"][1]}
    return sorted(found, key=lambda one: (-sum(one["bytes"]), one["peer"]))


def _there(hosts: Sequence[Json]) -> list[Json]:
    return [host for host in hosts if host["address"] and host["state"] not in ("new", "enrolled")]


def _between(one: Json, other: Json, sent: Bytes, rates: Mapping[tuple[str, str], float]) -> Json:
    """`bytes` from one to the other and back; `rate` in bytes a second of both together, None: not known yet."""
    said = _trouble(one, other) or _trouble(other, one)
    silent = [host["name"] for host in (one, other) if host["state"] == "silent"]
    mark = "wrong" if said else "unknown" if silent else "ok"
    ends, back = (one["name"], other["name"]), (other["name"], one["name"])
    known = [rates[way] for way in (ends, back) if way in rates]
    carried = [sent.get(ends, 0), sent.get(back, 0)]
    speed = sum(known) if known and not silent else None
    return {
        "ends": list(ends),
        "mark": mark,
        "says": said or (f"{' and '.join(silent)} silent" if silent else ""),
        "bytes": carried,
        "rate": speed and round(speed, 1),
        "carried": _carried(carried, speed) if any(carried) else "",
    }


def _carried(carried: Sequence[int], speed: float | None) -> str:
    now = f"{words.rate(speed)} now, " if speed is not None else ""
    return f"{now}{words.size(carried[0])} one way and {words.size(carried[1])} the other"


def _trouble(one: Json, other: Json) -> str:
    problems = one["agent"].get("problems") or []
    return next((said for said in problems if f"({other['address']})" in said), "")


def _sent(session: Session) -> Bytes:
    return {(one.host, one.peer): one.sent_bytes for one in traffic.tunnels(session)}


def _rates(hosts: Sequence[Json]) -> dict[tuple[str, str], float]:
    """What each sent to each, in bytes a second, at the last look; nothing was sent where nothing was counted."""
    looks = state().history.traffic()
    if not looks:
        return {}
    names = {int(host["datapath_id"][4:], 16): host["name"] for host in hosts}
    found: dict[tuple[str, str], float] = {}
    for id in looks[-1].tunnels.keys() & names.keys():
        for other in names.keys() - {id}:
            found[names[id], names[other]] = looks[-1].tunnels[id].get(other, (0.0, 0.0))[0]
    return found
