"""Attaching a container's interface to its network, and detaching it: everything or nothing.

```
 PUT attachment ──┬── veth ── port ── addresses, routes ── number from Open vSwitch ──┬── attached
                  └── controller compiles ── bridge confirms the flows ───────────────┘
```

The port takes the number for which the flows are made, so the first packet meets them. It decides the order, what is
undone after a failure, and what is put off while the API is away. It refuses to know who asks (CNI, Docker) and in
which words.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from logging import getLogger
from typing import Any, NamedTuple
from urllib.parse import quote

from client.rest import Problem, Rest, Unreachable
from ovs_agent.ledger import Busy, Key, Ledger
from ovs_agent.netlink import look, veth
from ovs_agent.netlink.announce import announce
from ovs_agent.netlink.veth import ALL, Routing
from ovs_agent.netlink.wire import NoNamespace, is_home
from ovs_agent.ovsdb import Database, OvsdbFault
from ovs_agent.ovsdb.database import PATIENCE
from ovs_agent.plan import ENDPOINT, WAS_DOWN, DropPort, Endpoint, PutPort, endpoint_port, port_problem
from ovs_agent.state import Release, State

log = getLogger(__name__)
FLOWS_PATIENCE = 20.0
"""Seconds that an attach waits for its flows."""
PEERS_PATIENCE = 0.3
"""Seconds of it that other hosts may hold an attach up. They get the flows at the same moment; waiting for them makes
the first packet's answer sure, but a host that is slow or away must not keep this one from starting containers."""
PEERS_AWAY = 10.0
"""Seconds for which nobody waits for other hosts after one of them was found to be cut off."""
SLICE = 2.0
"""Seconds between looks at whether the caller is still there."""
RETRY = 0.2
TURN_PATIENCE = 30.0
"""Seconds that a detach waits for an attach of the same interface to end, and the other way round."""
RELEASE_PATIENCE = 5.0
CONCURRENCY = 32
SCOPE = "warren-scope"
"""The key in a port's external_ids for who attached it."""


class Abandoned(Exception):  # noqa: N818
    """The caller went away before it was told the outcome."""


class HomeNamespace(Exception):  # noqa: N818
    """The namespace to attach is the host's own."""


class PortFailed(Exception):  # noqa: N818
    """Open vSwitch could not make the port as asked."""


class FlowsFailed(Exception):  # noqa: N818
    """The bridge refused the endpoint's flows."""


class FlowsLate(Exception):  # noqa: N818
    """Nobody confirmed the endpoint's flows in time."""


class NotAttached(Exception):  # noqa: N818
    """There is no such attachment."""


class NotToBeGiven(Exception):  # noqa: N818
    """An interface of the host's own that cannot become a port."""


class Attached(NamedTuple):
    endpoint: Endpoint
    host_mac: str
    gateways: tuple[str, ...]  # those that got a default route
    revision: int


