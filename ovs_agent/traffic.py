"""What the bridge's ports have counted, as Open vSwitch's database says it, in one question for all of them.

The replica never hears of these columns, which change every few seconds for every port: they are asked for when a
report is due that is to have them, and a database that does not answer in time leaves them out.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping, Sequence
from logging import getLogger
from typing import Any

from ovs_agent.ovsdb.replica import DATABASE
from ovs_agent.plan import ENDPOINT

from ovs import jsonrpc, poller, stream  # isort: skip - after the replica, which quiets the import

log = getLogger(__name__)
EVERY_SECONDS = 10.0
PATIENCE = 2.0
QUESTION: list[Any] = [
    DATABASE,
    {"op": "select", "table": "Interface", "where": [], "columns": ["external_ids", "statistics"]},
]
COUNTERS = ("tx_packets", "tx_bytes", "tx_dropped", "rx_packets", "rx_bytes", "rx_dropped")
"""In the order of the report. What an endpoint receives, its port transmits: ovs-vswitchd.conf.db(5)."""

Counts = Mapping[str, Sequence[int]]
"""The counters of endpoints, by the endpoint's id."""


class Traffic:
    """`remote` is Open vSwitch's database."""

    def __init__(self, remote: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._remote = remote
        self._clock = clock
        self._read = -EVERY_SECONDS

    def counted(self) -> Counts | None:
        """None when it was told a moment ago, or the database does not answer."""
        now = self._clock()
        if now - self._read < EVERY_SECONDS:
            return None
        self._read = now
        try:
            return counts(ask(self._remote, PATIENCE))
        except OSError as fault:
            log.info("the ports' counters cannot be read: %s", fault)
            return None


def counts(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Of rows of Interface as RFC 7047 spells them. Ports without any counter, as before the switch has looked at
    them, are left out."""
    found = {}
    for row in rows:
        id, statistics = _map(row["external_ids"]).get(ENDPOINT, ""), _map(row["statistics"])
        if id.isdecimal() and statistics:
            found[id] = [max(0, int(statistics.get(name, 0))) for name in COUNTERS]
    return found


def ask(remote: str, seconds: float) -> Sequence[Mapping[str, Any]]:
    """All rows of Interface. Raises OSError when the answer takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    error, connection = stream.Stream.open_block(stream.Stream.open(remote), int(seconds * 1000))
    if error:
        raise OSError(error, f"no connection to {remote}")
    rpc = jsonrpc.Connection(connection)
    try:
        rpc.send(jsonrpc.Message.create_request("transact", QUESTION))
        while time.monotonic() < deadline:
            rpc.run()
            error, message = rpc.recv()
            if message is not None and message.type == jsonrpc.Message.T_REPLY:
                rows: Sequence[Mapping[str, Any]] = message.result[0]["rows"]
                return rows
            if error not in (0, errno.EAGAIN):
                raise OSError(error, f"{remote} closed the connection")
            waiter = poller.Poller()
            rpc.wait(waiter)
            rpc.recv_wait(waiter)
            waiter.timer_wait(max(0, int((deadline - time.monotonic()) * 1000)) + 1)
            waiter.block()
        raise OSError(f"{remote} did not answer within {seconds:g} s")
    finally:
        rpc.close()


def _map(column: Any) -> dict[str, Any]:
    """`["map", [[key, value], ...]]`, RFC 7047 section 5.1."""
    return dict(column[1])
