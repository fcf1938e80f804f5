"""The thread that owns the connection to Open vSwitch's database.

The library's replica may be touched by one thread only. Others put commands in a queue and wake the thread through a
pipe; what they get back are values, never rows. It decides how long to wait and when to try again; it refuses to know
why anybody asks. After a lost connection it comes back by itself, and commands meanwhile fail with a sentence.
"""

from __future__ import annotations

import os
import queue
import select
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from logging import getLogger
from typing import Any, NamedTuple, TypeVar, cast

from ovs_agent.ovsdb.parser import Parser
from ovs_agent.ovsdb.replica import DATABASE, Replica, read_bridge, read_connected, read_controllers, read_ssl
from ovs_agent.ovsdb.writes import DatabaseStep, Refused, write
from ovs_agent.plan import Port, Seen

from ovs import json, jsonrpc, poller, stream  # isort: skip - after the replica, which quiets the import
from ovs.db.idl import Transaction  # isort: skip

poller.SelectPoll = select.poll  # select() refuses descriptors from 1024 on
json.Parser = Parser

T = TypeVar("T")
Steps = tuple[DatabaseStep, ...]
log = getLogger(__name__)
PATIENCE = 5.0
"""Seconds that a command waits for the database, and a port for its number."""


class OvsdbFault(Exception):  # noqa: N818
    """The database or the switch did not do what was asked; the text is a sentence for people."""


class Rejected(OvsdbFault):
    """The database refused a change."""


class Watch(NamedTuple):
    """Somebody who waits until a condition holds."""

    condition: Callable[[], Any]
    answer: Future[Any]
    deadline: float
    complaint: str


