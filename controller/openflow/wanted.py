"""What one switch should have, and what of that changed since it was last told: flows by key, groups by id.

Knows no connection: `Plan`s come out, and whoever sends them says when they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controller.openflow import decode, groups
from controller.openflow.decode import InstalledFlow, InstalledGroup
from controller.openflow.diff import Plan, diff, diff_groups
from controller.openflow.encode import WireFlow
from controller.openflow.groups import Buckets, WireBucket
from controller.openflow.ruled import Ruled

WireItem = WireFlow | WireBucket


class Wanted:
    def __init__(self) -> None:
        self.known = False  # until someone said; then nothing is deleted either
        self.flows: dict[bytes, WireFlow] = {}
        self.ruled = Ruled()
        self._groups: dict[int, set[bytes]] = {}
        self._before: dict[bytes, WireFlow | None] = {}  # by changed key: what the switch was last sent for it
        self._groups_before: dict[int, Buckets | None] = {}  # likewise, by id

    def replace(self, program: Iterable[WireItem]) -> None:
        """The whole program. Raises ValueError, and changes nothing, if two of its flows have the same match."""
        flows, buckets = _parted(program)
        new: dict[bytes, WireFlow] = {}
        for flow in flows:
            if new.setdefault(flow.key, flow) != flow:
                raise _ambiguous(flow.key)
        old = self.flows
        for key in old.keys() - new.keys():
            self._before.setdefault(key, old[key])
        for key, flow in new.items():
            before = old.get(key)
            if before is not flow:
                self._before.setdefault(key, before)
        self._remember_groups({*self._groups, *(bucket.group for bucket in buckets)})
        self._groups = {}
        for id, data in buckets:
            self._groups.setdefault(id, set()).add(data)
        self.known, self.flows = True, new
        self.ruled.replace(new.values())

    def change(self, added: Iterable[WireItem], removed: Iterable[WireItem]) -> None:
        """A change to the program; the work is proportional to it. Removals come first.

        Raises ValueError, and changes nothing, if an added flow has the match of another that stays, or if it was
        never said what is wanted.
        """
        if not self.known:
            raise ValueError("there is no program to change; say what is wanted first")
        want, before = self.flows, self._before
        (added_flows, added_buckets), (removed_flows, removed_buckets) = _parted(added), _parted(removed)
        gone = {flow.key: current for flow in removed_flows if (current := want.get(flow.key)) and current == flow}
        new: dict[bytes, WireFlow] = {}
        for flow in added_flows:
            other = new.setdefault(flow.key, flow)
            if other != flow or (flow.key not in gone and want.get(flow.key, flow) != flow):
                raise _ambiguous(flow.key)
        for key, flow in gone.items():
            before.setdefault(key, flow)
            del want[key]
        for key, flow in new.items():
            before.setdefault(key, want.get(key))
            want[key] = flow
        self._change_groups(added_buckets, removed_buckets)
        self.ruled.change(new.values(), gone.values())

    def _change_groups(self, added: list[WireBucket], removed: list[WireBucket]) -> None:
        self._remember_groups({bucket.group for bucket in (*added, *removed)})
        for id, data in removed:
            self._groups.get(id, set()).discard(data)
        for id, data in added:
            self._groups.setdefault(id, set()).add(data)
        for id, _ in removed:
            if not self._groups.get(id, True):
                del self._groups[id]

    def _remember_groups(self, ids: Iterable[int]) -> None:
        for id in ids:
            if id not in self._groups_before:
                self._groups_before[id] = self._group(id)

    def _group(self, id: int) -> Buckets | None:
        buckets = self._groups.get(id)
        return None if buckets is None else groups.in_order(buckets)

    @property
    def changed(self) -> bool:
        return bool(self._before or self._groups_before)

    def changes(self) -> Plan:
        """What to tell a switch that has what it was last sent."""
        adds, deletes, puts, ends = [], [], {}, []
        for key, before in self._before.items():
            after = self.flows.get(key)
            if after is None and before is not None:
                deletes.append(key)
            elif after is not None and after != before:
                adds.append(after)
        for id, was in self._groups_before.items():
            now = self._group(id)
            if now is None and was is not None:
                ends.append(id)
            elif now is not None and now != was:
                puts[id] = now
        return Plan(adds, deletes, {}, puts, ends)

    def compare(
        self, flows: Iterable[InstalledFlow], installed: Iterable[InstalledGroup], spellings: Mapping[int, bytes]
    ) -> Plan:
        """What to tell a switch that has this."""
        puts, ends = diff_groups(installed, {id: groups.in_order(buckets) for id, buckets in self._groups.items()})
        return diff(flows, self.flows, spellings)._replace(puts=puts, ends=ends)

    def unexpected(self, plan: Plan) -> int:
        """How many of the plan's flows and groups differ though nothing was changed of them here."""
        flows = (*plan.deletes, *(flow.key for flow in plan.adds))
        return sum(key not in self._before for key in flows) + sum(
            id not in self._groups_before for id in (*plan.puts, *plan.ends)
        )

    def sent(self) -> None:
        """The switch was told all."""
        self._before, self._groups_before = {}, {}


def _parted(items: Iterable[WireItem]) -> tuple[list[WireFlow], list[WireBucket]]:
    flows: list[WireFlow] = []
    buckets: list[WireBucket] = []
    for item in items:
        if isinstance(item, WireFlow):
            flows.append(item)
        else:
            buckets.append(item)
    return flows, buckets


def _ambiguous(key: bytes) -> ValueError:
    table, priority = decode.table_and_priority(key)
    return ValueError(f"two flows in table {table} with priority {priority} have the same match; make one of them")
