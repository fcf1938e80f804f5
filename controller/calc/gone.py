"""Which endpoints a change takes away, and how many others reach each of them until then.

Isolation is counted by networks and costs next to nothing; only where policies may deny something are endpoints judged,
one for all that no policy tells apart, and no more of them than there is effort for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import cache
from typing import NamedTuple

from controller.calc.policy_preview import around
from controller.calc.preview import Effort, judges, may_talk
from controller.calc.reach import reach
from controller.calc.turned import Addressed, addressed, alike, likeness, opened
from controller.model import Change, Direction, Endpoint, Network
from controller.transport import transport
from controller.world import World


class Gone(NamedTuple):
    """An endpoint that goes. `reached_by` others may open some connection to it now; `at_most` so many where not all
    policies were asked."""

    endpoint: str
    reached_by: int
    at_most: bool = False

    def words(self, own: bool = False) -> str:
        """`5 endpoints reach it now`; `own`: only the asker's were counted."""
        yours = " of yours" if own else ""
        if not self.reached_by:
            return "none of yours reaches it now" if own else "nobody reaches it now"
        if self.at_most:
            return f"up to {self.reached_by} endpoint{'s' if self.reached_by > 1 else ''}{yours} may reach it now"
        if self.reached_by == 1:
            return f"1 endpoint{yours} reaches it now"
        return f"{self.reached_by} endpoints{yours} reach it now"


def going(old: World, new: World, changes: Iterable[Change]) -> list[Endpoint]:
    """The endpoints that are there no more, by their names."""
    ids = {change.id for change in changes if change.noun == "endpoint"}
    gone = [old.endpoints[id] for id in ids if id in old.endpoints and id not in new.endpoints]
    return sorted(gone, key=lambda endpoint: endpoint.name)


def reached(
    world: World, endpoints: Iterable[Endpoint], effort: Effort, tenants: Collection[int] | None = None
) -> Iterator[Gone]:
    """How many reach each of the endpoints, those of `tenants` alone unless it is None. An endpoint does not count
    itself, but others that go with it."""

    @cache
    def by_address(network: int) -> list[Addressed]:
        near = {one.tenant for one in sources(network)}
        return addressed((world,), near | {world.networks[network].tenant})

    @cache
    def sources(network: int) -> list[Network]:
        its = world.networks[network]
        return [
            one
            for one in around(world, its)
            if (tenants is None or one.tenant in tenants) and reach(world, one, its).allowed
        ]

    @cache
    def judged(network: int, direction: Direction) -> bool:
        return judges(world, world.networks[network], direction)

    @cache
    def groups(network: int, seen_from: int | None) -> list[list[Endpoint]]:
        """A network's endpoints that isolation does not tell apart; or policies do not, as seen from another."""
        return alike((world,), [world.networks[network]], [] if seen_from is None else by_address(seen_from))

    def count(endpoint: Endpoint) -> tuple[int, bool]:
        its = world.networks[endpoint.network]
        found, at_most = 0, False
        for source in sources(its.id):
            everywhere = all(transport(one.transport).leaves_host for one in (source, its))
            asks = judged(source.id, Direction.EGRESS) or judged(its.id, Direction.INGRESS)
            if asks:
                # As long as it takes to judge one, a thousand addresses are compared.
                size = len(world.endpoints_of_network.get(source.id, {})) * len(by_address(its.id))
                asks = effort.allows(1 + size // 1000)
                at_most |= not asks
            for group in groups(source.id, its.id if asks else None):
                others = [one for one in group if one.id != endpoint.id and (everywhere or one.host == endpoint.host)]
                if not others or not may_talk(others[0], endpoint):
                    continue
                if asks and effort.allows(1):
                    if not any(said.allowed for said in opened(world, others[0], endpoint)):
                        continue
                elif asks:
                    at_most = True
                found += len(others)
        return found, at_most

    counted: dict[tuple[object, ...], tuple[int, bool]] = {}
    for endpoint in endpoints:
        key = endpoint.host, *likeness(world, endpoint, by_address(endpoint.network))
        if key not in counted:
            counted[key] = count(endpoint)
        yield Gone(endpoint.name, *counted[key])