class Database:
    """Open vSwitch's database behind one thread. `changed` is called in that thread after every change: be brief."""

    def __init__(self, remote: str, changed: Callable[[], None] = lambda: None) -> None:
        self.remote = remote
        self._changed = changed
        self._commands: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any], float]] = queue.SimpleQueue()
        self._changes: queue.SimpleQueue[tuple[Steps, Future[Any], float]] = queue.SimpleQueue()
        self._bell, self._ring = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._watches: list[Watch] = []
        self._stopping = False
        self._connected = threading.Event()
        self._replica: Replica | None = None
        self._thread = threading.Thread(target=self._run, name="ovsdb", daemon=True)

    def start(self, seconds: float = 2.0) -> None:
        """Start, and give the first connection a moment."""
        self._thread.start()
        self._connected.wait(seconds)

    def stop(self) -> None:
        self._stopping = True
        self._wake()
        self._thread.join()
        os.close(self._bell)
        os.close(self._ring)

    def seen(self, bridge: str) -> Seen:
        """The bridge with its ports and controllers. `links` is not the database's to know and stays empty."""

        def read() -> Seen:
            replica = self._idl
            row = replica.bridge(bridge)
            if row is None:
                return Seen(others=replica.others(bridge), ssl=read_ssl(replica.root()))
            return Seen(
                read_bridge(row),
                read_controllers(row),
                read_connected(row),
                replica.ports(row),
                others=replica.others(bridge),
                ssl=read_ssl(replica.root()),
            )

        return self._call(read)

    def ports(self, bridge: str) -> Mapping[str, Port]:
        return self.seen(bridge).ports

    def port(self, name: str) -> Port | None:
        return self._call(lambda: self._idl.port(name))

    def apply(self, steps: Iterable[DatabaseStep]) -> None:
        """All steps in one transaction, which happens as a whole or not at all. Returns once it is written."""
        self._ask(self._changes, tuple(steps), PATIENCE)

    def settled(self, name: str, seconds: float = PATIENCE) -> Port:
        """Wait until the switch has looked at a port: it has a number, or an error."""

        def looked_at() -> Port | None:
            port = self._idl.port(name)
            return port if port is not None and (port.actual is not None or port.error) else None

        return self._wait(looked_at, seconds, f"ovs-vswitchd did not look at port {name}; is it running?")

    def switched_on(self, seconds: float) -> None:
        """Ask ovs-vswitchd for a sign of life: it acknowledges the number of every configuration it has carried out."""

        def ask() -> int:
            self._transact((), bump=True)
            return int(self._idl.root().next_cfg)

        number = self._call(ask)
        self._wait(lambda: int(self._idl.root().cur_cfg) >= number, seconds, "ovs-vswitchd does not answer; start it.")

    # Everything below runs in the owner thread, except _call, _ask, _wait and _wake.

    def _call(self, command: Callable[[], T]) -> T:
        return cast(T, self._ask(self._commands, command, PATIENCE))

    def _ask(self, waiting: queue.SimpleQueue[Any], what: Any, seconds: float) -> Any:
        answer: Future[Any] = Future()
        waiting.put((what, answer, time.monotonic() + seconds))
        self._wake()
        return answer.result(seconds + 5)

    def _wait(self, condition: Callable[[], T | None], seconds: float, complaint: str) -> T:
        answer: Future[T] = Future()
        watch = Watch(condition, answer, time.monotonic() + seconds, complaint)
        self._commands.put((lambda: self._watches.append(watch), Future(), watch.deadline))
        self._wake()
        return answer.result(seconds + 5)

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # full: it rings anyway
            os.write(self._ring, b"!")

    @property
    def _idl(self) -> Replica:
        if self._replica is None or not self._replica.ready:
            raise OvsdbFault(f"Open vSwitch's database at {self.remote} does not answer; start ovsdb-server.")
        return self._replica

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._replica = Replica(self.remote, _schema(self.remote))
                self._serve(self._replica)
            except OSError as fault:
                log.warning("Open vSwitch's database at %s: %s; trying again", self.remote, fault)
                self._sleep(1.0)
            except Exception:
                log.exception("the database thread failed and starts again")
                self._sleep(1.0)
            finally:
                if self._replica is not None:
                    self._replica.close()
                    self._replica = None
        self._obey()

    def _serve(self, replica: Replica) -> None:
        number, ready = replica.change_seqno, False
        while not self._stopping:
            replica.run()
            if replica.ready != ready:
                ready = replica.ready
                log.info("Open vSwitch's database at %s: %s", self.remote, "connected" if ready else "connection lost")
                self._connected.set()
            self._obey()
            self._look()
            if replica.change_seqno != number:
                number = replica.change_seqno
                self._changed()
            self._block(replica)

    def _sleep(self, seconds: float) -> None:
        """Wait, but go on refusing commands, so that nobody waits for nothing."""
        deadline = time.monotonic() + seconds
        while not self._stopping and (rest := deadline - time.monotonic()) > 0:
            select.select([self._bell], [], [], rest)
            self._obey()
            self._look()

    def _obey(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._bell, 4096)
        self._change(_taken(self._changes))
        for command, answer in _taken(self._commands):
            try:
                answer.set_result(command())
            except Exception as fault:
                answer.set_exception(fault)

    def _change(self, waiting: list[tuple[Steps, Future[Any]]]) -> None:
        """What several wait for is one transaction: each one costs ovs-vswitchd a turn. Where that is refused, each has
        its own."""
        groups = [waiting] if waiting else []
        while groups:
            group = groups.pop()
            try:
                self._transact(tuple(step for steps, _ in group for step in steps))
            except Exception as fault:
                if isinstance(fault, Rejected) and len(group) > 1:
                    groups += [[one] for one in reversed(group)]
                    continue
                for _, answer in group:
                    answer.set_exception(fault)
            else:
                for _, answer in group:
                    answer.set_result(None)

    def _look(self) -> None:
        now = time.monotonic()
        for watch in tuple(self._watches):
            try:
                value = watch.condition()
            except OvsdbFault:
                value = None
            if value:
                watch.answer.set_result(value)
            elif now >= watch.deadline:
                watch.answer.set_exception(OvsdbFault(watch.complaint))
            else:
                continue
            self._watches.remove(watch)

    def _block(self, replica: Replica, txn: Any = None, deadline: float | None = None) -> None:
        waiter = poller.Poller()
        replica.wait(waiter)
        waiter.fd_wait(self._bell, select.POLLIN)
        if txn is not None:
            txn.wait(waiter)
        ends = [watch.deadline for watch in self._watches] + ([deadline] if deadline is not None else [])
        if ends:
            waiter.timer_wait(max(0, int((min(ends) - time.monotonic()) * 1000) + 1))
        waiter.block()

    def _transact(self, steps: tuple[DatabaseStep, ...], bump: bool = False) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            replica = self._idl
            txn = Transaction(replica)
            try:
                for step in steps:
                    write(step, replica, txn)
                if bump:
                    root = replica.root()
                    root.verify("next_cfg")  # somebody else may count up at the same moment
                    root.next_cfg = root.next_cfg + 1
                status = self._commit(replica, txn, deadline)
            except Refused as fault:
                raise Rejected(str(fault)) from None
            finally:
                txn.abort()
            if status in (txn.SUCCESS, txn.UNCHANGED):
                return
            if status != txn.TRY_AGAIN or time.monotonic() > deadline:
                raise Rejected(f"Open vSwitch's database refused a change: {txn.get_error() or status}.")
            replica.run()
            self._block(replica, deadline=min(deadline, time.monotonic() + 0.1))

    def _commit(self, replica: Replica, txn: Any, deadline: float) -> str:
        while (status := txn.commit()) == txn.INCOMPLETE:
            if time.monotonic() > deadline:
                raise OvsdbFault(f"Open vSwitch's database did not confirm a change within {PATIENCE:g} s.")
            replica.run()
            self._block(replica, txn, deadline)
        return str(status)


def _taken(waiting: queue.SimpleQueue[tuple[T, Future[Any], float]]) -> list[tuple[T, Future[Any]]]:
    """The queued items that somebody still waits for."""
    found = []
    with suppress(queue.Empty):
        while True:
            found.append(waiting.get_nowait())
    now = time.monotonic()
    return [(what, answer) for what, answer, end in found if now <= end and answer.set_running_or_notify_cancel()]


def _schema(remote: str) -> Any:
    """The database's own description, asked of the server, so that no file has to be found."""
    error, connection = stream.Stream.open_block(stream.Stream.open(remote), 2000)
    if error:
        raise OSError(error, os.strerror(error))
    rpc = jsonrpc.Connection(connection)
    try:
        error, reply = rpc.transact_block(jsonrpc.Message.create_request("get_schema", [DATABASE]))
        if error or reply is None or reply.error:
            raise OSError(error or 0, f"no schema of {DATABASE}")
        return reply.result
    finally:
        rpc.close()
