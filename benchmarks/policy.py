"""What policies cost: flows on a host, and the time until a rule is live everywhere. Warren next to OVN.

Both have the same endpoints of one tenant on ten hosts with real switches, and get the same rules, one side after the
other. Times run from the request, on a connection that stands, until every host has confirmed.

    python -m benchmarks.policy [--rounds 15] [--only ovn|warren]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from statistics import median
from typing import NamedTuple

from benchmarks.sides.ovn import ovn
from benchmarks.sides.scene import Rule, Scene, Side, address
from benchmarks.sides.warren import warren

MANY = 1000
SCENE = Scene(
    hosts=10,
    per_host=102,
    groups={  # all but "all" on the first host
        "clients": range(10),
        "served": range(10, 20),
        "all": range(20, 1020),
        "ten": range(20, 30),
        "fifty": range(30, 80),
        "odd": range(0),
    },
)
SIDES: Mapping[str, Callable[[Scene], AbstractContextManager[Side]]] = {"ovn": ovn, "warren": warren}
WARM_UP = 3


class Ask(NamedTuple):
    """What is asked of Warren: at most so much, or at most so many times the peer's figure."""

    what: str
    limit: float | None = None
    ratio: float | None = None


ROWS = {
    "single": Ask("flows for 1,000 single-source rules on 10 endpoints", limit=1500),
    "wide": Ask("flows for one rule of 1,000 sources x 50 endpoints x 10 ports", limit=1200),
    "own": Ask("flows for one endpoint more, in no group"),
    "named": Ask("  in a group that 1,000 rules name: beyond these", limit=0),
    "odd": Ask("  and with labels that no other endpoint has: likewise"),
    "one": Ask("ms to add a rule from one source, on 10 hosts", ratio=0.25),
    "group": Ask("ms to add a rule from 1,000 endpoints to one port, on 10 hosts", ratio=0.25),
    "ready": Ask("s to bring up the hosts and all endpoints"),
}


def measure(side: Side, rounds: int) -> dict[str, float]:
    return {**times(side, rounds), **sizes(side), **growth(side)}


def times(side: Side, rounds: int) -> dict[str, float]:
    """Of one rule more on the group of everybody, medians."""
    side.deny("all")
    single = [Rule(f"from-{number}", [address(MANY + number)]) for number in range(WARM_UP + rounds)]
    group = [Rule(f"port-{number}", members="all", ports=[5000 + number]) for number in range(WARM_UP + rounds)]
    return {
        "one": median([side.allow_one("all", rule) for rule in single][WARM_UP:]),
        "group": median([side.allow_one("all", rule) for rule in group][WARM_UP:]),
    }


def sizes(side: Side) -> dict[str, float]:
    """Flows of the first host, which has all endpoints of these groups."""
    single = [Rule(f"from-{number}", [address(number)]) for number in range(MANY)]
    wide = Rule("wide", [address(number) for number in range(MANY)], ports=range(8000, 8010))
    return {"single": added(side, "ten", single), "wide": added(side, "fifty", [wide])}


def added(side: Side, group: str, rules: list[Rule]) -> int:
    side.deny(group)
    before = side.flow_count()
    side.allow(group, rules)
    return side.flow_count() - before


def growth(side: Side) -> dict[str, float]:
    """Flows of the first host that come, go or change when an endpoint comes to the last."""
    for group in ("served", "clients", "odd"):
        side.deny(group)
    side.allow("served", [Rule(f"port-{number}", members="clients", ports=[10000 + number]) for number in range(MANY)])
    own = changed(side, "alone", ())
    named = changed(side, "client", ("clients",))
    odd = changed(side, "odd-client", ("clients", "odd"))
    return {"own": own, "named": named - own, "odd": odd - own}


def changed(side: Side, name: str, groups: tuple[str, ...]) -> int:
    before = side.flows()
    side.join(name, groups)
    return len(side.flows() ^ before)


def report(names: Mapping[str, str], figures: Mapping[str, Mapping[str, float]]) -> None:
    columns = [names.get("ovn", "OVN"), names.get("warren", "Warren"), "ratio", "asked"]
    print(f"{'':62}" + "".join(f"{column:>12}" for column in columns))
    for key, ask in ROWS.items():
        theirs, ours = (figures.get(side, {}).get(key) for side in ("ovn", "warren"))
        ratio = f"{ours / theirs:.2f}" if theirs and ours is not None else "-"
        asked = f"<= {ask.limit:,.0f}" if ask.limit is not None else f"<= {ask.ratio:.2f}x" if ask.ratio else ""
        print(f"{ask.what:62}{shown(theirs):>12}{shown(ours):>12}{ratio:>12}{asked:>12}")


def shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", choices=SIDES, help="run one side")
    options = parser.parse_args()
    names: dict[str, str] = {}
    figures: dict[str, dict[str, float]] = {}
    for key in [options.only] if options.only else SIDES:
        start = time.perf_counter()
        with SIDES[key](SCENE) as side:
            ready = time.perf_counter() - start
            names[key] = side.name
            figures[key] = {**measure(side, options.rounds), "ready": ready}
    print(f"{len(SCENE.groups['all']):,} endpoints on {SCENE.hosts} hosts; times are medians of {options.rounds}")
    report(names, figures)


if __name__ == "__main__":
    main()
