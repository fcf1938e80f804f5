"""A lab as a whole: up, down, status, and what can be done to its parts.

It decides the order in which things start and end, and which of them may do so side by side. Coming up is idempotent:
what runs is left alone, what is missing is started. A lab that never came up whole is swept first.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from client.progress import Step
from client.rest import Problem, Rest, Unreachable
from lab import (
    announce,
    docker,
    endpoint,
    fabric,
    image,
    limits,
    netns,
    ovs,
    podman,
    probe,
    process,
    responder,
    server,
    state,
)
from lab import host as hosts
from lab.names import HostName, LabError, check_lab, fabric_netns
from lab.process import Daemon, Process
from lab.state import Placed, State

SIDE_BY_SIDE = 4
"""Hosts that are built at once."""
PATIENCE = 180.0
"""Seconds until every host must be connected."""


class Part(NamedTuple):
    """A process of the lab that can be stopped and started by name: `controller`, `agent:h1`. `patience` is how many
    seconds it may take to end."""

    name: str
    daemon: Daemon
    start: Callable[[], None]
    patience: float = 10.0

    def stop(self, kill: bool = False) -> None:
        self.daemon.stop(kill, self.patience)


class Lab:
    """A lab by name, whether it is up or not."""

    def __init__(self, name: str) -> None:
        self.name = check_lab(name)
        self.folder = state.folder(name)

    # -- the whole ---------------------------------------------------------------------------------------------

    def up(
        self,
        count: int | None = None,
        port: int = 0,
        owner: Process | None = None,
        engines: bool = False,
        podmans: bool = False,
    ) -> State:
        """Start what is missing. More hosts may be asked for later, not fewer; `engines` are Docker's, one a host, and
        `podmans` are Podman's."""
        with state.locked(self.name), ExitStack() as stack:
            known, people = state.load(self.name), None
            if known is None or not known.ready or not netns.exists(fabric_netns(self.name)):
                self._sweep()  # never came up whole, or the machine was restarted under it
                people = stack.enter_context(server.listen(port))
                known = State(count or 3, people.getsockname()[1], owner)
            elif count and count < known.hosts:
                raise LabError(
                    f"Lab '{self.name}' has {known.hosts} hosts and does not shrink to {count}; take it down first."
                )
            known = known._replace(hosts=max(count or 0, known.hosts), docker=engines or known.docker)
            known = known._replace(podman=podmans or known.podman)
            state.save(self.name, known)
            self._build(known, people)
            known = known._replace(ready=True)
            state.save(self.name, known)
            return known

    def down(self) -> bool:
        """End and remove everything that bears the lab's name. False when there was nothing."""
        with state.locked(self.name):
            return self._sweep()

    @property
    def hosts(self) -> list[HostName]:
        return state.hosts(self.name, state.running(self.name).hosts)

    def host(self, name: str) -> HostName:
        for one in self.hosts:
            if one.name == name:
                return one
        raise LabError(f"No host '{name}' in lab '{self.name}' (there are h1 to h{len(self.hosts)}).")

    @property
    def rest(self) -> Rest:
        return server.session(self.name)

    def login(self) -> dict[str, str]:
        """Where people find the API and the UI, and how they get in."""
        password = (self.folder / "admin.password").read_text().strip()
        return {"api": server.address(state.running(self.name).port), "user": server.ADMIN, "password": password}

    # -- endpoints ---------------------------------------------------------------------------------------------

    def run(self, host: str, wanted: endpoint.Wanted) -> Placed:
        return endpoint.run(self.name, self.host(host), wanted)

    def remove(self, name: str) -> None:
        placed = state.endpoint(self.name, name)
        endpoint.remove(self.name, self.host(placed.host), placed)

    def endpoints(self) -> list[Placed]:
        return state.endpoints(self.name)

    def emptiest(self) -> str:
        """The host with the fewest endpoints."""
        load = Counter({host.name: 0 for host in self.hosts})
        load.update(one.host for one in self.endpoints())
        return min(load, key=lambda name: (load[name], len(name), name))

    def parties(self) -> list[probe.Party]:
        """Those that are attached, as the probe sees them."""
        attached = [one for one in self.endpoints() if one.addresses]
        of_tenant: dict[str, list[str]] = defaultdict(list)
        for one in attached:
            of_tenant[one.tenant] += one.addresses
        return [
            probe.Party(one.name, one.tenant, one.netns, one.addresses, tuple(of_tenant[one.tenant]))
            for one in attached
        ]

    def probe(
        self,
        protos: Iterable[tuple[str, int | None]] = (("icmp", None), ("tcp", 80), ("udp", 80)),
        families: Iterable[int] = (4, 6),
        sources: Iterable[str] = (),
        targets: Iterable[str] = (),
        tenants: Iterable[str] = (),
    ) -> list[probe.Answer]:
        """Everybody asks everybody, or only those named; of these tenants only, if any are named."""
        wanted = set(tenants)
        known = {one.name: one for one in self.parties() if not wanted or one.tenant in wanted}
        sources, targets = list(sources), list(targets)
        for name in (*sources, *targets):
            if name not in known:
                raise LabError(f"No endpoint '{name}' to probe in lab '{self.name}' (there are: {', '.join(known)}).")
        asking = [known[name] for name in sources] or list(known.values())
        asked = [known[name] for name in targets] or list(known.values())
        return probe.run(probe.questions(asking, asked, list(protos), list(families)))

    def exec(self, name: str, command: Sequence[str]) -> NoReturn:
        """Become the command, in the namespace of an endpoint, of a host, or of the control plane (`fabric`)."""
        space, more = self._space(name)
        netns.enter(space)
        if placed := next((one for one in self.endpoints() if one.netns == space), None):
            own = self.folder / f"{placed.name}.resolv.conf"
            own.write_text(endpoint.resolv_conf(placed))
            netns.see(own, Path("/etc/resolv.conf"))
        self._become(command, more)

    def _become(self, command: Sequence[str], more: dict[str, str]) -> NoReturn:
        try:
            os.execvpe(command[0], list(command), process.environment(self.folder, more))
        except OSError as fault:
            raise LabError(f"Cannot run `{command[0]}`: {fault.strerror}.") from None

    def become(self, name: str, command: Sequence[str]) -> NoReturn:
        """Become the command, as that host: with its network, its mounts, and its engine for `docker`."""
        host = self.host(name)
        more = podman.settings(host) if state.running(self.name).podman else {}
        agent = {"WARREN_SOCKET": str(host.cni_socket)}
        self._become([*docker.enter(host), *command], {**docker.host_settings(host), **agent, **more})

    def docker(self, name: str, arguments: Sequence[str]) -> NoReturn:
        """Become the docker command of that host's engine."""
        host = self.host(name)
        if not state.running(self.name).docker:
            raise LabError(f"Lab '{self.name}' has no Docker; `warren lab up --docker` starts it.")
        self._become([docker.program(), *arguments], docker.settings(host, self.folder))

    def podman(self, name: str, arguments: Sequence[str]) -> NoReturn:
        """Become the podman command as that host."""
        host = self.host(name)
        if not state.running(self.name).podman:
            raise LabError(f"Lab '{self.name}' has no Podman; `warren lab up --podman` prepares it.")
        netns.enter(host.netns)
        self._become([podman.PROGRAM, *arguments], podman.settings(host))

    # -- parts -------------------------------------------------------------------------------------------------

    def parts(self) -> list[Part]:
        """Every process of the lab, in the order they start."""
        known = state.running(self.name)
        found = [
            Part("web", Daemon(self.folder, "web"), partial(self._start_web, known.port)),
            Part("controller", Daemon(self.folder, "controller"), self._start_controller),
            Part("responder", Daemon(self.folder, "responder"), partial(responder.start, self.folder)),
        ]
        for host in state.hosts(self.name, known.hosts):
            found.append(Part(f"ovs:{host.name}", ovs.daemons(host)[1], partial(self._start_switch, host)))
            found.append(Part(f"agent:{host.name}", hosts.agent(host), partial(self._start_agent, host)))
            if known.docker:
                start = partial(docker.start, host, self.folder)
                found.append(Part(f"docker:{host.name}", docker.engine(host), start, docker.STOP_PATIENCE))
        return found

    def part(self, name: str) -> Part:
        parts = self.parts()
        for one in parts:
            if one.name == name:
                return one
        raise LabError(
            f"Nothing called '{name}' runs in lab '{self.name}'; try {', '.join(p.name for p in parts[:5])}."
        )

    def restart(self, name: str, kill: bool = False) -> None:
        part = self.part(name)
        part.stop(kill)
        part.start()

    def set_cable(self, host: str, plugged: bool) -> None:
        fabric.set_cable(self.host(host), plugged)
        if plugged:
            announce.announce(self.hosts)

    def _space(self, name: str) -> tuple[str, dict[str, str]]:
        """The namespace that `name` means, and what the tools there need to know."""
        if name == "fabric":
            return fabric_netns(self.name), {}
        for host in self.hosts:
            if name == host.name:
                return host.netns, ovs.settings(host)
        return state.endpoint(self.name, name).netns, {}

    # -- building ----------------------------------------------------------------------------------------------

    def _build(self, known: State, people: socket.socket | None = None) -> None:
        limits.make_room()
        everyone = state.hosts(self.name, known.hosts)
        with Step("Underlay"):
            fabric.build(self.name)
        with Step("Database"):
            server.prepare(self.folder, known.port)
        with Step("Web and controller"):
            server.start_web(self.name, known.port, people)
            server.start_controller(self.name)
            responder.start(self.folder)
            server.wait_for_web(self.name)
            server.wait_for_controller(self.name)
        self._each("Switches", everyone, lambda host: hosts.machine(host, self.folder))
        rest = self.rest
        tokens = {host.name: hosts.register(host, rest) for host in everyone if not hosts.agent(host).process}
        self._each("Agents", everyone, lambda host: self._start_agent(host, tokens.get(host.name)))
        with Step("Connected", total=len(everyone)) as step:
            self._wait_until_connected(rest, {host.name for host in everyone}, step)
            announce.until_known(everyone)
        if known.docker:
            image.make(self.folder, docker.ENGINE, "docker.io")
            self._each("Docker", everyone, lambda host: self._start_docker(host, rest))
        if known.podman:
            image.make(self.folder, podman.PROGRAM, "podman")
            self._each("Podman", everyone, lambda host: podman.start(host, self.folder, rest))

    def _each(self, label: str, everyone: Sequence[HostName], work: Callable[[HostName], None]) -> None:
        with Step(label, total=len(everyone)) as step, ThreadPoolExecutor(SIDE_BY_SIDE) as pool:

            def one(host: HostName) -> None:
                work(host)
                step.advance()

            for done in [pool.submit(one, host) for host in everyone]:
                done.result()

    def _wait_until_connected(self, rest: Rest, names: set[str], step: Step) -> None:
        deadline = time.monotonic() + PATIENCE
        there: set[str] = set()
        while there < names:
            up = {one["name"] for one in rest.items("/hosts") if one["connected"] and one["state"] == "up"}
            step.advance(len(up & names) - len(there))
            there = up & names
            if there < names:
                if time.monotonic() > deadline:
                    missing = ", ".join(sorted(names - there))
                    raise LabError(f"Not connected within {PATIENCE:g} s: {missing}; see {self.folder}/h*/agent.log.")
                time.sleep(0.1)

    def _start_web(self, port: int) -> None:
        server.start_web(self.name, port)
        server.wait_for_web(self.name)

    def _start_switch(self, host: HostName) -> None:
        ovs.start(host, self.folder)
        announce.announce(self.hosts)

    def _start_docker(self, host: HostName, rest: Rest) -> None:
        docker.start(host, self.folder)
        docker.first_network(host, self.folder, rest)

    def _start_controller(self) -> None:
        server.start_controller(self.name)
        server.wait_for_controller(self.name)

    def _start_agent(self, host: HostName, token: str | None = None) -> None:
        hosts.start_agent(host, self.folder, token)
        hosts.install_cni(host, self.folder)
        hosts.wait_for_agent(host)

    def _sweep(self) -> bool:
        """Whatever bears the lab's name: processes by their environment, namespaces by theirs."""
        engines = docker.sweep(self.name, self.folder)
        engines |= podman.sweep(list(self.folder.glob("h*")))
        running = process.of_lab(self.folder)
        process.stop(running, seconds=5)
        spaces = self._namespaces()
        for space in spaces:
            netns.delete(space)
        there = self.folder.exists()
        shutil.rmtree(self.folder, ignore_errors=True)
        if not state.labs():
            limits.give_back()
        return bool(engines or running or spaces or there)

    def _namespaces(self) -> list[str]:
        mine = re.compile(re.escape(self.name) + r"-(fabric|h\d+(\..+)?)")
        return [name for name in netns.names(f"{self.name}-") if mine.fullmatch(name)]


def sweep_orphans() -> list[str]:
    """Take down labs whose owner has died: remnants of a test run that was killed."""
    orphans = [name for name in state.labs() if (known := state.load(name)) and known.owner and not known.owner.alive]
    for name in orphans:
        Lab(name).down()
    return orphans


def status(lab: Lab) -> dict[str, Any]:
    """What runs, where people find it, and what the API says of the hosts."""
    known = state.running(lab.name)
    try:
        said = {one["name"]: one for one in lab.rest.items("/hosts")}
    except (Unreachable, Problem):
        said = {}
    return {
        "name": lab.name,
        "api": server.address(known.port),
        "processes": [
            {"name": part.name, "pid": found.pid if (found := part.daemon.process) else None} for part in lab.parts()
        ],
        "hosts": [
            {
                "name": host.name,
                "address": host.address,
                "underlay": "up" if fabric.plugged(host) else "cut",
                "state": said.get(host.name, {}).get("state", "unknown"),
                "connected": said.get(host.name, {}).get("connected"),
            }
            for host in lab.hosts
        ],
        "endpoints": [
            {"name": one.name, "network": one.network, "host": one.host, "addresses": list(one.addresses)}
            for one in lab.endpoints()
        ],
    }
