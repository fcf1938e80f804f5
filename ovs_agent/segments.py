"""What to do so that the bridge is joined with the physical segments that networks are on and that this host has.

Each by a pair of patch ports: ours has the segment's number, the other is on the segment's bridge, or on one with
its interface. A host has the underlay's segment if its address is that of a bridge of Open vSwitch. As in `plan`, the
same input gives the same steps, and input that agrees gives none.
"""

from __future__ import annotations

from typing import NamedTuple

from ovs_agent.document import UNDERLAY, Wanted
from ovs_agent.findings import port_problem
from ovs_agent.plan import SEGMENT, DropPort, Local, Port, PutPort, Seen, agrees

PATCH = "patch"


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
    """The steps for physical segments, to be carried out after the bridge's own."""
    joints = _joints(wanted, seen, local)
    steps: list[AddBridge | PutPort | DropPort] = []
    # First: a number that another segment has now must be free before its port asks for it.
    gone, taken = leaving(wanted, seen, local), {joint.ours.ofport for joint in joints}
    steps += [
        DropPort(bridge, port.name)
        for segment, ends in gone.items()
        if local.everywhere or any(port.ofport in taken for _, port in ends)
        for bridge, port in ends
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


def leaving(wanted: Wanted, seen: Seen, local: Local) -> dict[str, list[tuple[str, Port]]]:
    """Both ends, each with its bridge, of cables to segments that no network uses any more, by segment."""
    keep = {joint.ours.external_ids[SEGMENT] for joint in _joints(wanted, seen, local)}
    found: dict[str, list[tuple[str, Port]]] = {}
    for bridge, ports in ((local.bridge, seen.ports), *seen.others.items()):
        for _, port in sorted(ports.items()):
            segment = port.external_ids.get(SEGMENT)
            if local.fresh and segment is not None and segment not in keep:
                found.setdefault(segment, []).append((bridge, port))
    return found


def underlay_bridge(seen: Seen) -> str | None:
    """The bridge that has the host's address."""
    return seen.underlay if seen.underlay in seen.others else None


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
        given = underlay_bridge(seen) if segment.name == UNDERLAY else local.physical.get(segment.name)
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
