"""What went from host to host, read off the flows that a bridge has about each other host: one sends there, one takes
what comes from there. Bytes are those of the packets inside tunnels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from controller.model import Host
from controller.openflow.encode import encode
from controller.pipeline import classify, output
from controller.world import World

Counts = Mapping[int, tuple[int, int]]
"""Packets and bytes by a flow's cookie."""


class Carried(NamedTuple):
    """What went to and came from one other host since the flows for it were installed."""

    sent_packets: int = 0
    sent_bytes: int = 0
    received_packets: int = 0
    received_bytes: int = 0


class Carriers:
    """The cookies of those flows, for the hosts that there are."""

    def __init__(self) -> None:
        self._hosts: Mapping[int, Host] = {}
        self._cookies: dict[int, tuple[int, int]] = {}

    def read(self, world: World, host: int, counts: Counts) -> dict[int, Carried]:
        """By the other host's id; those that nothing went to or came from are left out."""
        if world.hosts is not self._hosts:
            self._hosts, self._cookies = world.hosts, {}
            for other in world.hosts.values():
                for way, flows in enumerate((output.peer(world, other), classify.peer(world, other))):
                    self._cookies.update((encode(flow).cookie, (other.id, way)) for flow in flows)
        found: dict[int, Carried] = {}
        for cookie, (packets, octets) in counts.items():
            if not packets or cookie not in self._cookies:
                continue
            other, way = self._cookies[cookie]
            known = found.get(other, Carried())
            if way:
                found[other] = known._replace(received_packets=packets, received_bytes=octets)
            else:
                found[other] = known._replace(sent_packets=packets, sent_bytes=octets)
        found.pop(host, None)
        return found
