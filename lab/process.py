"""Processes of a lab: started apart from whoever started them, remembered by pid and start time, ended by pid alone.

A process belongs to a lab when its environment says so (WARREN_LAB_DIR), whatever became of the files that remember
it; so a lab that was killed half-way can still be swept. Nothing here knows what the processes do.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from lab.names import LabError

MARK = "WARREN_LAB_DIR"


class Process(NamedTuple):
    """A pid means nothing alone: the kernel uses it again. With the start time (clock ticks since boot) it does."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        return start_time(self.pid) == self.started

    @property
    def command(self) -> str:
        """The program's name, as the kernel has it; empty when it has ended."""
        try:
            return Path(f"/proc/{self.pid}/comm").read_text().strip()
        except OSError:
            return ""

    @classmethod
    def of(cls, pid: int) -> Process | None:
        started = start_time(pid)
        return None if started is None else cls(pid, started)


def start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; None when there is no such process or only its zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


class Daemon(NamedTuple):
    """One long-running process of a lab: its pid file and log stand in `folder` under its `name`."""

    folder: Path
    name: str

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def _pidfile(self) -> Path:
        return self.folder / f"{self.name}.process"

    @property
    def process(self) -> Process | None:
        """The running process, or None."""
        try:
            pid, started = self._pidfile.read_text().split()
            found = Process(int(pid), int(started))
        except (OSError, ValueError):
            return None
        return found if found.alive else None

    def start(
        self, argv: Sequence[str], lab_dir: Path, env: Mapping[str, str] | None = None, fds: tuple[int, ...] = ()
    ) -> Process:
        """Start it in this thread's network namespace, in its own session, with its output in the log."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=environment(lab_dir, env),
                pass_fds=fds,
                start_new_session=True,
            )
        _children.append(child)
        started = Process.of(child.pid) or Process(child.pid, 0)
        self.remember(started)
        return started

    def remember(self, process: Process) -> None:
        """For programs that go to the background by themselves."""
        fresh = self._pidfile.with_suffix(".new")
        fresh.write_text(f"{process.pid} {process.started}\n")
        fresh.replace(self._pidfile)

    def wait_until(self, ready: Callable[[], bool], what: str, seconds: float = 90.0) -> None:
        """Until `ready()`; a process that ends before, or takes longer, fails with the last words of its log."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self.process is None:
                raise LabError(f"{what} ended while starting: {self.last_words()}")
            if time.monotonic() > deadline:
                raise LabError(f"{what} was not ready within {seconds:g} s: {self.last_words()}")
            time.sleep(0.02)

    def stop(self, kill: bool = False, seconds: float = 10.0) -> None:
        process = self.process
        if process:
            stop([process], kill=kill, seconds=seconds)
        self._pidfile.unlink(missing_ok=True)

    def last_words(self) -> str:
        try:
            lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        except OSError:
            lines = []
        return f"{lines[-1].strip()} (see {self.log})" if lines else f"see {self.log}"


def environment(lab_dir: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a process of a lab sees: the mark, and none of the settings meant for whoever started it."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("WARREN_")}
    inherited["PATH"] = inherited.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
    # The code that started it, wherever it stands: a checkout is not installed.
    inherited["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    return {**inherited, **(more or {}), MARK: str(lab_dir)}


_children: list[subprocess.Popen[bytes]] = []
"""Kept so that the interpreter does not warn about processes that are meant to outlive it."""


def stop(processes: Iterable[Process], kill: bool = False, seconds: float = 10.0) -> None:
    """Ask each to end, wait for all, and kill what remains. Signals go through pidfds, so never to a successor."""
    opened: dict[int, Process] = {}
    for process in processes:
        with suppress(ProcessLookupError):
            fd = os.pidfd_open(process.pid)
            if process.alive:
                opened[fd] = process
            else:
                os.close(fd)
    try:
        for sign, patience in ((signal.SIGKILL if kill else signal.SIGTERM, seconds), (signal.SIGKILL, 10.0)):
            for fd in opened:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(fd, sign)
            if _all_ended(opened, patience):
                break
    finally:
        for fd in opened:
            os.close(fd)
        for child in _children:
            child.poll()


def _all_ended(opened: dict[int, Process], seconds: float) -> bool:
    waiting = select.poll()
    for fd in opened:
        waiting.register(fd, select.POLLIN)
    left = set(opened)
    deadline = time.monotonic() + seconds
    while left and (rest := deadline - time.monotonic()) > 0:
        for fd, _ in waiting.poll(rest * 1000):
            waiting.unregister(fd)
            left.discard(fd)
    return not left


def of_lab(lab_dir: Path) -> list[Process]:
    """Every process whose environment names this lab, except this one and its ancestors."""
    mark = f"{MARK}={lab_dir}".encode()
    spared = set(_ancestry())
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in spared:
            continue
        process = Process.of(int(entry.name))
        try:
            environ = (entry / "environ").read_bytes()
        except OSError:
            continue
        if process and mark in environ.split(b"\0"):
            found.append(process)
    return found


def _ancestry() -> Iterable[int]:
    pid = os.getpid()
    while pid > 1:
        yield pid
        stat = Path(f"/proc/{pid}/stat").read_text()
        pid = int(stat[stat.rindex(")") + 2 :].split()[1])
