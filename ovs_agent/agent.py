"""The agent as a whole: its threads, how they are joined, and how it ends.

```
 API ── wanted ──> ledger ──> keeper ──> Open vSwitch, links
  │ └──────────────── report <──┘  ^ changes
  ├── attachments <── attacher ────┴── CNI socket <── shim <── container runtime
  └── names ──> resolver <── bridge <── containers' DNS queries
```
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from logging import getLogger
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, NamedTuple

from client import VERSION
from client.rest import Problem, Rest, Unreachable
from ovs_agent.attach import Attacher
from ovs_agent.certificate import Certificate
from ovs_agent.cni.conflist import Conflist
from ovs_agent.cni.plugin import Unfit
from ovs_agent.cni.server import Server
from ovs_agent.conntrack import Connections
from ovs_agent.dns import server as dns
from ovs_agent.dns import space
from ovs_agent.dns.follow import Follower
from ovs_agent.dns.forward import Upstreams
from ovs_agent.docker.book import Book
from ovs_agent.docker.driver import Driver
from ovs_agent.docker.engine import Engine
from ovs_agent.docker.naming import Naming
from ovs_agent.docker.server import Server as DockerServer
from ovs_agent.gateway import Gateway
from ovs_agent.keeper import Keeper
from ovs_agent.ledger import Ledger
from ovs_agent.netlink import look
from ovs_agent.ovsdb import Database
from ovs_agent.plan import resolver_port
from ovs_agent.publish import Publisher
from ovs_agent.report import Reporter
from ovs_agent.state import Identity, State
from ovs_agent.tracer import Tracer
from ovs_agent.traffic import Traffic
from ovs_agent.underlay import Prober
from ovs_agent.unixctl import folder
from ovs_agent.wanted import Poll

log = getLogger(__name__)
SOCKET = "cni.sock"
START_PATIENCE = 5.0
"""Seconds that the CNI socket waits for the bridge: a runtime that calls earlier is told to try again."""
SIGNAL_SECONDS = 0.5
"""The most that a signal to stop waits to be looked at."""


class Settings(NamedTuple):
    api: str
    bridge: str
    datapath: str
    ovsdb: str
    run_dir: Path
    physical: Mapping[str, str]  # bridge or interface, by the name of the segment
    resolv_conf: Path
    docker_plugins: Path | None = None
    docker_tenant: str = ""
    docker_socket: Path = Path("/run/docker.sock")
    cni_conf_dir: Path = Path("/etc/cni/net.d")
    ca: str | None = None  # file of the API's authority; None: one of the machine's


class AlreadyRunning(Exception):  # noqa: N818
    """Another agent has the run directory."""


class Agent:
    def __init__(self, settings: Settings, identity: Identity, state: State) -> None:
        self._settings = settings
        self._lock = _lock(settings.run_dir)
        rest = Rest(settings.api, identity.token, ca=settings.ca)
        self._rest = rest
        self._ledger = ledger = Ledger(settings.bridge, settings.datapath, settings.physical)
        self._database = Database(settings.ovsdb, lambda: self._keeper.wake())
        offload = settings.datapath != "netdev"
        self._space = space.Space(settings.bridge, offload)
        self._resolver = dns.Server(self._space.sockets, Upstreams(settings.resolv_conf), space.addresses)
        self._names = Follower(rest, identity.host, state, self._resolver.tell)
        self._attacher = Attacher(
            rest, identity.host, settings.bridge, offload, self._database, ledger, state, self._names
        )
        connections = Connections(folder(settings.ovsdb), settings.datapath)
        self._reporter = Reporter(
            rest,
            identity.host,
            _facts(),
            sorted(settings.physical),
            self._attacher.retry_releases,
            connections.counted,
            Traffic(settings.ovsdb).counted,
            lambda: self._gateway.ports,
        )
        self._keeper = Keeper(
            self._database,
            ledger,
            settings.bridge,
            self._reporter.tell,
            self._everywhere,
            resolver_port(settings.bridge).name,
        )
        told = partial(self._keeper.beyond, "out"), self._reporter.at_once
        self._gateway = Gateway(settings.bridge, settings.api, ledger, *told)
        publisher = Publisher(rest, identity.host, self._reporter.now, self._gateway.settled)
        self._links = look.Watch(self._changed)
        self._addresses = look.Watch(self._gateway.readdressed, look.RTMGRP_ADDRESSES)
        self._prober = Prober(self._keeper.surroundings, partial(self._keeper.beyond, "underlay"))
        tracer = Tracer(rest, identity.host, settings.bridge, settings.ovsdb)
        certificate = Certificate(rest, identity.host, state)
        hears = (self._changed, self._reporter.hurry, tracer.answer, certificate)
        self._poll = Poll(rest, identity.host, state, ledger, *hears)
        self._server = Server(settings.run_dir / SOCKET, self._attacher, publisher, self.unfit)
        self._conflist = Conflist(settings.cni_conf_dir, lambda: self._poll.trouble or self._not_ready())
        self._docker: DockerServer | None = None
        if settings.docker_plugins is not None:
            book = Book(state.folder / "docker")
            engine = Engine(settings.docker_socket)
            naming = Naming(engine, book.joints, rest, identity.host)
            more = (identity.host, settings.docker_tenant, book, publisher, engine, naming.joined)
            self._docker = DockerServer(settings.docker_plugins, Driver(self._attacher, rest, *more), naming)
        self._ended: SimpleQueue[None] = SimpleQueue()

    def run(self) -> None:
        """Until `stop`."""
        log.info("host agent starts: API %s, bridge %s", self._settings.api, self._settings.bridge)
        self._database.start()
        self._links.start()
        self._addresses.start()
        self._names.recall()
        self._resolver.start()
        self._names.start()
        self._poll.recall()
        self._poll.start()
        self._reporter.start()
        keeper = threading.Thread(target=self._keeper.run, name="keeper", daemon=True)
        keeper.start()
        self._keeper.first_look.wait(START_PATIENCE)
        self._gateway.start()
        self._prober.start()
        self._server.start()
        self._conflist.start()
        log.info("ready for calls at %s", self._settings.run_dir / SOCKET)
        if self._docker is not None:
            self._docker.start()
            log.info("ready for Docker at %s", self._docker.path)
        self._wait_for_end()
        log.info("host agent stops; containers keep their network")
        self._conflist.stop()
        self._server.stop()
        if self._docker is not None:
            self._docker.stop()
        self._poll.stop()
        self._names.stop()
        self._resolver.stop()
        self._space.close()
        self._links.stop()
        self._addresses.stop()
        self._reporter.stop()
        self._prober.stop()
        self._gateway.stop()
        self._keeper.stop()
        keeper.join()
        self._attacher.close()
        self._database.stop()
        self._rest.close()
        self._lock.close()

    def stop(self) -> None:
        """Safe to call from a signal handler."""
        self._ended.put(None)

    def _wait_for_end(self) -> None:
        """Unlike an event's, a queue's `put` may interrupt its own `get`. A signal that comes just before Python waits
        is looked at when it has waited."""
        while True:
            with suppress(Empty):
                return self._ended.get(timeout=SIGNAL_SECONDS)

    def _everywhere(self, revision: int) -> bool:
        """Whether a revision is live on all hosts that it concerns; not, while nobody can say."""
        try:
            return bool(self._attacher.progress(revision, 0)["state"] == "applied")
        except (Unreachable, Problem):
            return False

    def _changed(self) -> None:
        self._keeper.wake()
        self._gateway.wake()

    def unfit(self) -> Unfit | None:
        """Why an attach would fail at this moment, or None. Asks the API."""
        condition = self._reporter.condition
        impaired = condition is None or not condition.exists
        try:
            self._rest.get("/whoami", timeout=2.0)
        except (Unreachable, Problem) as fault:
            return Unfit(str(fault), impaired)
        why = self._not_ready()
        return Unfit(why, impaired) if why else None

    def _not_ready(self) -> str | None:
        condition = self._reporter.condition
        if condition is None or not condition.exists:
            return f"The bridge {self._settings.bridge} is not there yet; try again in a moment."
        if not condition.connected:
            return f"The bridge {self._settings.bridge} is connected to no controller; is one running?"
        return None


def _facts() -> dict[str, str | int]:
    return {"version": VERSION, "pid": os.getpid(), "started_at": datetime.now(UTC).isoformat(timespec="seconds")}


def _lock(run_dir: Path) -> IO[str]:
    """The kernel lets go of it however the process ends."""
    run_dir.mkdir(parents=True, exist_ok=True)
    file = (run_dir / "agent.lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise AlreadyRunning(f"Another agent runs with {run_dir}; stop it, or give this one --run-dir.") from None
    return file
