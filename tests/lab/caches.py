"""What Open vSwitch has cached of its flows: a packet that went before lets the next ones pass it without a look."""

from __future__ import annotations

from lab import netns
from lab.lab import Lab
from lab.ovs import settings
from lab.process import environment


def follow(lab: Lab) -> None:
    """Flows are confirmed before the cache has been gone through; until it has been, on every host."""
    _tell(lab, "revalidator/wait")


def told(lab: Lab) -> None:
    """Until flows count what only the cache has counted: what it has not told when they change counts for the new."""
    _tell(lab, "revalidator/purge")


def _tell(lab: Lab, command: str) -> None:
    for host in lab.hosts:
        netns.run("ovs-appctl", "-t", "ovs-vswitchd", command, env=environment(host.folder, settings(host)))
