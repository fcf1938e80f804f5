"""What to do so that the bridge is joined with the physical segments that networks are on and that this host has.

Each by a pair of patch ports: ours has the segment's number, the other is on the segment's bridge, or on one with
its interface. As in `plan`, the same input gives the same steps, and input that agrees gives none.
"""

from __future__ import annotations

from typing import NamedTuple

from ovs_agent.document import Wanted
from ovs_agent.plan import PATCH, DropPort, Local, Port, PutPort, Seen, agrees, port_problem

SEGMENT = "warren-segment"
"""The key in a port's external_ids that makes it one of these; its value is the segment's name."""


class AddBridge(NamedTuple):
    """Make a bridge that switches as any does, with a network interface on it."""

    name: str
    datapath_type: str
    interface: str


class Joint(NamedTuple):
    """The two ends of a cable between our bridge and `bridge`. `interface` is to be put on it, where it is ours."""

    bridge: str
    interface: str | None
    ours: Port
    theirs: Port


def plan(wanted: Wanted, seen: Seen, local: Local) -> tuple[AddBridge | PutPort | DropPort, ...]:
    """To be carried out after the bridge's own steps."""
    joints = _joints(wanted, seen, local)
    steps: list[AddBridge | PutPort | DropPort] = []
    if local.fresh:
        # First: a number that another segment has now must be free before its port asks for it.
        keep = {port.name for joint in joints for port in (joint.ours, joint.theirs)}
        steps += [
            DropPort(bridge, name)
            for bridge, ports in ((local.bridge, seen.ports), *seen.others.items())
            for name, port in sorted(ports.items())
            if SEGMENT in port.external_ids and name not in keep
        ]
    for joint in joints:
        there = seen.others.get(joint.bridge, {})
        if joint.interface and joint.interface not in there:
            steps.append(AddBridge(joint.bridge, local.datapath_type, joint.interface))
        if not agrees(joint.theirs, there.get(joint.theirs.name)):
            steps.append(PutPort(joint.bridge, joint.theirs))
        if not agrees(joint.ours, seen.ports.get(joint.ours.name)):
            steps.append(PutPort(local.bridge, joint.ours))
    return tuple(steps)


def problems(wanted: Wanted, seen: Seen, local: Local) -> tuple[str, ...]:
    """What is wrong and cannot be mended by a step: one sentence each."""
    found = []
    for joint in _joints(wanted, seen, local):
        if joint.ours.name in seen.ports:
            found.append(port_problem(joint.ours, seen.ports[joint.ours.name]))
        on = seen.others.get(joint.bridge, {}).get(joint.interface or "")
        if on is not None and on.error:
            found.append(f"Open vSwitch cannot use {joint.interface} on bridge {joint.bridge}: {on.error}.")
    return tuple(sentence for sentence in found if sentence)


def _joints(wanted: Wanted, seen: Seen, local: Local) -> list[Joint]:
    found = []
    for segment in wanted.segments:
        given = local.physical.get(segment.name)
        if given is None:
            continue
        bridge, interface = (given, None) if given in seen.others else (f"br-{segment.name}", given)
        ours, theirs = f"{local.bridge}-phy-{segment.name}", f"phy-{segment.name}-{local.bridge}"
        mark = {SEGMENT: segment.name}
        found.append(
            Joint(
                bridge,
                interface,
                Port(ours, segment.ofport, PATCH, options={"peer": theirs}, external_ids=mark),
                Port(theirs, None, PATCH, options={"peer": ours}, external_ids=mark),
            )
        )
    return found
