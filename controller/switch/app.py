"""The os-ken application: switches connect, and what happens to them goes into one mailbox.

The contract with whoever owns the mailbox: `deliver` puts into an unbounded queue, so that nothing here ever waits for
who reads; it is called by many threads. A switch is known by its datapath id, each of its connections by a number
that is never used again. `Connected` comes first, then any `Received`, then `Disconnected`; of two connections of
one switch the newer counts, and the older is closed. `send` and `disconnect` return at once and may be called by any
thread; what is meant for a connection that is gone is dropped, because its `Disconnected` is already on its way.

    mailbox = SimpleQueue()
    switches = Switches("198.18.0.1", 6653, mailbox.put)
    switches.start()
    event = mailbox.get()
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
from collections.abc import Callable
from threading import Lock, Thread
from typing import Any, NamedTuple

from os_ken.base.app_manager import AppManager, OSKenApp
from os_ken.controller import ofp_event
from os_ken.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from os_ken.controller.ofp_handler import OFPHandler
from os_ken.ofproto import ofproto_v1_4

from controller.switch.native import Connection  # repairs the hub; before any other part of os-ken
from controller.switch.transport import Stream, Tls

__all__ = ["Connected", "Disconnected", "Received", "Switches", "Tls"]

log = logging.getLogger("warren.switch")


class Connected(NamedTuple):
    datapath_id: int
    connection: int


class Received(NamedTuple):
    """One whole OpenFlow message, as it came."""

    datapath_id: int
    connection: int
    message: bytes


class Disconnected(NamedTuple):
    datapath_id: int
    connection: int


class Handshake(OFPHandler):
    """os-ken's own handshake, without its listener: `Switches` has that."""

    OFP_VERSIONS = (ofproto_v1_4.OFP_VERSION,)

    def start(self) -> None:
        OSKenApp.start(self)


class Bridges(OSKenApp):
    """Hears of switches that finished the handshake and of connections that ended."""

    OFP_VERSIONS = (ofproto_v1_4.OFP_VERSION,)

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])
    def changed(self, event: Any) -> None:
        connection: Connection = event.datapath
        if event.state == MAIN_DISPATCHER:
            connection.owner._came(connection)
        else:
            connection.owner._went(connection)


_starting = Lock()


def _start_os_ken() -> None:
    """Once in a process."""
    with _starting:
        manager = AppManager.get_instance()
        if not manager.applications:
            for app in (Handshake, Bridges):
                manager.instantiate(app).start()


class Switches:
    """Binds to `address` and `port` at once; port 0 takes a free one, see `port`. Accepts switches after `start`.

    With `tls` every switch must show a certificate of its authority. Raises OSError if the port cannot be had.
    """

    def __init__(self, address: str, port: int, deliver: Callable[[Any], None], tls: Tls | None = None) -> None:
        _start_os_ken()
        self._deliver = deliver
        self._context = tls.context() if tls else None
        self._lock = Lock()
        self._open: set[Connection] = set()
        self._current: dict[int, Connection] = {}  # by datapath id
        self._stopped = False
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
        self._listener = socket.create_server((address, port), family=family, backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = Thread(target=self._accept, name="switch-listener", daemon=True)

    def start(self) -> None:
        self._acceptor.start()

    def stop(self) -> None:
        """Stops listening and ends all connections."""
        with self._lock:
            self._stopped = True
            connections = list(self._open)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in connections:
            connection.close()

    def send(self, datapath_id: int, data: bytes, connection: int | None = None) -> None:
        """To the switch's newest connection, or to that `connection` and no other."""
        current = self._current.get(datapath_id)
        if current is not None and data and connection in (None, current.number):
            current.send(data)

    def disconnect(self, datapath_id: int, connection: int | None = None) -> None:
        """Ends the connection; the switch will come again. Its `Disconnected` follows."""
        current = self._current.get(datapath_id)
        if current is not None and connection in (None, current.number):
            current.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, address = self._listener.accept()
            except OSError as error:
                if self._stopped:
                    return
                log.error("accepting a switch: %s", error)
                continue
            Thread(target=self._serve, args=(connection, address), name=f"switch-{address[0]}", daemon=True).start()

    def _serve(self, accepted: socket.socket, address: Any) -> None:
        try:
            stream = Stream(accepted, self._context)
        except OSError as error:
            log.warning("connection from %s: %s", address[0], error)
            accepted.close()
            return
        connection = Connection(stream, address[0], self)
        with self._lock:
            self._open.add(connection)
            stopped = self._stopped
        if stopped:
            connection.close()
        try:
            connection.serve()
        finally:
            with self._lock:
                self._open.discard(connection)

    def _came(self, connection: Connection) -> None:
        datapath_id, number, deliver = connection.id, connection.number, self._deliver
        with self._lock:
            older = self._current.get(datapath_id)
            self._current[datapath_id] = connection
        if older is not None:
            log.warning("switch %016x came again; its older connection is closed", datapath_id)
            older.close()
        deliver(Connected(datapath_id, number))
        connection.receive = lambda message: deliver(Received(datapath_id, number, message))

    def _went(self, connection: Connection) -> None:
        if connection.id is None:
            return  # never got through the handshake
        with self._lock:
            if self._current.get(connection.id) is connection:
                del self._current[connection.id]
        self._deliver(Disconnected(connection.id, connection.number))
