"""Publishing the ports that a container's runtime asks for, and waiting until the host's rules lead there.

It decides how a runtime's wish is told to the API, which says whether a port is free. Who asks, and in which words, is
not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from logging import getLogger
from typing import Any

from client.rest import Problem, Rest, Unreachable
from ovs_agent.document import attachment_path
from ovs_agent.gateway import Ports
from ovs_agent.ledger import Key
from ovs_agent.listening import Port

log = getLogger(__name__)
PATIENCE = 5.0
"""Seconds that the API has, and then the rules."""
MESH_PATIENCE = 1.0
"""Seconds that other hosts have to open what all hosts publish: one that is slow must not hold containers up."""
MOST_PORTS = 1024
"""Of one publication, for the API."""


class NotOpened(Exception):  # noqa: N818
    """The ports are published, but the host's rules do not lead there yet."""


def ranges(ports: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Runtimes tell each port of a range, the API takes those that follow each other at both ends as one. A port of the
    host that is still to be chosen comes last: it is not to be one that another asks for."""
    found: list[dict[str, Any]] = []
    chosen: list[dict[str, Any]] = []
    for said in sorted(ports, key=lambda one: (one["protocol"], one["host_ip"] or "", one["host_port"])):
        one = {**said, "count": 1}
        if not one["host_port"] or one.pop("host_port_end", 0) > one["host_port"]:
            chosen.append({**said, "count": 1})
            continue
        count = found[-1]["count"] if found else MOST_PORTS
        first = {**one, "port": one["port"] - count, "host_port": one["host_port"] - count, "count": count}
        if count < MOST_PORTS and found[-1] == first:
            found[-1]["count"] += 1
        else:
            found.append(one)
    return [*found, *chosen]


class Publisher:
    """`report` tells the API now at which ports programs of this host listen, besides who reserves those that are asked
    for; `settled` waits for the rules of a revision."""

    def __init__(
        self,
        rest: Rest,
        host: str,
        report: Callable[[Set[Port]], None],
        settled: Callable[[int, float], Ports | None],
    ) -> None:
        self._rest = rest
        self._host = host
        self._report = report
        self._settled = settled
        self._asked: dict[Key, set[Port]] = {}  # by those that are on their way: a report is for all of them

    def publish(self, key: Key, ports: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """All of an interface's ports. Raises Problem, Unreachable and NotOpened; what was published goes with the
        interface."""
        path = f"{attachment_path(self._host, key)}/publications"
        self._asked[key] = {(one["protocol"], one["host_port"]) for one in ports}
        try:
            self._report(set[Port]().union(*list(self._asked.values())))
            reply = self._rest.put(path, json={"ports": ranges(ports)}, timeout=PATIENCE).body
        finally:
            self._asked.pop(key, None)
        settled = self._settled(int(reply["revision"]), PATIENCE)
        if settled is None:
            raise NotOpened(
                f"The rules for published ports are not loaded within {PATIENCE:g} s; the agent's log says why."
            )
        for one in reply["ports"]:
            if why := settled.closed.get(str(one["id"])):
                raise NotOpened(f"Port {one['protocol']}/{one['host_port']} of this host cannot be opened: {why}.")
        if any(one["mesh"] for one in reply["ports"]):
            self._rest.get(f"/revisions/{reply['revision']}", params={"wait": MESH_PATIENCE}, timeout=PATIENCE)
        return list(reply["ports"])

    def withdraw(self, key: Key) -> None:
        """At the latest they go with the interface."""
        try:
            self.publish(key, [])
        except (Unreachable, NotOpened) as fault:
            log.warning("published ports of %s %s stay for now: %s", *key, fault)
        except Problem as problem:
            if problem.status != 404:
                raise
