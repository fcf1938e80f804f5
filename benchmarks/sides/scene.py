"""What both sides of the policy benchmark are given: one tenant's endpoints on some hosts, groups of them, and rules.

Only the names and numbers. How a side makes endpoints, groups and rules of them is its own business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from typing import NamedTuple, Protocol

SUBNET, GATEWAY = "172.30.0.0/16", "172.30.0.1"


class Rule(NamedTuple):
    """Who may reach a group: `sources` or the endpoints of the group `members`, on TCP `ports` (none: on all)."""

    name: str
    sources: Sequence[str] = ()
    members: str = ""
    ports: Sequence[int] = ()


class Scene(NamedTuple):
    """Endpoint n is on host n // `per_host`. `groups` are ranges of endpoints by name; hosts count from 0."""

    hosts: int
    per_host: int
    groups: Mapping[str, range]

    @property
    def endpoints(self) -> range:
        return range(self.hosts * self.per_host)

    def on(self, host: int) -> range:
        return range(host * self.per_host, (host + 1) * self.per_host)

    def groups_of(self, endpoint: int) -> list[str]:
        return [name for name, members in self.groups.items() if endpoint in members]


class Side(Protocol):
    """A system with a scene in place, everything confirmed. Each call returns when all hosts carry what it asks for.

    `flows` are those of the first host as text without counters.
    """

    @property
    def name(self) -> str: ...

    def deny(self, group: str) -> None:
        """From now on the group is reached by nobody whom no rule allows."""

    def allow(self, group: str, rules: Sequence[Rule]) -> None:
        """Many rules in one request."""

    def allow_one(self, group: str, rule: Rule) -> float:
        """Milliseconds from the request until all hosts confirmed it."""

    def join(self, name: str, groups: Sequence[str]) -> None:
        """One endpoint more, on the last host."""

    def flow_count(self) -> int: ...

    def flows(self) -> set[str]: ...


def endpoint_name(number: int) -> str:
    return f"web{number}"


def address(number: int) -> str:
    """Addresses that no endpoint has, for single sources: as many as are wanted."""
    return str(IPv4Address("203.0.0.0") + number)
