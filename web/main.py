"""`warren web`: the API and the pages in one gunicorn worker with many threads.

One worker, because waiting for the database costs a process one reader however many requests wait; threads,
because a waiting request holds one. Decides how the process starts and ends, nothing about requests.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import click
from flask import Flask
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from gunicorn.workers.gthread import TConn, ThreadWorker  # type: ignore[import-untyped]

from db import migrate
from db.authority import Authority, Files, own_names
from db.cli import database, opened, tls_dir
from db.errors import DomainError
from web.auth import oidc_options as oidc
from web.auth.oidc import Settings
from web.auth.rate import USUAL, Rates

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
GRACE_SECONDS = 5
LINGER_SECONDS = 0.25
KEEPALIVE_SECONDS = 75
KEPT_FREE = 16
"""Threads that are never given to requests which wait."""


class Worker(ThreadWorker):  # type: ignore[misc]
    """Ends within moments: waiting requests are woken instead of waited for."""

    wsgi: Flask

    def init_process(self) -> None:
        # Killed arbiters leave no worker behind that holds the address.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        super().init_process()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not in the handler itself: the interrupted thread may hold the lock that waking needs.
        threading.Thread(target=self._wake_waiters, daemon=True).start()
        super().handle_exit(sig, frame)

    def handle(self, conn: TConn) -> Any:
        without_delay(conn.sock)
        return super().handle(conn)

    def _wake_waiters(self) -> None:
        from web.state import KEY

        self.wsgi.extensions[KEY].live.close()

    def _cap_keepalive(self, deadline: float) -> None:
        # Idle connections are closed soon; clients that reuse one at that moment try again on a fresh one.
        super()._cap_keepalive(min(deadline, time.monotonic() + LINGER_SECONDS))


def without_delay(connection: socket.socket) -> None:
    """Send what is written at once. Connections have this of their listener, but those that came while nobody had it
    open (a restart, and somebody who keeps the socket) do not: each answer would wait 40 ms for an acknowledgement."""
    if connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Server(BaseApplication):  # type: ignore[misc]
    def __init__(
        self,
        database_url: str,
        binds: list[str],
        threads: int,
        options: dict[str, Any],
        authority: Authority | None = None,
        shown: bool = False,
        sign_in_at: Settings | None = None,
        rates: Rates = USUAL,
    ) -> None:
        self.database_url = database_url
        self.authority = authority
        self.shown = shown
        self.sign_in_at = sign_in_at
        self.rates = rates
        self.binds = binds
        self.threads = threads
        self.more = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in {
            "bind": self.binds,
            "worker_class": Worker,
            "workers": 1,
            "threads": self.threads,
            "worker_connections": 4 * self.threads + 1000,
            "keepalive": KEEPALIVE_SECONDS,
            "graceful_timeout": GRACE_SECONDS,
            "timeout": 120,
            "limit_request_line": 8190,
            "proc_name": "warren-web",
            "control_socket_disable": True,
            **self.more,
        }.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Flask:
        # In the worker, after the fork: no thread and no connection crosses it.
        from web.app import create_app

        slots = max(self.threads - KEPT_FREE, 1)
        app = create_app(self.database_url, slots, self.authority, self.shown, self.sign_in_at, self.rates)
        # What is loaded by now stays: the search for cycles passes it by, instead of stopping a request for 0.1 s.
        gc.collect()
        gc.freeze()
        return app


@click.command("web", context_settings={"show_default": True})
@database
@click.option(
    "--bind", "binds", multiple=True, default=["127.0.0.1:8080"], metavar="ADDRESS",
    help="HOST:PORT, unix:PATH or fd://N to listen on; may be given several times.",
)  # fmt: skip
@click.option(
    "--threads", default=512, type=click.IntRange(2, 4096), help="Requests served at once, including waiting ones."
)
@click.option("--access-log", is_flag=True, help="Log each request on standard output.")
@click.option(
    "--certificate", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Serve HTTPS with this certificate chain instead of one that Warren's own authority signs.",
)  # fmt: skip
@click.option(
    "--key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Private key of the certificate."
)
@tls_dir
@click.option(
    "--tls-name", "names", multiple=True, metavar="NAME",
    help="Another name or address by which clients reach this machine; may be given several times.",
)  # fmt: skip
@click.option("--insecure-http", is_flag=True, help="Serve plain HTTP: for labs, or behind a proxy on this machine.")
@click.option(
    "--asker-rate", default=USUAL.asker, type=click.FloatRange(0),
    help="Requests per second that one user or token may send; 0: no limit.",
)  # fmt: skip
@click.option(
    "--stranger-rate", default=USUAL.stranger, type=click.FloatRange(0),
    help="The same for one client address: log-ins, and requests with no token or an invalid one.",
)  # fmt: skip
@oidc.options
def cli(
    url: str,
    binds: tuple[str, ...],
    threads: int,
    access_log: bool,
    certificate: Path | None,
    key: Path | None,
    folder: Path,
    names: tuple[str, ...],
    insecure_http: bool,
    asker_rate: float,
    stranger_rate: float,
    **sign_in: Any,
) -> None:
    """Serve the REST API and the admin pages, by HTTPS.

    The first start makes an authority and a certificate in --tls-dir. The log has the authority's fingerprint, which
    clients and agents need once (`--ca-pin`).
    """
    if insecure_http and certificate:
        raise click.UsageError("--insecure-http and --certificate exclude each other; leave one out.")
    with opened(url) as engine:
        migrate.require(engine)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    options: dict[str, Any] = {"accesslog": "-" if access_log else None}
    authority = None
    if not insecure_http:
        try:
            authority = Authority(folder)
            files = Files(certificate, key or certificate) if certificate else None
            files = files or authority.for_this_machine("web", own_names(binds) | set(names))
        except DomainError as error:
            raise click.ClickException(f"{error}; or serve plain HTTP in a lab with --insecure-http.") from error
        options |= {"certfile": str(files.certificate), "keyfile": str(files.key)}
        if not certificate:
            log.info("HTTPS with the authority %s, whose fingerprint is %s", authority.files.certificate, authority.pin)
    elif any(map(reachable, binds)):
        log.warning("plain HTTP on %s: passwords and tokens can be read on the way", ", ".join(binds))
    more = (authority, certificate is None, oidc.chosen(**sign_in), Rates(asker_rate, stranger_rate))
    Server(url, list(binds), threads, options, *more).run()


def reachable(bind: str) -> bool:
    """From other machines. Of an inherited socket nothing is known."""
    host = bind.rpartition(":")[0].strip("[]")
    return not bind.startswith(("unix:", "fd:")) and host not in ("127.0.0.1", "::1", "localhost")
