"""A place for the agent: a host that is a network namespace with an Open vSwitch of its own, and the real API.

Nothing here stands in for anything: the agent, the API, the controller and the switch are the processes that run on a
real host, and the plugin is called as a runtime calls it.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
NETNS = Path("/run/netns")
PREFIX = "wrnt"
_libc = ctypes.CDLL(None, use_errno=True)


def until(condition: Callable[[], T | None], what: str, seconds: float = 60) -> T:
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.01)
    return value


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@contextmanager
def inside(netns: str) -> Iterator[None]:
    """This thread, and what it starts, is in the namespace."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(NETNS / netns, os.O_RDONLY)
    try:
        assert _libc.setns(there, 0) == 0
        yield
    finally:
        assert _libc.setns(home, 0) == 0
        os.close(there)
        os.close(home)


def make_netns(name: str) -> str:
    run("ip", "netns", "add", name)
    run("ip", "-n", name, "link", "set", "lo", "up")
    return name


def sweep() -> None:
    """Remove the namespaces of test runs that were killed: their names carry the pid."""
    for path in NETNS.glob(f"{PREFIX}*") if NETNS.exists() else ():
        owner = path.name.removeprefix(PREFIX).split("-")[0]
        if not Path(f"/proc/{owner}").exists():
            with suppress(AssertionError):  # who runs beside this sweeps, too
                run("ip", "netns", "del", path.name)


def remove_netns(*names: str) -> None:
    for name in names:
        run("ip", "netns", "del", name)


class Process:
    """A part of Warren as its own process in the host's namespace; it dies with the tests."""

    def __init__(self, netns: str, log: Path, *arguments: str) -> None:
        self.netns = netns
        self.log = log
        self.arguments = arguments
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert self.child is None
        with inside(self.netns), self.log.open("ab") as log:
            self.child = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "client", *self.arguments],
                *(-1, None, subprocess.DEVNULL, log, log),
                cwd=ROOT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.child is None:
            return 0
        self.child.send_signal(number)
        return self.end()

    def end(self) -> int:
        """Waits for it. One that does not come to its end is killed: it would disturb whoever comes next."""
        assert self.child is not None
        child, self.child = self.child, None
        try:
            return child.wait(90)
        finally:
            child.kill()
            child.wait()

    def signal(self, number: int) -> None:
        assert self.child is not None
        self.child.send_signal(number)

    @property
    def alive(self) -> bool:
        return self.child is not None and self.child.poll() is None

    @property
    def pid(self) -> int:
        assert self.child is not None
        return self.child.pid

    @property
    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


class Reply(NamedTuple):
    """What a runtime gets from the plugin."""

    exit: int
    body: Any

    @property
    def code(self) -> int:
        return int(self.body["code"])


class Container(NamedTuple):
    """A namespace with an id, and the calls a runtime makes for it."""

    plugin: Path
    host: str
    id: str
    ifname: str = "eth0"

    @property
    def netns(self) -> str:
        return f"{PREFIX}{os.getpid()}-{self.id}"

    @property
    def path(self) -> str:
        return str(NETNS / self.netns)

    def call(self, command: str, config: Mapping[str, Any] | str | None = None, **environment: str | None) -> Reply:
        child, text = self.start(command, config, **environment)
        out, errors = child.communicate(text, timeout=60)
        assert not errors, errors
        return Reply(child.returncode, json.loads(out) if out else None)

    def start(
        self, command: str, config: Mapping[str, Any] | str | None = None, **environment: str | None
    ) -> tuple[subprocess.Popen[str], str]:
        """The plugin's process, not yet told its configuration, and the configuration."""
        parameters = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": self.id,
            "CNI_NETNS": self.path,
            "CNI_IFNAME": self.ifname,
            "CNI_PATH": str(self.plugin.parent),
            **environment,
        }
        child = subprocess.Popen(
            [self.plugin],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={key: value for key, value in parameters.items() if value is not None},
        )
        return child, config if isinstance(config, str) else json.dumps(configuration(**(config or {})))

    def add(self, **config: Any) -> Any:
        """The result of an ADD that must succeed."""
        reply = self.call("ADD", config)
        assert reply.exit == 0, reply.body
        return reply.body

    def delete(self, **environment: str | None) -> None:
        reply = self.call("DEL", **environment)
        assert reply == (0, None), reply

    def ip(self, *arguments: str) -> str:
        return run("ip", "-n", self.netns, *arguments)


def configuration(**more: Any) -> dict[str, Any]:
    return {"cniVersion": "1.1.0", "name": "warren", "type": "warren", "network": "acme/web", **more}
