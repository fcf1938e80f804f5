"""The agent's socket, on which the CNI plugin passes on what a runtime called it with, and `warren attach` asks.

One request and one reply per connection. The request is its length, 4 bytes in network order, and either what a runtime
said, `CNI_COMMAND=ADD NUL CNI_IFNAME=eth0 NUL NUL` and the plugin's standard input as it is, or the command's JSON,
`{"do": ..}`. The reply is the exit code as a digit, then JSON. It decides which error code a failure has and notices a
caller that went away. What an attachment is, it does not know.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from logging import getLogger
from pathlib import Path
from typing import Any

from client.rest import Problem, Unreachable
from ovs_agent import attach, by_hand, confirm, plug
from ovs_agent.attach import Attacher
from ovs_agent.cni import spec
from ovs_agent.cni.plugin import Plugin, Unfit
from ovs_agent.cni.spec import CniError
from ovs_agent.ledger import Busy
from ovs_agent.netlink.veth import InterfaceExists, NoGateway
from ovs_agent.netlink.wire import KernelRefusal, NoNamespace
from ovs_agent.ovsdb import OvsdbFault
from ovs_agent.publish import NotOpened, Publisher

log = getLogger(__name__)
LENGTH = struct.Struct("!I")
REQUEST_LIMIT = 1 << 20
REQUEST_PATIENCE = 10.0
"""Seconds that a caller may take to send its request."""
PAUSE = 0.1
"""Seconds until calls are taken again when one could not be."""


class Server:
    def __init__(self, path: Path, attacher: Attacher, publisher: Publisher, fit: Callable[[], Unfit | None]) -> None:
        self._path = path
        self._attacher = attacher
        self._plugin = Plugin(attacher, publisher, fit)
        self._stopping = False
        self._calls: set[threading.Thread] = set()  # one each: a caller that is slow holds up no other
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)

    def start(self) -> None:
        self._path.unlink(missing_ok=True)
        self._listener.bind(str(self._path))
        self._path.chmod(0o600)
        self._listener.listen(128)
        threading.Thread(target=self._accept, name="cni", daemon=True).start()

    def stop(self) -> None:
        """Take no more calls, and let those under way come to their end."""
        self._stopping = True
        self._path.unlink(missing_ok=True)
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for call in tuple(self._calls):
            call.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError as fault:
                if self._stopping:
                    return
                log.error("a call could not be taken: %s", fault)  # no file descriptor left, say
                time.sleep(PAUSE)
                continue
            call = threading.Thread(target=self._serve, args=(connection,), name="cni call", daemon=True)
            self._calls.add(call)
            call.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                connection.settimeout(REQUEST_PATIENCE)
                _refuse_strangers(connection)
                variables, by_runtime, stdin = _receive(connection).decode("utf-8", "replace").partition("\0\0")
                if not by_runtime:
                    self._serve_by_hand(connection, json.loads(variables))
                    return
                environment = {
                    name: value for name, _, value in (pair.partition("=") for pair in variables.split("\0"))
                }
                reply = self._answer(environment, stdin, lambda: _gone(connection))
                try:
                    connection.sendall(reply)
                except OSError:
                    if environment["CNI_COMMAND"] == "ADD" and reply[:1] == b"0":  # nobody knows that it succeeded
                        self._plugin.delete(spec.parse(environment, stdin), environment)
                    raise
            except (OSError, ValueError, KeyError, TypeError) as fault:
                log.warning("a call could not be answered: %s", fault)
            except Exception:
                log.exception("a call could not be answered")
            finally:
                self._calls.discard(threading.current_thread())

    def _serve_by_hand(self, connection: socket.socket, request: dict[str, Any]) -> None:
        try:
            printed = by_hand.carry_out(request, self._attacher, lambda: _gone(connection))
        except Exception as fault:
            refusal = refused(fault)
            log.warning("%s refused with code %d: %s", request["do"], refusal.code, refusal.msg)
            connection.sendall(b"1" + json.dumps({"code": refusal.code, "msg": refusal.msg}).encode())
            return
        try:
            connection.sendall(b"0" + json.dumps(printed).encode())
        except OSError:
            by_hand.undo(request, self._attacher)
            raise

    def _answer(self, environment: dict[str, str], stdin: str, gone: Callable[[], bool]) -> bytes:
        try:
            printed = self._plugin.carry_out(spec.parse(environment, stdin), environment, gone)
            return b"0" + (json.dumps(printed).encode() if printed is not None else b"")
        except Exception as fault:
            refusal = refused(fault)
            command = environment.get("CNI_COMMAND", "")
            log.warning("CNI %s refused with code %d: %s", command, refusal.code, refusal.msg)
            return b"1" + json.dumps(spec.error(refusal, spec.version_of(stdin))).encode()


def refused(fault: Exception) -> CniError:
    """The specification's word for what went wrong."""
    match fault:
        case CniError():
            return fault
        case NoNamespace(missing=True):
            return CniError(spec.UNKNOWN_CONTAINER, str(fault))
        case NoNamespace() | attach.HomeNamespace():
            return CniError(spec.BAD_NETNS, str(fault))
        case NoGateway() | attach.NotToBeGiven() | ValueError() | KeyError() | TypeError():
            return CniError(spec.BAD_CONFIG, str(fault))
        case InterfaceExists():
            return CniError(spec.INTERFACE_EXISTS, str(fault))
        case Problem(status=404 | 422, body={"errors": [{"field": str(field)}, *_]}):
            return CniError(spec.BAD_CONFIG, f"Field '{field}': {fault}")
        case Problem(status=status) if 400 <= status < 500 and status not in (401, 408, 429):
            return CniError(spec.REFUSED, str(fault))
        case (
            Problem() | Unreachable() | Busy() | NotOpened() | confirm.FlowsLate() | confirm.Abandoned() | OvsdbFault()
        ):
            return CniError(spec.TRY_AGAIN, str(fault))
        case plug.PortFailed():
            return CniError(spec.PORT_FAILED, str(fault))
        case confirm.FlowsFailed():
            return CniError(spec.FLOWS_FAILED, str(fault))
        case attach.NotAttached():
            return CniError(spec.CHECK_FAILED, str(fault))
        case OSError() if not isinstance(fault, KernelRefusal):
            return CniError(spec.IO_FAILURE, f"The agent could not read or write: {fault}.")
        case _:
            log.error("unexpected", exc_info=fault)
            return CniError(spec.INTERNAL, f"The agent failed: {fault}.", repr(fault))


def _refuse_strangers(connection: socket.socket) -> None:
    """The socket's mode lets only root in; a descriptor that was passed on does not."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    if uid != os.geteuid():
        raise PermissionError(f"user {uid} is not root")


def _receive(connection: socket.socket) -> bytes:
    (size,) = LENGTH.unpack(_exactly(connection, LENGTH.size))
    if size > REQUEST_LIMIT:
        raise ValueError(f"a request of {size} bytes; the limit is {REQUEST_LIMIT}")
    return _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionError("the caller went away before it had asked")
        data += part
    return data


def _gone(connection: socket.socket) -> bool:
    """Whether the caller has closed its end; it sends nothing after the request."""
    waiting = select.poll()
    waiting.register(connection, select.POLLIN | select.POLLRDHUP)
    return bool(waiting.poll(0))
