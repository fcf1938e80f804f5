"""Messages that ask: open, close and commit the bundle, dump flows and groups, claim a role, limit what is copied.

A bundle is sent in two steps. Open vSwitch refuses a bad message when it is added but keeps the bundle, so that
a commit sent along would install the rest. The commit goes out only when the close was answered and nothing was
refused. Meters cannot be in a bundle.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from struct import Struct

from controller.openflow.decode import BUNDLE_CONTROL, FLOW_STATS, GROUP_DESC
from controller.openflow.encode import ANY, BUNDLE, BUNDLE_FLAGS, VERSION
from controller.pipeline.flow import ANSWERS_METER

OPEN, CLOSE, COMMIT, DISCARD = 0, 2, 4, 6
CLOSED, COMMITTED = 3, 5

_CONTROL = Struct("!BBHIIHH")
_FLOW_REQUEST = Struct("!BBHIHH4xB3xII4xQQHH4x")
_GROUP_REQUEST = Struct("!BBHIHH4x")
_ROLE = Struct("!BBHII4xQ")
_METER = Struct("!BBHIHHIHHII4x")
_ROLE_REQUEST, _MULTIPART_REQUEST, _METER_MOD = 24, 18, 29
_ADD, _MODIFY = 0, 1
_PACKETS, _BURST, _DROP = 2, 4, 1
_TO_CONTROLLERS = 0xFFFFFFFE
MASTER, SLAVE = 2, 3

COPIES_PER_SECOND = 100
"""How many packets a switch sends for the log at most, so that a flood of them costs nobody anything."""
ANSWERS_PER_SECOND = 200
"""How many DNS answers it sends besides."""


def fill(messages: Iterable[bytes], *, open_xid: int, close_xid: int) -> bytes:
    """Opens the bundle, adds `messages` (of `encode`, so already wrapped) and closes it."""
    return b"".join([_control(OPEN, open_xid), *messages, _control(CLOSE, close_xid)])


def commit(xid: int) -> bytes:
    return _control(COMMIT, xid)


def discard(xid: int) -> bytes:
    """Forgets a closed bundle, which would be in the way of the next."""
    return _control(DISCARD, xid)


def _control(kind: int, xid: int) -> bytes:
    return _CONTROL.pack(VERSION, BUNDLE_CONTROL, _CONTROL.size, xid, BUNDLE, kind, BUNDLE_FLAGS)


def dump(xid: int, *, cookie: int = 0, mask: int = 0) -> bytes:
    """Asks for all flows whose cookie agrees with `cookie` in the bits of `mask`."""
    return _FLOW_REQUEST.pack(
        *(VERSION, _MULTIPART_REQUEST, _FLOW_REQUEST.size, xid, FLOW_STATS, 0, 0xFF, ANY, ANY, cookie, mask, 1, 4)
    )


def dump_groups(xid: int) -> bytes:
    """Asks for all groups."""
    return _GROUP_REQUEST.pack(VERSION, _MULTIPART_REQUEST, _GROUP_REQUEST.size, xid, GROUP_DESC, 0)


def claim(xid: int, generation: int) -> bytes:
    """Asks to be the switch's master; the switch refuses a generation older than the newest it has seen."""
    return _ROLE.pack(VERSION, _ROLE_REQUEST, _ROLE.size, xid, MASTER, generation)


def limit_copies(*xids: int) -> bytes:
    """That the data path drops what flows send to controllers beyond `COPIES_PER_SECOND`, and DNS answers beyond
    `ANSWERS_PER_SECOND`. Takes four numbers of messages: of each limit a switch refuses one message of two, by whether
    it has that limit already."""
    limits = (_TO_CONTROLLERS, COPIES_PER_SECOND), (ANSWERS_METER, ANSWERS_PER_SECOND)
    return b"".join(
        _METER.pack(*(VERSION, _METER_MOD, _METER.size, xid, command, _PACKETS | _BURST, meter, _DROP, 16, rate, rate))
        for xid, ((meter, rate), command) in zip(xids, product(limits, (_ADD, _MODIFY)), strict=True)
    )
