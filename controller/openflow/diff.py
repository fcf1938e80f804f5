"""What a switch has against what it should have: the fewest changes that make them equal.

A flow is the same when its key, its cookie and its instructions are. One that is wanted with other content is
overwritten, never deleted; whatever nobody wants is deleted by its exact key, foreign flows included. Keys are
whole, so two flows whose cookies collide are still two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from controller.openflow import groups
from controller.openflow.decode import InstalledFlow, InstalledGroup
from controller.openflow.encode import WireFlow, encode_delete
from controller.openflow.groups import Buckets


class Plan(NamedTuple):
    """`respelled` are the wanted flows that were there under their own cookie with other instructions.

    Either someone changed their actions by hand, or this switch writes them down differently than it was told;
    only a second look after the repair can tell. `puts` are the groups to make, or to make so; `ends` those to end.
    """

    adds: list[WireFlow]
    deletes: list[bytes]
    respelled: dict[int, bytes]
    puts: dict[int, Buckets]
    ends: list[int]

    def messages(self) -> list[bytes]:
        """In an order that a switch can follow: groups are there before flows that lead to them, and end after them."""
        return [
            *(groups.put(id, buckets) for id, buckets in self.puts.items()),
            # Deleting before adding is safe: packets see the bundle as a whole, and no wanted key is deleted.
            *map(encode_delete, self.deletes),
            *(flow.message for flow in self.adds),
            *map(groups.delete, self.ends),
        ]


def diff_groups(
    installed: Iterable[InstalledGroup], want: Mapping[int, Buckets]
) -> tuple[dict[int, Buckets], list[int]]:
    """What to put and what to end; a foreign group ends, as a foreign flow does."""
    has = {group.id: group for group in installed}
    puts = {
        id: buckets
        for id, buckets in want.items()
        if id not in has or has[id].type != groups.ALL or has[id].buckets != buckets
    }
    return puts, sorted(has.keys() - want.keys())


def diff(
    installed: Iterable[InstalledFlow], want: Mapping[bytes, WireFlow], spellings: Mapping[int, bytes] | None = None
) -> Plan:
    """`want` by key. `spellings` are instructions, by cookie, that this switch is known to answer for its own."""
    adds: list[WireFlow] = []
    surplus: list[InstalledFlow] = []
    respelled: dict[int, bytes] = {}
    missing = dict(want)
    for flow in installed:
        cookie, key, instructions, _, _ = flow
        wanted = missing.pop(key, None)
        if wanted is None:
            surplus.append(flow)
        elif wanted.cookie != cookie:
            adds.append(wanted)
        elif wanted.instructions != instructions and (spellings or {}).get(cookie) != instructions:
            adds.append(wanted)
            respelled[cookie] = instructions
    if surplus and missing:
        surplus = _without_respelled_matches(surplus, missing)
    adds += missing.values()
    return Plan(adds, [flow.key for flow in surplus], respelled, {}, [])


def _without_respelled_matches(surplus: list[InstalledFlow], missing: dict[bytes, WireFlow]) -> list[InstalledFlow]:
    """Takes out flows that are ours by cookie, table and priority but whose match the switch writes down differently.

    Deleting such a flow would delete the very flow that is wanted.
    """
    ours = {(flow.cookie, flow.key[:3]): key for key, flow in missing.items()}
    kept = []
    for flow in surplus:
        key = ours.pop((flow.cookie, flow.key[:3]), None)
        if key is None:
            kept.append(flow)
        else:
            del missing[key]
    return kept
