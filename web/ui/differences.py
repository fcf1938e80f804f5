"""The matrix of who reaches whom before a change and after it, of the tenants that it turns something for.

It decides how fine it is: of endpoints where they are few, else of what has the same labels, of networks, of tenants.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from controller.calc.matrix import Cell, Names, by_endpoint, by_labels, by_network, by_tenant, grouped, matrix
from controller.calc.preview import Effort
from controller.world import World
from web.ui.reachability import short

MOST_TENANTS = 6
MOST_ENDPOINTS = 2000
MOST_GROUPS = 12
MOST_JUDGED = 400
"""Before and after, each."""
NAMINGS: Sequence[Names] = (by_endpoint, by_labels, by_network, by_tenant)


class Turned(NamedTuple):
    before: Cell
    after: Cell
    differs: bool

    @property
    def was(self) -> str:
        return short(self.before)

    @property
    def now(self) -> str:
        return short(self.after)


class Table(NamedTuple):
    """`spent`: some cells were not computed."""

    names: list[str]
    cells: dict[tuple[str, str], Turned]
    spent: bool


def differences(old: World, new: World, changes: Sequence[dict[str, Any]]) -> Table | None:
    """None where nothing changes, or too much to be seen at once. `changes` are those of a preview."""
    said = {end.partition("/")[0] for change in changes for end in (change["from"], change["to"])}
    tenants = {tenant.id for world in (old, new) for tenant in world.tenants.values() if tenant.name in said}
    if not 0 < len(tenants) <= MOST_TENANTS or max(_size(world, tenants) for world in (old, new)) > MOST_ENDPOINTS:
        return None
    for naming in NAMINGS:
        was, now = (grouped(world, naming, tenants) for world in (old, new))
        names = sorted(was.keys() | now.keys())
        if len(names) <= MOST_GROUPS:
            break
    effort = Effort(MOST_JUDGED), Effort(MOST_JUDGED)
    nobody: dict[str, list[Any]] = {name: [] for name in names}
    before, after = matrix(old, nobody | was, effort[0]), matrix(new, nobody | now, effort[1])
    cells = {key: Turned(before[key], after[key], before[key].differs(after[key])) for key in after}
    if not any(cell.differs for cell in cells.values()):
        return None
    return Table(names, cells, any(one.spent for one in effort))


def _size(world: World, tenants: set[int]) -> int:
    networks = [network for tenant in tenants for network in world.networks_of_tenant.get(tenant, {})]
    return sum(len(world.endpoints_of_network.get(network, {})) for network in networks)
