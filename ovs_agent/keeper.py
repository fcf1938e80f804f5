"""Keeping the host as it is wanted: look, plan, carry out the steps; again after every change and now and then.

It decides when to look. What is to be done is the plan's decision; how, Open vSwitch's and netlink's business.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence, Set
from contextlib import suppress
from logging import getLogger
from pathlib import Path
from typing import NamedTuple

from ovs_agent import segments
from ovs_agent.document import LARGEST_MTU, Peer
from ovs_agent.findings import Stray, missing, problems, states, strays
from ovs_agent.ledger import Ledger
from ovs_agent.netlink import look, mtu, shape, veth
from ovs_agent.netlink.wire import NoNamespace
from ovs_agent.ovsdb import Database, OvsdbFault
from ovs_agent.plan import (
    LIMITS,
    MTUS,
    DropLink,
    DropPort,
    LowerLink,
    PutPort,
    RaiseLink,
    Seen,
    SetBridge,
    SetControllers,
    SetLimits,
    SetMtu,
    SetSsl,
    Step,
    endpoints,
    leaving,
    limits,
    mtus,
    plan,
)

log = getLogger(__name__)
INTERVAL = 10.0
"""Seconds between looks when nobody wakes the keeper."""
SOON = 0.2
"""Seconds to the next one while a container is being made, which may have no process yet to find its namespace by; then
twice as long, up to the interval."""
LIFE_SIGN = 3.0
"""Seconds that ovs-vswitchd may take to answer; its rows in the database look well even when it is dead."""
BREATH = 0.1
LONGEST_BREATH = 2.0
"""Seconds from a change to a look. Changes come in groups, and an attach needs the processor more: a look waits until
nothing was attached or detached for one breath, but not for ever."""


class Condition(NamedTuple):
    """How the host is, for people and for the API."""

    bridge: str
    exists: bool
    connected: tuple[str, ...]  # controllers
    ports: dict[int, str]  # "up" or "down" by endpoint id
    problems: tuple[str, ...]
    underlay: look.Underlay | None = None
    revision: int | None = None  # of the document that this was compared with
    missing: tuple[int, ...] = ()  # endpoints without a port, by id
    gone: tuple[int, ...] = ()  # endpoints whose container's namespace is no more, by id
    strays: tuple[Stray, ...] = ()
    tunnels_revision: int | None = None  # the newest of whose tunnels and segments the bridge has all ports
    limits_revision: int = 0  # the newest to whose limits all endpoints are held


class Keeper:
    """`told` is called with the condition after every look, `everywhere` tells whether a revision is live on all hosts.
    `remade` is a port whose interface this run made anew."""

    def __init__(
        self,
        database: Database,
        ledger: Ledger,
        bridge: str,
        told: Callable[[Condition], None],
        everywhere: Callable[[int], bool],
        remade: str = "",
    ) -> None:
        self._everywhere = everywhere
        self._database = database
        self._ledger = ledger
        self._bridge = bridge
        self._told = told
        self._remade = remade
        self._woken = threading.Event()
        self._stopping = False
        self._last = Condition(bridge, False, (), {}, ())
        self._beyond: dict[str, tuple[str, ...]] = {}
        self._pause = INTERVAL
        self.first_look = threading.Event()

    def wake(self) -> None:
        self._woken.set()

    def stop(self) -> None:
        self._stopping = True
        self.wake()

    def surroundings(self) -> tuple[Sequence[Peer], look.Underlay | None, int]:
        """The other hosts, the underlay as it was last seen, and the least MTU of all hosts."""
        wanted, _ = self._ledger.knowledge()
        return (wanted.peers, self._last.underlay, wanted.least_mtu) if wanted else ((), None, LARGEST_MTU)

    def beyond(self, way: str, problems: tuple[str, ...]) -> None:
        """What is wrong on the way to other hosts, or out."""
        if problems != self._beyond.get(way, ()):
            self._beyond = self._beyond | {way: problems}
            self.wake()

    def run(self) -> None:
        timely = True
        while not self._stopping:
            self._woken.clear()
            try:
                if timely:
                    self._database.switched_on(LIFE_SIGN)
                self._last = self.look(timely)
            except (OvsdbFault, OSError) as fault:
                self._last = self._last._replace(problems=(str(fault),))
            except Exception:
                log.exception("a look at the host failed")
            self._told(self._last)
            woken = self._woken.wait(self._pause)
            timely = not woken and self._pause == INTERVAL
            if woken:
                self._ledger.quiet(BREATH, LONGEST_BREATH)

    def look(self, thorough: bool = True) -> Condition:
        """One look, and what follows from it; a thorough one is also at what is inside of containers."""
        self._ledger.begin_look()
        seen = self._seen()
        if self._remade:
            seen = self._let_go(seen)
        wanted, local = self._ledger.knowledge()
        if wanted is None:
            return Condition(
                self._bridge, seen.bridge is not None, (), {}, ("The API has not said yet what it wants.",)
            )
        underlay = look.underlay(wanted.address) if wanted.address else None
        its = underlay.interface if underlay else None
        seen = seen._replace(underlay=its)
        if thorough:
            seen = seen._replace(unlimited=shape.lifted(endpoints(wanted, local), seen.links.keys() - local.busy))
        if leaving(wanted, seen, local) or segments.leaving(wanted, seen, local):
            local = local._replace(everywhere=local.fresh and self._everywhere(wanted.tunnels_revision))
        steps = (*plan(wanted, seen, local), *segments.plan(wanted, seen, local))
        unlimited: dict[str, str] = {}
        if steps:
            unlimited = self._carry_out(steps)
            seen = self._seen()._replace(underlay=its)
        self.first_look.set()
        self._pause = next_pause(self._pause) if unlimited else INTERVAL
        held = local.fresh and not unlimited and local.busy.isdisjoint(one.port_name for one in wanted.endpoints)
        own_problems = (*problems(wanted, seen, local), *segments.problems(wanted, seen, local))
        return Condition(
            self._bridge,
            seen.bridge is not None,
            tuple(sorted(seen.connected)),
            states(wanted, seen, local),
            (*own_problems, *filter(None, unlimited.values()), *(one for its in self._beyond.values() for one in its)),
            underlay and underlay._replace(bridged=segments.underlay_bridge(seen) is not None),
            wanted.revision if local.fresh else None,
            missing(wanted, seen, local),
            tuple(one.id for one in endpoints(wanted, local) if one.netns and not Path(one.netns).exists()),
            strays(wanted, seen, local),
            self._last.tunnels_revision if own_problems or not local.fresh else wanted.revision,
            wanted.revision if held else self._last.limits_revision,
        )

    def _let_go(self, seen: Seen) -> Seen:
        """ovs-vswitchd holds on to an interface that is gone when another of its name comes at once; a port that it has
        seen go, and that comes again, is opened anew."""
        if self._remade in seen.ports:
            self._database.apply([DropPort(self._bridge, self._remade)])
            with suppress(OvsdbFault):  # one that does not run holds on to nothing
                self._database.switched_on(LIFE_SIGN)
            seen = self._seen()
        self._remade = ""
        return seen

    def _seen(self) -> Seen:
        seen = self._database.seen(self._bridge)
        return seen._replace(links=look.links())

    def _carry_out(self, steps: tuple[Step | segments.AddBridge, ...]) -> dict[str, str]:
        """Ports whose limits could not be set, each with a sentence if somebody has to know."""
        for step in steps:
            log.info("%s", describe(step))
        for step in steps:
            if isinstance(step, RaiseLink):
                veth.bring_up(step.name)
        unreached = {s.endpoint.port_name for s in steps if isinstance(s, SetMtu) and not self._set_mtu(s)}
        limited = {s.endpoint.port_name: self._set_limits(s) for s in steps if isinstance(s, SetLimits)}
        unlimited = {port: why for port, why in limited.items() if why is not None}
        in_database = [
            _less(_less(s, MTUS, unreached), LIMITS, unlimited.keys())
            for s in steps
            if isinstance(s, SetBridge | segments.AddBridge | SetSsl | SetControllers | PutPort | DropPort)
        ]
        if in_database:
            self._database.apply(in_database)
            for step in in_database:
                if isinstance(step, PutPort):
                    self._database.settled(step.port.name)
        for step in steps:
            match step:
                case DropLink(name):
                    veth.delete(name)
                case LowerLink(name):
                    veth.bring_down(name)
        return unlimited

    def _set_mtu(self, step: SetMtu) -> bool:
        """Whether it could be: else the next look tries again."""
        try:
            mtu.give(step.endpoint)
        except (OSError, NoNamespace) as fault:
            log.warning("the MTU of %s (%s) stays as it is: %s", step.endpoint.name, step.endpoint.port_name, fault)
            return False
        return True

    def _set_limits(self, step: SetLimits) -> str | None:
        """Why they could not be: else the next look tries again. None: they are set; "": as its container is just being
        made, or ends."""
        try:
            shape.limit(step.endpoint)
        except NoNamespace as fault:
            log.info("%s (%s) is not limited yet: %s", step.endpoint.name, step.endpoint.port_name, fault)
            return ""
        except OSError as fault:
            return f"The limits of {step.endpoint.name} ({step.endpoint.port_name}) stay as they are: {fault}."
        return None


def next_pause(last: float) -> float:
    """Seconds to the next look when this one, `last` seconds after the one before, could not do all."""
    return SOON if last == INTERVAL else min(2 * last, INTERVAL)


def _less(step: Step | segments.AddBridge, key: str, ports: Set[str]) -> Step | segments.AddBridge:
    """The step without the external_id `key` of ports for which what it says could not be done."""
    return step._replace(port=step.port.without(key)) if isinstance(step, PutPort) and step.port.name in ports else step


def describe(step: Step | segments.AddBridge) -> str:
    match step:
        case SetBridge(bridge):
            return f"set up bridge {bridge.name} (datapath {bridge.datapath_id}, type {bridge.datapath_type})"
        case segments.AddBridge(name, _, interface):
            return f"make bridge {name} with interface {interface}"
        case SetSsl(ssl):
            return f"give Open vSwitch the certificate {ssl.certificate}"
        case SetControllers(bridge, controllers):
            return f"point bridge {bridge} at {', '.join(controller.target for controller in controllers)}"
        case PutPort(bridge, port):
            return f"set up port {port.name} of bridge {bridge} with number {port.ofport}"
        case DropPort(bridge, name):
            return f"remove port {name} of bridge {bridge}: nothing wants it"
        case RaiseLink(name):
            return f"bring up interface {name}"
        case LowerLink(name):
            return f"bring down interface {name}, as it was before it was attached"
        case DropLink(name):
            return f"delete interface {name}: nothing wants it"
        case SetMtu(endpoint):
            return f"give {endpoint.name} ({endpoint.port_name}) MTU {mtus(endpoint)}"
        case SetLimits(endpoint):
            held = f"hold {endpoint.name} ({endpoint.port_name}) to"
            return f"{held} {limits(endpoint) or 'no limits'} (rate and burst in, rate and burst out)"
