"""Who may reach whom: groups of endpoints against each other, each cell with what is allowed, what is not, and why.

Endpoints that nothing can tell apart are judged once, so a cell of two large groups costs as much as one of two small
ones. What is said of a pair is what `judge` says of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from controller.calc.judge import Asked, judge
from controller.calc.preview import Effort
from controller.calc.turned import Said, addressed, alike, opened, why
from controller.model import Endpoint
from controller.transport import transport
from controller.world import World

Class = tuple[Endpoint, ...]
"""Endpoints of which the same is said, whoever is asked about."""
Names = Callable[[World, Endpoint], str]


class Line(NamedTuple):
    """One thing that is said in a cell, of `pairs` pairs of endpoints; `source` and `destination` are one of these."""

    source: str
    destination: str
    said: Said
    pairs: int


class Cell(NamedTuple):
    """`verdict` is allowed, denied or partly; `nobody` where there is no pair to ask about, `unknown` where it was not
    judged for lack of effort."""

    verdict: str
    lines: Sequence[Line] = ()

    @property
    def allowed(self) -> list[str]:
        """The services that some pair may use."""
        return list(dict.fromkeys(line.said.service for line in self.lines if line.said.allowed))

    def differs(self, other: Cell) -> bool:
        """Whether something else is allowed or denied; why does not matter, nor for how many pairs."""
        verdicts = ({(line.said.service, line.said.allowed) for line in cell.lines} for cell in (self, other))
        return self.verdict != other.verdict or next(verdicts) != next(verdicts)


def by_tenant(world: World, endpoint: Endpoint) -> str:
    return world.tenants[world.networks[endpoint.network].tenant].name


def by_network(world: World, endpoint: Endpoint) -> str:
    return world.networks[endpoint.network].name


def by_endpoint(world: World, endpoint: Endpoint) -> str:
    return endpoint.name


def by_label(key: str) -> Names:
    """`acme app=web`; endpoints without the label are `acme without app`."""

    def name(world: World, endpoint: Endpoint) -> str:
        value = dict(endpoint.labels).get(key)
        return f"{by_tenant(world, endpoint)} {f'without {key}' if value is None else f'{key}={value}'}"

    return name


def by_labels(world: World, endpoint: Endpoint) -> str:
    """`acme app=web tier=front`: what policies tell apart."""
    return " ".join([by_tenant(world, endpoint), *(f"{key}={value}" for key, value in sorted(endpoint.labels))])


def grouped(world: World, name: Names, tenants: Collection[int] | None = None) -> dict[str, list[Class]]:
    """The world's endpoints, or those of some tenants, by the name of their group, sorted by it."""
    by_address = addressed((world,), world.tenants if tenants is None else tenants)
    groups: defaultdict[str, list[Class]] = defaultdict(list)
    for network in (one for one in world.networks.values() if tenants is None or one.tenant in tenants):
        leaves = transport(network.transport).leaves_host
        for members in alike((world,), [network], by_address):
            # Where nothing leaves the host, it matters on which one an endpoint is.
            parts: defaultdict[tuple[str, int], list[Endpoint]] = defaultdict(list)
            for endpoint in members:
                parts[name(world, endpoint), 0 if leaves else endpoint.host].append(endpoint)
            for (group, _), part in parts.items():
                groups[group].append(tuple(part))
    return dict(sorted(groups.items()))


def matrix(
    world: World, groups: Mapping[str, Sequence[Class]], effort: Effort, service: tuple[int, int] | None = None
) -> dict[tuple[str, str], Cell]:
    """The cells by source and destination, for all services or for one protocol and port as in `Asked`."""
    return {
        (row, column): _cell(world, sources, destinations, effort, service)
        for row, sources in groups.items()
        for column, destinations in groups.items()
    }


def _cell(
    world: World,
    sources: Iterable[Class],
    destinations: Sequence[Class],
    effort: Effort,
    service: tuple[int, int] | None,
) -> Cell:
    lines: dict[tuple[str, bool, str], Line] = {}
    for one in sources:
        for other in destinations:
            for source, destination, pairs in _representatives(one, other):
                if not effort.allows(1):
                    return Cell("unknown")
                for said in _said(world, source, destination, service):
                    known = lines.get(said[:3])
                    if known is None:
                        lines[said[:3]] = Line(source.name, destination.name, said, pairs)
                    else:
                        lines[said[:3]] = known._replace(pairs=known.pairs + pairs)
    return Cell(_verdict(lines.values()), sorted(lines.values(), key=lambda line: not line.said.allowed))


def _verdict(lines: Iterable[Line]) -> str:
    match {line.said.allowed for line in lines}:
        case verdicts if len(verdicts) == 2:
            return "partly"
        case verdicts if verdicts:
            return "allowed" if True in verdicts else "denied"
    return "nobody"


def _representatives(one: Class, other: Class) -> Iterable[tuple[Endpoint, Endpoint, int]]:
    """A pair of the two classes for each way in which it may matter who is who, and for how many pairs it stands."""
    if one[0].id != other[0].id:
        yield one[0], other[0], len(one) * len(other) - len({e.id for e in one} & {e.id for e in other})
    elif len(other) > 1:
        yield one[0], other[1], len(one) * len(other) - len(one)


def _said(world: World, source: Endpoint, destination: Endpoint, service: tuple[int, int] | None) -> list[Said]:
    if service is None:
        return opened(world, source, destination)
    protocol, port = service
    found: dict[tuple[bool, str], list[Asked]] = {}
    versions = {a.version for a in source.addresses} & {a.version for a in destination.addresses}
    for version in sorted(versions - {{1: 6, 58: 4}.get(protocol)}):
        asked = Asked(version, protocol, port)
        decisions = judge(world, source, destination, asked)
        found.setdefault((decisions[-1].allowed, why(decisions)), []).append(asked)
    return [
        Said(str(of[0]) if len(found) == 1 else f"{of[0]} over IPv{of[0].version}", allowed, reason, of[0])
        for (allowed, reason), of in found.items()
    ]
