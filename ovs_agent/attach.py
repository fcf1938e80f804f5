"""Attaching a container's interface to its network, and detaching it: everything or nothing.

```
 PUT attachment ──┬── port ── number from Open vSwitch ────────────────┬── attached
 a pair of veth ──┼── addresses, routes ───────────────────────────────┤
                  └── controller compiles ── bridge confirms the flows ┘
```

The pair is made before anybody knows whose it will be. The port takes the number for which the flows are made, so the
first packet meets them. It decides the order, what is undone after a failure, and what is put off while the API is
away. It refuses to know who asks (CNI, Docker) and in which words.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from logging import getLogger
from typing import Any, NamedTuple

from client.rest import Problem, Rest, Unreachable
from ovs_agent.confirm import FLOWS_PATIENCE, Abandoned, Confirmation
from ovs_agent.dns.follow import Follower
from ovs_agent.document import Endpoint, Limits, attachment_path
from ovs_agent.findings import port_problem
from ovs_agent.ledger import Busy, Key, Ledger
from ovs_agent.netlink import look, veth
from ovs_agent.netlink.announce import announce
from ovs_agent.netlink.veth import ALL, Routing
from ovs_agent.netlink.wire import NoNamespace, is_home
from ovs_agent.ovsdb import Database
from ovs_agent.plan import ENDPOINT, endpoint_port
from ovs_agent.plug import SCOPE, Plugs, Spare, spare_name
from ovs_agent.state import Release, State

log = getLogger(__name__)
TURN_PATIENCE = 30.0
"""Seconds that a detach waits for an attach of the same interface to end, and the other way round."""
RELEASE_PATIENCE = 5.0
CONCURRENCY = 32
HERE = "/proc/thread-self/ns/net"
UNLIMITED = Limits()


class HomeNamespace(Exception):  # noqa: N818
    """The namespace to attach is the host's own."""


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
        names: Follower,
    ) -> None:
        self._rest = rest
        self._host = host
        self._bridge = bridge
        self._checksum_offload = checksum_offload
        self._database = database
        self._ledger = ledger
        self._state = state
        self._names = names
        self._confirmation = Confirmation(rest, host, bridge)
        self._aside = ThreadPoolExecutor(3 * CONCURRENCY, "aside")  # an attach uses three: a slow one holds up no other
        self._early = ThreadPoolExecutor(CONCURRENCY, "plug")  # of their own: each waits for one aside
        self._plugs = Plugs(database, bridge, checksum_offload, self._aside)

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
                self._plugs.discard(key)
                self._check_inside(key, netns)
            if self._state.has_release(Release(*key)):
                self._release(key)  # an older interface of this name, whose end the API has yet to hear of
            made: list[Endpoint] = []
            spare = None
            if not interface:
                self._ledger.touch(key, spare_name(key))
                spare = self._plugs.spare(key, netns)
            try:
                return self._attach(key, wish, scope, abandoned, made, routing, spare)
            except BaseException as fault:
                log.warning("attach of %s %s failed and is undone: %s", *key, fault)
                self._plugs.remove({endpoint.port_name: bool(endpoint.interface) for endpoint in made})
                if spare is not None:
                    self._plugs.discard(key, spare)
                if wish.get("move"):
                    pass
                elif made or not (
                    isinstance(fault, Problem) and fault.status < 500
                ):  # refused: there is nothing to undo
                    self._release_or_remember(key)
                raise

    def claim(self, key: Key, wish: Mapping[str, Any], patience: float) -> tuple[Endpoint, int]:
        """The endpoint with its addresses, and the revision that has its flows; no interface yet, which is `plug`'s
        work. Asking again for the same finds it. Raises Problem and Unreachable; `patience` is in seconds."""
        with self._ledger.working(key, TURN_PATIENCE):
            if self._state.has_release(Release(*key)):
                self._release(key)
            body = self._rest.put(attachment_path(self._host, key), json=wish, timeout=patience).body
            endpoint, revision = Endpoint.parse(body), int(body["revision"])
            self._ledger.attached(endpoint, revision)
            self._aside.submit(self._names.attached, endpoint, wish.get("aliases", ()), revision)
            return endpoint, revision

    def plug(self, endpoint: Endpoint, revision: int, peer: str, scope: str) -> None:
        """Make the pair of a claimed endpoint, with both ends in this namespace: whoever asked moves `peer` into the
        container and gives it its addresses. Returns when the flows of `revision` are there; a failure leaves no
        interface behind, and the claim as it was."""
        with self._ledger.working(endpoint.key, TURN_PATIENCE):
            started = time.monotonic()
            self._ledger.touch(endpoint.key, endpoint.port_name)
            failed = threading.Event()
            confirmed = self._aside.submit(self._confirmation.flows, revision, failed.is_set)
            try:
                self._plugs.pair(endpoint._replace(ifname=peer, netns=HERE))
                if not self._checksum_offload:
                    veth.without_checksum_offload(peer)
                # The kernel forgets the limits of an end that moves: the keeper gives them where it has moved to.
                self._plugs.put_port(endpoint._replace(limits=UNLIMITED), scope)
                plugged = time.monotonic()
                confirmed.result()
            except BaseException as fault:
                failed.set()
                log.warning("interface of %s failed and is undone: %s", endpoint.name, fault)
                self._plugs.remove({endpoint.port_name: False})
                raise
        log.info(
            "plugged %s, port %s, %s: port %.1f ms beside flows %.1f ms",
            *(endpoint.name, endpoint.port_name, " ".join(endpoint.addresses)),
            *((plugged - started) * 1e3, (time.monotonic() - started) * 1e3),
        )

    def plugging(self, endpoint: Endpoint, revision: int, peer: str, scope: str) -> Future[None]:
        """Begins what `plug` does, without waiting for it."""
        return self._early.submit(self.plug, endpoint, revision, peer, scope)

    def unplug(self, key: Key) -> None:
        """Remove the pair and its port; the claim stays."""
        with self._ledger.working(key, TURN_PATIENCE):
            endpoint = self._ledger.find(key)
            ports = {endpoint.port_name: False} if endpoint is not None else self._plugs.of(key)
            for name in ports:
                self._ledger.touch(key, name)
            self._plugs.remove(ports)

    def placed(self, peer: Callable[[Endpoint], str]) -> set[Key]:
        """Those whose pair exists, with its other end not (or not any more) in this namespace under `peer`'s name."""
        links = look.links()
        there = [one for one in self.known() if one.port_name in links and look.index_of(peer(one)) is None]
        return {one.key for one in there}

    def known(self) -> tuple[Endpoint, ...]:
        """This host's endpoints, as far as it knows."""
        return self._ledger.endpoints()

    def detach(self, key: Key) -> int | None:
        """Succeeds for what is not attached, and while the API or Open vSwitch is away: what is left, the keeper and
        the journal finish. Answers the revision, if the API has been told."""
        with self._ledger.working(key, TURN_PATIENCE):
            released = self._aside.submit(self._end, key)
            endpoint = self._ledger.find(key)
            ports = {endpoint.port_name: bool(endpoint.interface)} if endpoint is not None else self._plugs.of(key)
            for name in ports:
                self._ledger.touch(key, name)
            self._plugs.remove(ports)
            self._plugs.discard(key)
            revision = released.result()
            if endpoint is not None:
                self._ledger.forget(endpoint)
        log.info("detached %s %s%s", *key, f" ({endpoint.name})" if endpoint else "")
        return revision

    def attached(self, key: Key) -> bool:
        """Whether there is anything to detach."""
        return self._ledger.find(key) is not None or bool(self._plugs.of(key))

    def progress(self, revision: int, seconds: float) -> Any:
        """Where a revision is live, as the API says it; it may wait so long for news."""
        return self._rest.get(f"/revisions/{revision}", params={"wait": seconds}, timeout=seconds + 10).body

    def complaints(self, key: Key, gateways: list[str]) -> list[str]:
        """What is not as the attach left it. Raises NotAttached."""
        endpoint = self._ledger.find(key)
        if endpoint is None:
            raise NotAttached(f"Interface {key[1]} of container {key[0]} is not attached.")
        found = look.complaints(endpoint, [one for one in gateways if one in endpoint.gateways])  # others are others'
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
        for pool in (self._early, self._aside):
            pool.shutdown(wait=False, cancel_futures=True)

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
        spare: Spare | None,
    ) -> Attached:
        started = time.monotonic()
        body = self._rest.put(attachment_path(self._host, key), json=wish, timeout=FLOWS_PATIENCE).body
        given = time.monotonic()
        endpoint, revision = Endpoint.parse(body), int(body["revision"])
        self._ledger.touch(key, endpoint.port_name)
        made.append(endpoint)
        failed = threading.Event()
        gone = lambda: failed.is_set() or abandoned()  # noqa: E731
        confirmed = self._aside.submit(self._confirmation.flows, revision, gone, named=True)
        named = self._aside.submit(self._named, endpoint, wish, revision)
        try:
            host_mac, gateways = self._plugs.plug(endpoint, scope, routing, spare)
        except BaseException:
            failed.set()
            raise
        plugged = time.monotonic()
        confirmed.result()
        named.result()
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

    def _named(self, endpoint: Endpoint, wish: Mapping[str, Any], revision: int) -> None:
        # What moves here has aliases that only the API knows.
        if wish.get("move") or not self._names.attached(endpoint, wish.get("aliases", ()), revision):
            self._confirmation.names(revision, known_here=False)

    def _end(self, key: Key) -> int | None:
        endpoint = self._ledger.find(key)
        revision = self._release_or_remember(key)
        if revision is not None:
            self._confirmation.names(revision, endpoint is not None and self._names.detached(endpoint, revision))
        elif endpoint is not None:
            self._names.detached(endpoint, None)
        return revision

    def _release_or_remember(self, key: Key) -> int | None:
        """The revision without the interface, once the API has said it."""
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
        revision = int(self._rest.delete(attachment_path(self._host, key), timeout=RELEASE_PATIENCE).body["revision"])
        self._state.remove_release(Release(*key))
        return revision

    def _announce(self, endpoint: Endpoint) -> None:
        try:
            announce(endpoint)
        except (OSError, NoNamespace) as fault:
            log.warning("%s could not be announced: %s", endpoint.name, fault)
