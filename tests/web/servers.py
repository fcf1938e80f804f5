"""The real server for tests: `warren web` as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import urllib3

from client.rest import Rest

START_SECONDS = 120.0
COMMAND = [sys.executable, "-m", "client", "web"]


class Server:
    """A running `warren web`, listening on a socket that this process holds: it survives the server."""

    def __init__(self, url: str, log: Path, *more: str) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http{'s' if '--tls-dir' in more else ''}://127.0.0.1:{self.listener.getsockname()[1]}"
        self.log = log
        self.command = [*COMMAND, "--db", url, "--bind", f"fd://{self.listener.fileno()}", *more]
        if "--tls-dir" not in more:
            self.command.append("--insecure-http")
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=log,
                pass_fds=[self.listener.fileno()],
                # A test run that is killed leaves no server behind: nobody would end it.
                preexec_fn=_die_with_parent,
            )
        self._wait(process)
        return process

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        # The socket accepts from the beginning; an answer shows that the application is there.
        urllib3.PoolManager(cert_reqs="CERT_NONE").request(
            "GET", f"{self.url}/healthz", timeout=START_SECONDS, retries=False
        )
        assert process.poll() is None, self.log.read_text()

    def rest(self, token: str | None = None) -> Rest:
        return Rest(self.url, token)

    def worker(self) -> int:
        """The pid of the process that answers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        assert len(children) == 1
        return int(children[0])

    def restart(self) -> None:
        self.process = self._start()

    def stop(self, by: signal.Signals = signal.SIGTERM) -> float:
        """How many seconds it took to end."""
        start = time.monotonic()
        self.process.send_signal(by)
        self.process.wait(60)
        return time.monotonic() - start


def _die_with_parent() -> None:
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


@contextmanager
def serving(url: str, folder: Path, *more: str) -> Iterator[Server]:
    server = Server(url, folder / "web.log", *more)
    try:
        yield server
    finally:
        try:
            if server.process.poll() is None:
                server.stop()
        finally:
            server.process.kill()
            server.listener.close()
