"""The kernel's tracked connections: what they ask for and who answers, and ending some.

To end one is to forget it: its next packet is new, and goes by the rules as they are then. Why one should end is not
known here.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ovs_agent.netlink.wire import ATTRIBUTE, NETFILTER, Request, attributes, change, dump

_GET, _DELETE = 0x101, 0x102  # IPCTNL_MSG_CT_* of the subsystem for connections (nfnetlink_conntrack.h)
_HEAD = struct.Struct("!BBH")  # family, version, resource
_ORIGINAL, _REPLY, _ID = 1, 2, 12
_ADDRESSES, _PROTOCOL = 1, 2  # of a direction
_NUMBER, _SOURCE_PORT, _PORT = 1, 2, 3  # of a protocol
_NESTED = 0x8000
_GONE = frozenset({errno.ENOENT})


class Connection(NamedTuple):
    """What it asks for, and who answers: another than that if it was sent there. `key` is how the kernel calls it."""

    protocol: int
    asked: str
    port: int
    answers: str
    answers_port: int
    key: bytes


def listed() -> Iterator[Connection]:
    for body in dump(Request("list connections", _GET, _HEAD.pack(socket.AF_UNSPEC, 0, 0)), NETFILTER):
        said = attributes(body, _HEAD.size)
        if not {_ORIGINAL, _REPLY, _ID} <= said.keys():
            continue
        protocol, asked, port = _ends(said[_ORIGINAL])[1]
        _, answers, answers_port = _ends(said[_REPLY])[0]
        key = body[: _HEAD.size] + _attribute(_ORIGINAL | _NESTED, said[_ORIGINAL]) + _attribute(_ID, said[_ID])
        yield Connection(protocol, asked, port, answers, answers_port, key)


def end(connections: Iterable[Connection]) -> None:
    change([Request("end a connection", _DELETE, one.key, accept=_GONE) for one in connections], NETFILTER)


def _ends(direction: bytes) -> tuple[tuple[int, str, int], tuple[int, str, int]]:
    """Protocol, address and port of who sends and of whom it is sent to; port 0 where the protocol has none."""
    parts = attributes(direction, 0)
    addresses, protocol = attributes(parts[_ADDRESSES], 0), attributes(parts[_PROTOCOL], 0)
    number = protocol[_NUMBER][0]
    source, destination = (str(ipaddress.ip_address(addresses[kind])) for kind in sorted(addresses))
    ports = (int.from_bytes(protocol.get(kind, b""), "big") for kind in (_SOURCE_PORT, _PORT))
    return (number, source, next(ports)), (number, destination, next(ports))


def _attribute(kind: int, value: bytes) -> bytes:
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)
