"""One host for all tests of this folder, and an agent on it that each test finds running."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sqlite3
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from db import hosts, migrate, networks, tenants, wanted
from db.changes import current_revision, transaction
from db.engine import create_engine, reading, writing
from db.errors import NotFound
from db.tables import Controller, HostStatus
from ovs_agent.cni.install import install
from tests.agent.site import PREFIX, Container, Process, inside, make_netns, remove_netns, run, sweep, until
from tests.ovs import Ovs


class Site:
    """A machine with its switch; the API, its database and a controller, which the machine reaches."""

    def __init__(self, folder: Path, tls: bool = False) -> None:
        sweep()
        self.folder = folder
        self.authority = folder / "tls" / "ca.pem" if tls else None
        self.netns = make_netns(f"{PREFIX}{os.getpid()}{'-tls' if tls else ''}")
        with inside(self.netns):
            self.ovs = Ovs().__enter__()
        self.url = f"sqlite:///{folder / 'warren.db'}"
        self.engine = create_engine(self.url)
        migrate.upgrade(self.engine)
        with transaction(self.engine) as tx:
            tenants.create(tx, "acme")
            networks.create(tx, "acme/web", subnets=["10.20.0.0/24", "fd00:20::/64"])
            networks.create(tx, "acme/old", subnets=["10.21.0.0/24"])
            networks.create(tx, "acme/tiny", subnets=["10.22.0.0/30"])
        # The namespace is theirs alone; a port that the kernel gives could be somebody's own while they restart.
        port, listen = 8080, "127.0.0.1:6653"
        self.api_url = f"http{'s' if tls else ''}://127.0.0.1:{port}"
        trust = ("--tls-dir", str(folder / "tls"))
        where = (*(trust if tls else ("--insecure-http",)), "--bind", f"127.0.0.1:{port}", "--access-log")
        self.api = Process(self.netns, folder / "web.log", "web", "--db", self.url, *where)
        self.target = f"{'ssl' if tls else 'tcp'}:{listen}"
        where = (*(trust if tls else ("--insecure-tcp",)), "--listen", listen, "--name", "c1")
        self.controller = Process(self.netns, folder / "controller.log", "controller", "--db", self.url, *where)
        self._numbers = itertools.count(1)
        self.controller.start()
        self.start_api()

    def start_api(self) -> None:
        self.api.start()
        until(self.api_answers, "the API answers")

    def connected(self, host: str) -> bool:
        """Whether the controller says that the host's bridge is connected."""
        with reading(self.engine) as session:
            return bool(hosts.get(session, host).status.connected)

    def restart_switch(self) -> None:
        with inside(self.netns):
            self.ovs.start_switch()

    @contextmanager
    def silent_controller(self) -> Iterator[None]:
        """It says nothing meanwhile, as if its machine were gone; but not in the middle of writing to the database."""
        while True:
            self.controller.signal(signal.SIGSTOP)
            try:
                with closing(
                    sqlite3.connect(self.folder / "warren.db", timeout=0.05, isolation_level=None)
                ) as database:
                    database.execute("BEGIN IMMEDIATE")
                    database.execute("ROLLBACK")
                break
            except sqlite3.OperationalError:
                self.controller.signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.controller.signal(signal.SIGCONT)

    @contextmanager
    def without_api(self) -> Iterator[None]:
        self.api.stop(signal.SIGKILL)
        until(lambda: not self.api_answers(), "the API is down")
        try:
            yield
        finally:
            self.start_api()

    def api_answers(self) -> bool:
        with inside(self.netns):
            try:
                trust = ssl.create_default_context(cafile=self.authority) if self.authority else None
                return urllib.request.urlopen(f"{self.api_url}/healthz", timeout=10, context=trust).status == 200
            except OSError:
                return False

    def new_host(self) -> tuple[str, str, str]:
        """Name, address and enrolment token."""
        number = next(self._numbers)
        with transaction(self.engine) as tx:
            _, token = hosts.create(tx, f"h{number}")
        return f"h{number}", f"198.18.0.{10 + number}", token

    def close(self) -> None:
        self.controller.stop()
        self.api.stop()
        self.engine.dispose()
        self.ovs.__exit__()
        remove_netns(self.netns)


