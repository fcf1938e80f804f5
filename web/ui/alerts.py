"""What needs somebody's attention, and what to do about each. Pure: facts and the time are arguments.

It decides what is worth a sentence; where the facts come from, and how sentences look, is not its business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from web.history import REPAIRED
from web.ui.words import Item, age, many

UNKNOWN_TUNNEL_SOURCE = "unknown_tunnel_source"
NO_LONGER_HERE = "`warren host delete {name} --force` frees what it holds, if the machine will not come back."


class Alert(NamedTuple):
    """`mark` is the state as one sign, `host` the one that it is about. `remedy` is empty where the sentence has it."""

    mark: str
    sentence: str
    remedy: str = ""
    host: str | None = None


class Controller(NamedTuple):
    """`behind`: how many revisions it has not computed yet."""

    name: str
    target: str
    seen_at: datetime
    alive: bool
    behind: int


def alerts(
    hosts: Sequence[Item],
    controllers: Sequence[Controller],
    nearly_full: Sequence[str],
    grown: Mapping[str, Mapping[str, int]],
    now: datetime,
) -> list[Alert]:
    """The worst first. `grown` is what hosts counted during the last hour."""
    found = [*_controllers(hosts, controllers), *_hosts(hosts, now)]
    found += [
        Alert("wrong", f"{_capital(said)}.", "Add a subnet or a pool before it is empty, or remove what is not needed.")
        for said in nearly_full
    ]
    return [*found, *_counted(grown)]


def _controllers(hosts: Sequence[Item], controllers: Sequence[Controller]) -> Iterator[Alert]:
    if not any(one.alive for one in controllers) and any(host["state"] != "new" for host in hosts):
        yield Alert(
            "wrong",
            "No controller is heard: what runs goes on, and no change becomes live.",
            "Start `warren controller`, or look at its log (`journalctl -u warren-controller`).",
        )


def _hosts(hosts: Sequence[Item], now: datetime) -> Iterator[Alert]:
    for host in sorted((one for one in hosts if one["state"] == "silent"), key=lambda one: -int(one["endpoints"])):
        name, lost = host["name"], many(host["endpoints"], "endpoint")
        yield Alert(
            "wrong",
            f"{name} is silent for {age(host['seen_at'], now)}: {lost} out of sight.",
            f"Look whether it is up and `warren agent` runs there. {NO_LONGER_HERE.format(name=name)}",
            name,
        )
    for host in (one for one in hosts if one["state"] == "degraded"):
        name = host["name"]
        if host["error"]:
            remedy = "The rest of the change waits; the controller's log has the flow."
            yield Alert("wrong", f"{name}'s bridge refused a change: {host['error']}", remedy, name)
        for problem in host["agent"].get("problems") or []:
            yield Alert("wrong", f"{name}: {problem}", host=name)
        if not host["connected"]:
            yield Alert(
                "wrong",
                f"{name}'s bridge has no controller: it goes on with the flows it has.",
                "Look whether `warren controller` runs and its port can be reached from there.",
                name,
            )


def _counted(grown: Mapping[str, Mapping[str, int]]) -> Iterator[Alert]:
    for host, counts in sorted(grown.items()):
        if packets := counts.get(UNKNOWN_TUNNEL_SOURCE):
            yield Alert(
                "wrong",
                f"{host} dropped {many(packets, 'tunnel packet')} from a machine that is not a host, in the last hour.",
                f"Find out which with `tcpdump -ni any udp port 4789` on {host}. If it is one of your hosts, correct "
                "the tunnel address on its page.",
                host,
            )
        if flows := counts.get(REPAIRED):
            were = "flow was" if flows == 1 else "flows were"
            yield Alert(
                "changing",
                f"{flows} {were} changed on {host} by somebody else, and put right within the last hour.",
                "Nothing is lost; look who else writes to the bridge: another controller, or `ovs-ofctl` by hand.",
                host,
            )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
