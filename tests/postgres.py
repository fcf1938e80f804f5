"""A private PostgreSQL for tests: no TCP, no root, gone at the end; a killed run's is stopped by the next one.

The server runs as `nobody` in a folder of its own below /tmp and listens on a unix socket there only.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

PREFIX = "warren-postgres-"
USER = "warren"
SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "120",
    "shared_buffers": "16MB",
    "autovacuum": "off",
}
LASTING = {**SETTINGS, "fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "autovacuum": "on"}
"""As Debian starts it, for what measures: a commit is on the disk before it is told."""


class Postgres:
    """One running server. `url(name)` is how SQLAlchemy opens one of its databases."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def url(self, name: str) -> str:
        return f"postgresql://{USER}@/{name}?host={self.folder}"

    def create(self, name: str) -> str:
        self._run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def drop(self, name: str) -> None:
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _run(self, statement: sql.Composed) -> None:
        with psycopg.connect(host=str(self.folder), user=USER, dbname="postgres", autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def running(settings: Mapping[str, str] = SETTINGS) -> Iterator[Postgres]:
    """A server for as long as the block lasts."""
    clean_up_after_killed_runs()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir="/tmp"))
    try:
        start(folder, settings)
        yield Postgres(folder)
    finally:
        stop(folder)
        shutil.rmtree(folder, ignore_errors=True)


def start(folder: Path, settings: Mapping[str, str] = SETTINGS) -> None:
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody", "nogroup")
    data = folder / "data"
    _as_nobody(
        folder, "initdb", "-D", str(data), "-U", USER, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"
    )
    options = " ".join([f"-k {folder}", *(f"-c {name}='{value}'" for name, value in settings.items())])
    _as_nobody(folder, "pg_ctl", "-D", str(data), "-w", "-t", "200", "-l", str(folder / "log"), "-o", options, "start")


def stop(folder: Path) -> None:
    """Ends the server of that folder, and only that: the pid it wrote down must be a process that names the folder."""
    pid = _pid(folder)
    if pid is None:
        return
    os.kill(pid, signal.SIGINT)  # fast shutdown: connections are ended
    deadline = time.monotonic() + 60
    while _serves(folder, pid):  # it takes its file away before it ends
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGQUIT)
            return
        time.sleep(0.01)


def clean_up_after_killed_runs() -> None:
    """Stops servers whose test run is gone, and removes their folders."""
    for folder in Path("/tmp").glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if not owner.isdigit() or not Path(f"/proc/{owner}").exists():
            stop(folder)
            shutil.rmtree(folder, ignore_errors=True)


def _pid(folder: Path) -> int | None:
    try:
        pid = int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return None
    return pid if _serves(folder, pid) else None


def _serves(folder: Path, pid: int) -> bool:
    try:
        return str(folder / "data").encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _as_nobody(folder: Path, program: str, *arguments: str) -> None:
    command = [str(_binary(program)), *arguments]
    if os.geteuid() == 0:
        command = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *command]
    environment = {"HOME": str(folder), "PATH": os.environ["PATH"]}
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=240)
    if done.returncode:
        log = folder / "log"
        raise RuntimeError(f"{program} failed: {done.stderr}{log.read_text() if log.exists() else ''}")


def _binary(program: str) -> Path:
    """Debian keeps the server's programs out of PATH, in a folder per version."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    if found:
        return found[-1]
    elsewhere = shutil.which(program)
    if elsewhere is None:
        raise RuntimeError(f"{program} is missing; install Debian's `postgresql`")
    return Path(elsewhere)
