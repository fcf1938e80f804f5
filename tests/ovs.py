"""A private Open vSwitch for tests: its own database, its own folder, no devices, gone with the test process.

Its bridges have the user-space data path with dummy ports, so packets are really switched, conntrack included,
but nothing is created in the machine's network. The daemons die with the process that started them, and the
folders of killed runs are removed by the next one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from lab.process import start_time

_PREFIX = "warren-ovs-"
_SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")


class Daemons:
    """A folder of its own and programs of Open vSwitch's family that keep all they have in it; a context manager.

    Start programs from the main thread: they die with the thread that started them.
    """

    def __init__(self) -> None:
        _remove_left_overs()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self._environment = os.environ | {
            f"{family}_{name}": str(self.folder)
            for family in ("OVS", "OVN")
            for name in ("RUNDIR", "LOGDIR", "DBDIR", "SYSCONFDIR")
        }
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for daemon in reversed(self._daemons.values()):
            daemon.kill()
            daemon.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start everything; what `with` waits for."""

    def serve(self, database: str, schema: Path) -> None:
        """A database with its server, on the socket `DATABASE.sock`. What it held when it was killed it holds again."""
        file, socket = self.folder / f"{database}.db", self.folder / f"{database}.sock"
        if not file.exists():
            self.run("ovsdb-tool", "create", str(file), str(schema))
        socket.unlink(missing_ok=True)
        self.spawn("ovsdb-server", str(file), f"--remote=punix:{socket}", name=database)
        wait_for(socket.exists, f"socket of the database {database}")

    def run(self, *command: str, stdin: str | None = None) -> str:
        done = subprocess.run(command, env=self._environment, input=stdin, text=True, capture_output=True, timeout=60)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command[:6])}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def kill(self, name: str) -> None:
        """As a crash would: no good-byes."""
        daemon = self._daemons[name]
        daemon.kill()
        daemon.wait()

    def spawn(self, program: str, *arguments: str, name: str = "") -> None:
        """Under the program's name, or under another where there are several of it."""
        with (self.folder / f"{name or program}.log").open("ab") as log:
            self._daemons[name or program] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", program, *arguments],
                env=self._environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )


class Ovs(Daemons):
    """`ofctl`, `vsctl` and `appctl` run the tool of that name and return what it printed."""

    def start(self) -> None:
        self.serve_database()
        self.vsctl("--no-wait", "init")
        self.start_switch()

    def serve_database(self) -> None:
        self.serve("db", _SCHEMA)

    def start_switch(self) -> None:
        for remains in self.folder.glob("ovs-vswitchd.*.ctl"):
            remains.unlink()
        self.spawn("ovs-vswitchd", "--enable-dummy", "--disable-system", "--pidfile")
        # It writes its process id, which is part of the socket's name, before it makes the socket.
        wait_for(lambda: any(self.folder.glob("ovs-vswitchd.*.ctl")), "ovs-vswitchd's control socket")

    def kill_switch(self) -> None:
        """Flows are lost; the database keeps bridges and ports."""
        self.kill("ovs-vswitchd")

    def add_bridge(self, name: str, *, ports: dict[str, int] | None = None, datapath_id: int | None = None) -> None:
        """A bridge that speaks OpenFlow 1.4, forwards nothing by itself, and has dummy ports `{name: ofport}`."""
        command = ["add-br", name, "--", "set", "bridge", name, "datapath_type=dummy", "fail_mode=secure"]
        command += ["protocols=OpenFlow10,OpenFlow13,OpenFlow14,OpenFlow15"]
        if datapath_id is not None:
            command += [f"other_config:datapath-id={datapath_id:016x}"]
        for port, number in (ports or {}).items():
            command += ["--", "add-port", name, port, "--", "set", "interface", port, "type=dummy"]
            command += [f"ofport_request={number}"]
        self.vsctl(*command)

    def set_controller(self, bridge: str, target: str) -> None:
        self.vsctl(
            *("set-controller", bridge, target, "--", "set", "controller", bridge),
            *("max_backoff=1000", "inactivity_probe=10000", "connection_mode=out-of-band"),
        )

    def flows(self, bridge: str) -> list[str]:
        """The flows as text, without counters, ports by number, in the order of the tool."""
        # Read in OpenFlow 1.5, which knows one way to set bits of a field where 1.4 knows several.
        text = self.ofctl("-O", "OpenFlow15", "--no-stats", "--no-names", "dump-flows", bridge)
        return [line.strip() for line in text.splitlines() if "cookie=" in line or "actions=" in line]

    def ofctl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.run("ovs-ofctl", "-O", "OpenFlow14", *arguments, stdin=stdin)

    def vsctl(self, *arguments: str) -> str:
        return self.run("ovs-vsctl", f"--db=unix:{self.folder / 'db.sock'}", "--timeout=55", *arguments)

    def appctl(self, *arguments: str) -> str:
        return self.run("ovs-appctl", "-t", "ovs-vswitchd", *arguments)


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"no {what} within {seconds} s")
        time.sleep(0.005)


def _remove_left_overs() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).split("-")[0]
        if start_time(int(owner)) is None:  # also of one that nobody has buried yet
            shutil.rmtree(folder, ignore_errors=True)
