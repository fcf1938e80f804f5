"""What Docker's users call a container becomes what its endpoints go by in DNS, on every host.

dockerd tells no driver a container's name. It is asked for it, by its own API, once the container has started: beside
everything else, so that no call of dockerd's ever waits for that. Names change while a container runs (`docker
rename`), and dockerd may be away when they are wanted, so they are looked at again from time to time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from logging import getLogger

from client.rest import Problem, Rest, Unreachable
from ovs_agent.docker.book import Joint, Shelf
from ovs_agent.docker.engine import Engine, Running, Silent
from ovs_agent.docker.fields import is_name
from ovs_agent.document import attachment_path

log = getLogger(__name__)
INTERVAL = 10.0
"""Seconds between two looks when no container starts."""
STARTING = 15.0
"""Seconds that a container may take from its endpoint's Join until it runs."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
PATIENCE = 8.0
MOST = 16
"""Names besides its own that an endpoint may have."""


class Naming:
    def __init__(self, engine: Engine, joints: Shelf[Joint], rest: Rest, host: str) -> None:
        self._engine = engine
        self._joints = joints
        self._rest = rest
        self._host = host
        self._named: dict[str, str] = {}  # by Docker's endpoint: its container's name when it was told
        self._silent = False
        self._wake = threading.Event()
        self._ended = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="docker-names", daemon=True).start()

    def stop(self) -> None:
        self._ended.set()
        self._wake.set()

    def joined(self) -> None:
        """A container is about to start."""
        self._wake.set()

    def look(self) -> bool:
        """Tell the API every name that it does not have. Answers whether nothing is left to ask."""
        joints = {joint.id: joint for joint in self._joints.all()}
        self._named = {id: name for id, name in self._named.items() if id in joints}
        if not joints:
            return True
        try:
            told = [self._tell(container, joints) for container in self._engine.running()]
        except Silent as fault:
            if not self._silent:
                log.warning("containers have no names on other hosts: %s", fault)
            self._silent = True
            return False
        except Unreachable:
            return False  # whoever polls the API says so
        self._silent = False
        return all(told) and joints.keys() <= self._named.keys()

    def _tell(self, container: Running, joints: dict[str, Joint]) -> bool:
        for id in container.endpoints & joints.keys():
            if self._named.get(id) == container.name:
                continue
            names = labels(self._engine.names(container.id, id))
            joint = joints[id]
            path = f"{attachment_path(self._host, joint.key)}/aliases"
            try:
                self._rest.put(path, json={"aliases": names}, timeout=PATIENCE)
            except Problem as problem:
                if problem.status >= 500:
                    return False
                if problem.status != 404:  # else it has just ended
                    log.warning("names of container %s are refused: %s", container.name, problem)
            log.info("container %s is %s", container.name, ", ".join(names) or "nothing that DNS can say")
            self._named[id] = container.name
        return True

    def _run(self) -> None:
        while not self._ended.is_set():
            joined = self._wake.wait(INTERVAL)
            try:
                self._follow() if joined else self.look()
            except Exception:
                log.exception("containers could not be named")

    def _follow(self) -> None:
        """Look until who joined last has had time to start."""
        until, pause = 0.0, FIRST_PAUSE
        while True:
            if self._wake.is_set():
                self._wake.clear()
                until, pause = time.monotonic() + STARTING, FIRST_PAUSE
            if self._ended.wait(pause) or (self.look() and not self._wake.is_set()) or time.monotonic() > until:
                return
            pause = min(1.2 * pause, LONGEST_PAUSE)


def labels(names: Iterable[str]) -> list[str]:
    """Those of Docker's names that can be labels in DNS, where case does not matter."""
    return list(dict.fromkeys(name.lower() for name in names if is_name(name.lower())))[:MOST]
