"""The plugin's socket: HTTP/1.1 with JSON in and out, one thread per connection, which dockerd keeps open.

It decides how a request is read, how long one may take to arrive, and in which words a failure is answered: always
JSON with a sentence, under the keys of both protocols, `Err` for networks and `Error` for addresses. What a call means
it does not know.
"""

from __future__ import annotations

import json
import os
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from logging import getLogger
from pathlib import Path
from typing import Any

from client.rest import Problem, Unreachable
from ovs_agent import confirm, plug
from ovs_agent.docker.driver import Driver
from ovs_agent.docker.fields import Refused
from ovs_agent.docker.messages import Call, parse
from ovs_agent.docker.naming import Naming
from ovs_agent.ledger import Busy
from ovs_agent.netlink.veth import InterfaceExists
from ovs_agent.ovsdb import OvsdbFault
from ovs_agent.publish import NotOpened

log = getLogger(__name__)
NAME = "warren"
"""The driver's name for Docker's users: that of the socket."""
CONTENT_TYPE = "application/vnd.docker.plugins.v1.2+json"
BODY_LIMIT = 1 << 20
REQUEST_PATIENCE = 10.0
"""Seconds that a request may take to arrive once it has begun; between requests a connection may rest for ever."""
SWEEP = 10.0
SPOKEN = (Problem, Unreachable, Busy, OvsdbFault, InterfaceExists, plug.PortFailed, confirm.FlowsFailed)
"""Failures whose text is a sentence for people."""

Answer = Callable[[Call], Mapping[str, Any]]


class Server:
    """`folder` is where dockerd looks for plugins, /run/docker/plugins."""

    def __init__(self, folder: Path, driver: Driver, naming: Naming) -> None:
        self.path = folder / f"{NAME}.sock"
        self._driver = driver
        self._naming = naming
        self._ended = threading.Event()
        self._listener: Listener | None = None

    def start(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._listener = Listener(self.path, self._driver.answer)
        self._listener.start()
        threading.Thread(target=self._sweep, name="docker-sweep", daemon=True).start()
        self._naming.start()

    def stop(self) -> None:
        """Take no more calls, and let those under way come to their end."""
        self._ended.set()
        self._naming.stop()
        if self._listener is not None:
            self._listener.stop()

    def _sweep(self) -> None:
        while not self._ended.wait(SWEEP):
            try:
                self._driver.sweep()
            except Exception as fault:
                log.warning("what Docker left behind could not be looked at: %s", fault)


class Listener(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, path: Path, answer: Answer) -> None:
        self.answer = answer
        self._path = path
        self._open: set[socket.socket] = set()
        self._working = 0
        self._idle = threading.Condition()
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            super().__init__(str(path), Handler)
        finally:
            os.umask(before)

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, args=(0.02,), name="docker", daemon=True).start()

    def stop(self) -> None:
        """dockerd keeps connections: an old one that stays open would get calls meant for whoever comes next."""
        self._path.unlink(missing_ok=True)
        self.shutdown()
        self.server_close()
        with self._idle:
            self._idle.wait_for(lambda: self._working == 0, confirm.FLOWS_PATIENCE)
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def opened(self, connection: socket.socket) -> None:
        with self._idle:
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._idle:
            self._open.discard(connection)

    def work(self, method: str, body: bytes) -> tuple[int, Mapping[str, Any]]:
        with self._idle:
            self._working += 1
        try:
            return respond(self.answer, method, body)
        finally:
            with self._idle:
                self._working -= 1
                self._idle.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.warning("a connection from Docker broke", exc_info=True)


def respond(answer: Answer, method: str, body: bytes) -> tuple[int, Mapping[str, Any]]:
    """HTTP status and reply to one request."""
    try:
        return 200, answer(parse(method, body))
    except Refused as refusal:
        said, status = str(refusal), refusal.status
    except (*SPOKEN, confirm.FlowsLate, NotOpened) as fault:
        said, status = str(fault), 200
    except Exception as fault:
        log.exception("%s failed", method)
        said, status = f"The agent failed ({type(fault).__name__}); its log says why.", 500
    log.warning("%s refused: %s", method, said)
    return status, {"Err": said, "Error": said}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Listener
    connection: socket.socket
    wbufsize = -1  # head and body in one piece

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def finish(self) -> None:
        self.server.closed(self.connection)
        with suppress(OSError):
            super().finish()

    def handle(self) -> None:
        self.close_connection = False
        try:
            while not self.close_connection:
                self.connection.settimeout(None)
                if not self.rfile.peek(1):  # type: ignore[attr-defined]
                    return
                self.connection.settimeout(REQUEST_PATIENCE)
                self.handle_one_request()
        except OSError as fault:
            log.info("a connection from Docker ended: %s", fault)

    def do_POST(self) -> None:
        try:
            body = self._body()
        except Refused as refusal:
            self.close_connection = True  # what follows is no request
            self._reply(refusal.status, {"Err": str(refusal), "Error": str(refusal)})
            return
        status, reply = self.server.work(self.path.partition("?")[0].strip("/"), body)
        self._reply(status, reply)

    def _body(self) -> bytes:
        if "Transfer-Encoding" in self.headers:
            raise Refused("The request's body has no Content-Length; send one.", 411)
        length = self.headers.get("Content-Length", "0").strip()
        if not length.isascii() or not length.isdigit():
            raise Refused("The request's Content-Length is not a number.", 400)
        if len(length) > 9 or int(length) > BODY_LIMIT:
            raise Refused(f"The request's body is longer than {BODY_LIMIT} bytes.", 413)
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise Refused("The request's body ended early.", 400)
        return body

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """For what is not HTTP, or another method than POST."""
        said = f"This is Docker's plugin interface, which takes POST requests alone ({message or 'refused'})."
        self.close_connection = True
        self._reply(code, {"Err": said, "Error": said})

    def _reply(self, status: int, reply: Mapping[str, Any]) -> None:
        data = json.dumps(reply).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)
