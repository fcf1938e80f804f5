"""An endpoint's port: the pair of interfaces or the one that is there, on the bridge with the right number, and off it.

It decides the order in which they are made and removed, so that the switch never holds on to an interface that is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, wait
from hashlib import sha256
from logging import getLogger
from typing import NamedTuple, TypeVar

from ovs_agent.document import Endpoint
from ovs_agent.findings import port_problem
from ovs_agent.ledger import Key
from ovs_agent.netlink import look, shape, veth
from ovs_agent.netlink.veth import Routing
from ovs_agent.ovsdb import Database, OvsdbFault
from ovs_agent.ovsdb.database import PATIENCE
from ovs_agent.plan import EMPTY, ENDPOINT, WAS_DOWN, DropPort, PutPort, endpoint_port

T = TypeVar("T")
log = getLogger(__name__)
SCOPE = "warren-scope"
"""The key in a port's external_ids for who attached it."""


class PortFailed(Exception):  # noqa: N818
    """Open vSwitch could not make the port as asked."""


class Spare(NamedTuple):
    """A pair in the making: its host's end's name, and in the end that one's MAC."""

    name: str
    made: Future[str]


def spare_name(key: Key) -> str:
    """The name of the host's end of a pair whose port is not known yet. It follows from the container's end."""
    return f"wrn-{sha256('/'.join(key).encode()).hexdigest()[:10]}"


class Plugs:
    """`aside` runs what need not be waited for at once."""

    def __init__(self, database: Database, bridge: str, checksum_offload: bool, aside: Executor) -> None:
        self._database = database
        self._bridge = bridge
        self._checksum_offload = checksum_offload
        self._aside = aside

    def plug(
        self, endpoint: Endpoint, scope: str, routing: Routing, spare: Spare | None
    ) -> tuple[str, tuple[str, ...]]:
        """The port with the right number, and the container's end, of a spare pair; or of the interface that is
        there."""
        if endpoint.interface:
            own = look.own(endpoint.interface)
            was_down = {WAS_DOWN: "true"} if own is not None and not own.up else {}
            self.put_port(endpoint, scope, was_down)
            _limit(endpoint)
            veth.bring_up(endpoint.interface)
            return "", ()
        assert spare is not None
        host_mac = spare.made.result()
        self._make_way(endpoint)
        _replacing(endpoint, lambda: veth.take(spare.name, endpoint))
        configured = self._aside.submit(veth.configure, endpoint, self._checksum_offload, routing)
        try:
            self.put_port(endpoint, scope)
        finally:
            wait([configured])
        _limit(endpoint)
        return host_mac, configured.result()

    def spare(self, key: Key, netns: str) -> Spare:
        """Begin to make a pair for an endpoint that is not known yet."""
        name = spare_name(key)
        return Spare(name, self._aside.submit(veth.make_spare, name, key[1], netns))

    def discard(self, key: Key, spare: Spare | None = None) -> None:
        """The pair that nobody took; without one in the making, what a crash may have left of it."""
        name = spare_name(key)
        if spare is not None:
            wait([spare.made])
        elif look.index_of(name) is None:
            return
        try:
            veth.delete(name)
        except OSError as fault:
            log.warning("interface %s stays for now: %s", name, fault)

    def pair(self, endpoint: Endpoint) -> str:
        self._make_way(endpoint)
        return _replacing(endpoint, lambda: veth.make(endpoint))

    def _make_way(self, endpoint: Endpoint) -> None:
        if self._database.port(endpoint.port_name) is not None:
            # Of a container that is gone or was left: Open vSwitch must let go of the old pair before it sees a new one
            # of that name, or it goes on listening to the old.
            self._database.apply([DropPort(self._bridge, endpoint.port_name)])
            self._database.switched_on(PATIENCE)

    def put_port(self, endpoint: Endpoint, scope: str, more: Mapping[str, str] = EMPTY) -> None:
        port = endpoint_port(endpoint)
        port = port._replace(external_ids={**port.external_ids, SCOPE: scope, **more})
        # Last, with nothing more to change about the link: every change costs ovs-vswitchd and the controller a turn.
        self._database.apply([PutPort(self._bridge, port)])
        problem = port_problem(port, self._database.settled(port.name))
        if problem:
            raise PortFailed(problem)

    def of(self, key: Key) -> dict[str, bool]:
        """The ports of an interface that is in no document: attached by an earlier run, say; and whether each is an
        interface of the host's own."""
        try:
            ports = self._database.ports(self._bridge).values()
        except OvsdbFault as fault:
            log.warning("%s", fault)
            return {}
        ours = [(port.name, port.external_ids) for port in ports if ENDPOINT in port.external_ids]
        return {name: "interface" in ids for name, ids in ours if (ids.get("container"), ids.get("ifname")) == key}

    def remove(self, ports: Mapping[str, bool]) -> None:
        """Ports by name, and whether each is an interface of the host's own, which is left as it was found."""
        if not ports:
            return
        was_down: set[str] = set()
        try:
            for name in (name for name, given in ports.items() if given):
                port = self._database.port(name)
                was_down |= {name} if port is not None and WAS_DOWN in port.external_ids else set()
            self._database.apply([DropPort(self._bridge, name) for name in ports])
        except OvsdbFault as fault:
            log.warning("port %s stays until Open vSwitch is back: %s", ", ".join(ports), fault)
        for name, given in ports.items():
            try:
                if not given:
                    veth.delete(name)
                elif name in was_down:
                    veth.bring_down(name)
            except OSError as fault:
                log.warning("interface %s stays as it is for now: %s", name, fault)


def _replacing(endpoint: Endpoint, make: Callable[[], T]) -> T:
    try:
        return make()
    except veth.InterfaceExists:
        # The container has no such interface, as was looked at before: it is our own, of an attach that a crash cut
        # short, and its other end is somewhere else.
        veth.delete(endpoint.port_name)
        return make()


def _limit(endpoint: Endpoint) -> None:
    """After its port is there: Open vSwitch takes the queues of an interface away when it opens it. A new one has no
    limits that might have to go."""
    if any(endpoint.limits):
        shape.limit(endpoint)