class Attacher:
    def __init__(
        self,
        rest: Rest,
        host: str,
        bridge: str,
        checksum_offload: bool,
        database: Database,
        ledger: Ledger,
        state: State,
    ) -> None:
        self._rest = rest
        self._host = host
        self._bridge = bridge
        self._checksum_offload = checksum_offload
        self._database = database
        self._ledger = ledger
        self._state = state
        self._peers_away_until = 0.0
        self._aside = ThreadPoolExecutor(CONCURRENCY, "aside")

    def attach(
        self,
        key: Key,
        netns: str,
        wish: Mapping[str, Any],
        scope: str,
        abandoned: Callable[[], bool],
        routing: Routing = ALL,
    ) -> Attached:
        """`wish` is the body of the API's attachment, `scope` what the caller wants to find its attachments by.
        Raises whatever went wrong, with nothing left behind; but an endpoint that was to move here stays, without a
        port, so that it can be tried again."""
        with self._ledger.working(key, TURN_PATIENCE):
            if interface := wish.get("interface"):
                self._check_given(key, interface)
            else:
                self._check_inside(key, netns)
            if self._state.has_release(Release(*key)):
                self._release(key)  # an older interface of this name, whose end the API has yet to hear of
            made: list[Endpoint] = []
            try:
                return self._attach(key, wish, scope, abandoned, made, routing)
            except BaseException as fault:
                log.warning("attach of %s %s failed and is undone: %s", *key, fault)
                self._remove({endpoint.port_name: bool(endpoint.interface) for endpoint in made})
                if wish.get("move"):
                    pass
                elif made or not (
                    isinstance(fault, Problem) and fault.status < 500
                ):  # refused: there is nothing to undo
                    self._release_or_remember(key)
                raise

    def detach(self, key: Key) -> int | None:
        """Succeeds for what is not attached, and while the API or Open vSwitch is away: what is left, the keeper and
        the journal finish. Answers the revision, if the API has been told."""
        with self._ledger.working(key, TURN_PATIENCE):
            released = self._aside.submit(self._release_or_remember, key)
            endpoint = self._ledger.find(key)
            ports = {endpoint.port_name: bool(endpoint.interface)} if endpoint is not None else self._ports_of(key)
            for name in ports:
                self._ledger.touch(key, name)
            self._remove(ports)
            revision = released.result()
            if endpoint is not None:
                self._ledger.forget(endpoint)
        log.info("detached %s %s%s", *key, f" ({endpoint.name})" if endpoint else "")
        return revision

    def attached(self, key: Key) -> bool:
        """Whether there is anything to detach."""
        return self._ledger.find(key) is not None or bool(self._ports_of(key))

    def progress(self, revision: int, seconds: float) -> Any:
        """Where a revision is live, as the API says it; it may wait so long for news."""
        return self._rest.get(f"/revisions/{revision}", params={"wait": seconds}, timeout=seconds + 10).body

    def complaints(self, key: Key, gateways: list[str]) -> list[str]:
        """What is not as the attach left it. Raises NotAttached."""
        endpoint = self._ledger.find(key)
        if endpoint is None:
            raise NotAttached(f"Interface {key[1]} of container {key[0]} is not attached.")
        found = look.complaints(endpoint, gateways)
        port = self._database.port(endpoint.port_name)
        if port is None:
            found.append(f"Port {endpoint.port_name} is not on the bridge {self._bridge}.")
        elif problem := port_problem(endpoint_port(endpoint), port):
            found.append(problem)
        return found

    def attachments(self, scope: str) -> set[Key]:
        """What was attached with this scope and has a port still."""
        ports = self._database.ports(self._bridge).values()
        ours = [port.external_ids for port in ports if ENDPOINT in port.external_ids]
        return {(ids.get("container", ""), ids.get("ifname", "")) for ids in ours if ids.get(SCOPE) == scope}

    def retry_releases(self) -> None:
        """Tell the API what it could not be told before."""
        for release in self._state.releases():
            key = release.container_id, release.ifname
            try:
                with self._ledger.working(key, 0):
                    if self._state.has_release(release):
                        self._release(key)
            except Busy:
                continue
            except Unreachable:
                return  # whoever polls the API says so
            except Problem as problem:
                log.error("release of %s %s was refused: %s", *release, problem)
                if problem.status == 404:
                    self._state.remove_release(release)  # no such host any more: nothing of it is held

    def close(self) -> None:
        self._aside.shutdown(wait=False, cancel_futures=True)

    def _check_inside(self, key: Key, netns: str) -> None:
        if look.exists(netns, key[1]):
            raise veth.InterfaceExists(
                f"Interface {key[1]} exists already in {netns}; delete it first, or choose another name."
            )
        if is_home(netns):
            raise HomeNamespace(f"{netns} is this host's own network namespace; give the container's.")

    def _check_given(self, key: Key, name: str) -> None:
        own = look.own(name)
        if own is None:
            raise NotToBeGiven(f"This host has no interface {name}; make it first.")
        if own.made or name.startswith(self._bridge):
            raise NotToBeGiven(f"Interface {name} is Warren's own; give another.")
        port = self._database.port(name)
        if own.bridged or (port is not None and ENDPOINT not in port.external_ids):
            raise NotToBeGiven(f"Interface {name} is in a bridge already; take it out first.")
        if port is not None and (port.external_ids.get("container"), port.external_ids.get("ifname")) != key:
            raise NotToBeGiven(f"Interface {name} is attached already; detach it first.")
        if own.addresses:
            raise NotToBeGiven(
                f"Interface {name} has the host's address {own.addresses[0]}, which nobody would reach any more; "
                "remove it first, or give another interface."
            )

    def _attach(
        self,
        key: Key,
        wish: Mapping[str, Any],
        scope: str,
        abandoned: Callable[[], bool],
        made: list[Endpoint],
        routing: Routing,
    ) -> Attached:
        started = time.monotonic()
        body = self._rest.put(self._path(key), json=wish, timeout=FLOWS_PATIENCE).body
        given = time.monotonic()
        endpoint, revision = Endpoint.parse(body), int(body["revision"])
        self._ledger.touch(key, endpoint.port_name)
        made.append(endpoint)
        failed = threading.Event()
        confirmed = self._aside.submit(self._confirmed, revision, lambda: failed.is_set() or abandoned())
        try:
            host_mac, gateways = self._plug(endpoint, scope, routing)
        except BaseException:
            failed.set()
            raise
        plugged = time.monotonic()
        confirmed.result()
        if abandoned():
            raise Abandoned("the caller went away")
        self._ledger.attached(endpoint, revision)
        if wish.get("move") and not endpoint.interface:
            self._announce(endpoint)
        log.info(
            "attached %s %s as %s, port %s, %s: API %.1f ms, then port %.1f ms beside flows %.1f ms",
            *(*key, endpoint.name, endpoint.port_name, " ".join(endpoint.addresses)),
            *((given - started) * 1e3, (plugged - given) * 1e3, (time.monotonic() - given) * 1e3),
        )
        return Attached(endpoint, host_mac, gateways, revision)

    def _plug(self, endpoint: Endpoint, scope: str, routing: Routing) -> tuple[str, tuple[str, ...]]:
        """The veth, its port with the right number, and the container's end; or the interface that is there."""
        port = endpoint_port(endpoint)
        port = port._replace(external_ids={**port.external_ids, SCOPE: scope})
        host_mac, gateways = "", tuple[str, ...]()
        if endpoint.interface:
            own = look.own(endpoint.interface)
            if own is not None and not own.up:
                port = port._replace(external_ids={**port.external_ids, WAS_DOWN: "true"})
        else:
            if self._database.port(port.name) is not None:
                # Of a container that is gone or was left: Open vSwitch must let go of the old pair before it sees a
                # new one of that name, or it goes on listening to the old.
                self._database.apply([DropPort(self._bridge, port.name)])
                self._database.switched_on(PATIENCE)
            host_mac = self._make(endpoint)
            gateways = veth.configure(endpoint, self._checksum_offload, routing)
        # Last, with nothing more to change about the link: every change costs ovs-vswitchd and the controller a turn.
        self._database.apply([PutPort(self._bridge, port)])
        problem = port_problem(port, self._database.settled(port.name))
        if problem:
            raise PortFailed(problem)
        if endpoint.interface:
            veth.bring_up(endpoint.interface)
        return host_mac, gateways

    def _make(self, endpoint: Endpoint) -> str:
        try:
            return veth.make(endpoint)
        except veth.InterfaceExists:
            # The container has no such interface, as was looked at before: it is our own, of an attach that a crash
            # cut short, and its other end is somewhere else.
            veth.delete(endpoint.port_name)
            return veth.make(endpoint)

    def _announce(self, endpoint: Endpoint) -> None:
        try:
            announce(endpoint)
        except (OSError, NoNamespace) as fault:
            log.warning("%s could not be announced: %s", endpoint.name, fault)

    def _confirmed(self, revision: int, abandoned: Callable[[], bool]) -> None:
        """Return when the bridge of this host has the flows of `revision`, and those of others had time to get them."""
        begun = time.monotonic()
        said = "the API has not answered"
        while (rest := begun + FLOWS_PATIENCE - time.monotonic()) > 0 and not abandoned():
            params: dict[str, Any] = {"host": self._host, "wait": min(SLICE, rest)}
            patience = begun + PEERS_PATIENCE - time.monotonic()
            if patience > 0 and begun > self._peers_away_until:
                params = {"wait": patience}
            try:
                progress = self._rest.get(f"/revisions/{revision}", params=params, timeout=SLICE + 5).body
            except (Unreachable, Problem) as fault:
                if isinstance(fault, Problem) and fault.status < 500 and fault.status != 429:
                    raise
                said = str(fault)
                time.sleep(RETRY)
                continue
            states = {one["host"]: one for one in progress["hosts"]}
            mine = states.get(self._host, {"state": progress["state"], "error": ""})
            others = {one["state"] for one in progress["hosts"] if one["host"] != self._host}
            if mine["state"] == "applied" and "pending" not in others:
                if "disconnected" in others:
                    self._peers_away_until = time.monotonic() + PEERS_AWAY
                return
            if mine["state"] == "failed":
                raise FlowsFailed(f"The bridge refused the flows of revision {revision}: {mine['error']}.")
            said = f"this host is {mine['state']}" + (f": {mine['error']}" if mine["error"] else "")
            time.sleep(0.02)  # an API with too many waiters answers at once
        if abandoned():
            raise Abandoned("the caller went away")
        raise FlowsLate(
            f"Revision {revision} was not confirmed within {FLOWS_PATIENCE:g} s ({said}); is the controller running, "
            f"and connected to the bridge {self._bridge}?"
        )

    def _ports_of(self, key: Key) -> dict[str, bool]:
        """The ports of an interface that is in no document: attached by an earlier run, say; and whether each is an
        interface of the host's own."""
        try:
            ports = self._database.ports(self._bridge).values()
        except OvsdbFault as fault:
            log.warning("%s", fault)
            return {}
        ours = [(port.name, port.external_ids) for port in ports if ENDPOINT in port.external_ids]
        return {name: "interface" in ids for name, ids in ours if (ids.get("container"), ids.get("ifname")) == key}

    def _remove(self, ports: Mapping[str, bool]) -> None:
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

    def _release_or_remember(self, key: Key) -> int | None:
        try:
            return self._release(key)
        except Unreachable as fault:
            self._state.add_release(Release(*key))
            log.warning("release of %s %s is put off: %s", *key, fault)
        except Problem as problem:
            self._state.add_release(Release(*key))
            log.error("release of %s %s was refused and is put off: %s", *key, problem)
        return None

    def _release(self, key: Key) -> int:
        revision = int(self._rest.delete(self._path(key), timeout=RELEASE_PATIENCE).body["revision"])
        self._state.remove_release(Release(*key))
        return revision

    def _path(self, key: Key) -> str:
        container, ifname = (quote(part, safe="") for part in key)
        return f"/hosts/{self._host}/attachments/{container}/{ifname}"