class Host:
    """An enrolled host with its agent."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.name, self.address, self.token = site.new_host()
        self.folder = site.folder / self.name
        self.bridge = f"br-{self.name}"
        self.socket = self.folder / "run" / "cni.sock"
        self.plugin, _ = install(self.folder / "bin", self.folder / "net.d", self.socket, None)
        self.agent = self.agent_with("--token", self.token)
        self._numbers = itertools.count(1)
        self._containers: list[Container] = []

    def agent_with(self, *more: str) -> Process:
        return Process(
            self.site.netns,
            self.site.folder / f"{self.name}.log",
            *("agent", "--api", self.site.api_url, "--bridge", self.bridge, "--datapath", "netdev"),
            *("--state-dir", str(self.folder / "state"), "--run-dir", str(self.folder / "run")),
            *("--cni-conf-dir", str(self.folder / "net.d")),
            *("--ovsdb", f"unix:{self.site.ovs.folder}/db.sock", "--address", self.address, *more),
        )

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)  # a killed agent leaves it
        self.agent.start()
        until(self.socket.exists, "the CNI socket")

    def container(self, ifname: str = "eth0") -> Container:
        assert self.site.controller.alive, self.site.controller.said[-2000:]
        container = Container(self.plugin, self.name, f"{self.name}-c{next(self._numbers)}", ifname)
        make_netns(container.netns)
        self._containers.append(container)
        return container

    def drop(self, container: Container) -> None:
        """It is gone, with its namespace."""
        self._containers.remove(container)
        remove_netns(container.netns)

    @property
    def id(self) -> int:
        with reading(self.site.engine) as session:
            return hosts.get(session, self.name).id

    def report(self) -> dict[str, Any]:
        """The agent's last."""
        with reading(self.site.engine) as session:
            return dict(hosts.get(session, self.name).status.agent_report or {})

    @contextmanager
    def refusing(self, error: str) -> Iterator[None]:
        """Say in the controller's place (it is silent) that the bridge refuses whatever it was sent last."""
        mine = HostStatus.host_id == self.id
        with writing(self.site.engine) as session:
            revision = current_revision(session)
            before = session.execute(select(HostStatus.wanted_revision, HostStatus.error).where(mine)).one()
            session.execute(update(Controller).values(revision=revision))
            session.execute(update(HostStatus).where(mine).values(wanted_revision=revision, error=error))
        try:
            yield
        finally:
            with writing(self.site.engine) as session:
                session.execute(update(HostStatus).where(mine).values(**before._asdict()))

    def make_it_look(self) -> None:
        """Until the agent has looked at everything once more and mended what it found."""
        ovs = self.site.ovs
        ovs.vsctl("set", "bridge", self.bridge, "fail_mode=standalone")
        until(lambda: "secure" in ovs.vsctl("get", "bridge", self.bridge, "fail_mode"), "the agent has looked")

    def ports(self) -> list[str]:
        """The endpoints' ports on the bridge."""
        return [port for port in self.site.ovs.vsctl("list-ports", self.bridge).split() if not port.startswith("br-")]

    def links(self) -> list[str]:
        """The host's ends of containers' interfaces."""
        found = json.loads(run("ip", "-n", self.site.netns, "-j", "link", "show", "type", "veth") or "[]")
        return [link["ifname"] for link in found]

    def endpoints(self) -> list[wanted.WantedEndpoint]:
        with reading(self.site.engine) as session:
            return wanted.wanted(session, hosts.get(session, self.name).id).endpoints

    def close(self) -> None:
        try:
            remove_netns(*{container.netns for container in self._containers})
        finally:
            self.agent.stop()
        self.site.ovs.vsctl("--if-exists", "del-br", self.bridge)
        with transaction(self.site.engine) as tx, suppress(NotFound):
            hosts.delete(tx, self.name, force=True)  # nobody waits for it, or finds its addresses taken


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.close()


@pytest.fixture(scope="module")
def host(site: Site) -> Iterator[Host]:
    """A host whose agent runs. Tests that stop it start it again."""
    host = Host(site)
    try:
        host.start()
        yield host
    finally:
        host.close()


@pytest.fixture
def container(host: Host) -> Callable[..., Container]:
    return host.container
