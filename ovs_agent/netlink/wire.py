"""Talking to the kernel's routing socket, or another of netlink's, and doing so in another network namespace.

It decides how messages travel: dozens in one write, on a plain socket that lives as long as the exchange.
pyroute2 supplies the messages' format only: its own sockets bring an event loop each, take 1.3 ms longer per
container, fork to enter a namespace, and leave a descriptor behind in every thread that touched them. Nothing here
knows what an interface is for.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pyroute2.netlink import NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, nlmsg

T = TypeVar("T")
CREATE = NLM_F_CREATE | NLM_F_EXCL
CLONE_NEWNET = 0x40000000
NLMSG_ERROR, NLMSG_DONE = 2, 3
HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
ATTRIBUTE = struct.Struct("=HH")  # length, type
NLA_TYPE_MASK = 0x3FFF
RECEIVE = 1 << 18
AT_ONCE = 64
"""Requests of one write. All are carried out before the first answer is read, and a thousand answers find no room."""
ROUTE, NETFILTER = 0, 12
"""Netlink's protocols."""
_libc = ctypes.CDLL(None, use_errno=True)


class Request(NamedTuple):
    """One message, or its bytes without the netlink header. `what` names it in an error; an errno in `accept` is not
    one."""

    what: str
    type: int
    message: nlmsg | bytes
    flags: int = 0
    accept: frozenset[int] = frozenset()


class KernelRefusal(OSError):  # noqa: N818
    """The kernel refused a request."""

    def __init__(self, code: int, what: str) -> None:
        super().__init__(code, f"{what}: {os.strerror(code)}")


class NoNamespace(Exception):  # noqa: N818
    """The path is no network namespace; `missing` when there is nothing at it at all."""

    def __init__(self, path: str, missing: bool) -> None:
        self.missing = missing
        super().__init__(
            f"Network namespace {path} does not exist; has the container ended?"
            if missing
            else f"{path} is not a network namespace; give the path of one, like /run/netns/NAME."
        )


def change(requests: Iterable[Request], protocol: int = ROUTE) -> list[int]:
    """Carry out the requests in order, in this thread's namespace. Answers each one's errno, 0 where it was done.

    The kernel carries on after a refusal; the first that was not to be accepted is raised when all are answered.
    """
    batch = list(requests)
    if not batch:
        return []
    encoded = [_encode(request, number, NLM_F_ACK) for number, request in enumerate(batch)]
    codes: dict[int, int] = {}
    with _socket(protocol) as channel:
        for first in range(0, len(encoded), AT_ONCE):
            part = encoded[first : first + AT_ONCE]
            channel.send(b"".join(part))
            while len(codes) < first + len(part):
                packet = channel.recv(RECEIVE)
                for kind, sequence, start, _ in messages(packet):
                    if kind == NLMSG_ERROR:
                        codes[sequence] = -struct.unpack_from("=i", packet, start)[0]
    for number, request in enumerate(batch):
        if codes[number] and codes[number] not in request.accept:
            raise KernelRefusal(codes[number], request.what)
    return [codes[number] for number in range(len(batch))]


def dump(request: Request, protocol: int = ROUTE) -> list[bytes]:
    """Every object of a kind in this thread's namespace: its message without the netlink header."""
    found: list[bytes] = []
    with _socket(protocol) as channel:
        channel.send(_encode(request, 0, NLM_F_DUMP))
        while True:
            packet = channel.recv(RECEIVE)
            for kind, _, start, end in messages(packet):
                if kind == NLMSG_DONE:
                    return found
                if kind == NLMSG_ERROR:
                    raise KernelRefusal(-struct.unpack_from("=i", packet, start)[0], request.what)
                found.append(packet[start:end])


def ask(request: Request, protocol: int = ROUTE) -> bytes:
    """The one object that a request is answered with: its message without the netlink header."""
    with _socket(protocol) as channel:
        channel.send(_encode(request, 0, 0))
        packet = channel.recv(RECEIVE)
    kind, _, start, end = next(iter(messages(packet)))
    if kind == NLMSG_ERROR:
        raise KernelRefusal(-struct.unpack_from("=i", packet, start)[0], request.what)
    return packet[start:end]


def attributes(body: bytes, start: int) -> dict[int, bytes]:
    """The attributes of a message by number. Decoding a link in full takes 0.4 ms, this 10 us."""
    found = {}
    while start + ATTRIBUTE.size <= len(body):
        length, kind = ATTRIBUTE.unpack_from(body, start)
        found[kind & NLA_TYPE_MASK] = body[start + ATTRIBUTE.size : start + length]
        start += (length + 3) & ~3
    return found


def inside(netns: str, work: Callable[[], T]) -> T:
    """Do `work` in a network namespace.

    A thread is made for it and ends with it (0.15 ms): a thread that would have to come back could fail to.
    """
    fd = open_netns(netns)
    outcome: list[Any] = []

    def run() -> None:
        try:
            if _libc.setns(fd, CLONE_NEWNET):
                code = ctypes.get_errno()
                raise NoNamespace(netns, False) if code == errno.EINVAL else OSError(code, os.strerror(code), netns)
            outcome.extend((True, work()))
        except BaseException as fault:
            outcome.extend((False, fault))

    try:
        thread = threading.Thread(target=run, name="netns")
        thread.start()
        thread.join()
    finally:
        os.close(fd)
    done, value = outcome
    if done:
        return value  # type: ignore[no-any-return]
    raise value


def is_home(netns: str) -> bool:
    """Whether a path is the namespace this process is in."""
    return os.path.samestat(Path(netns).stat(), Path("/proc/self/ns/net").stat())


def open_netns(netns: str) -> int:
    try:
        return os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise NoNamespace(netns, True) from None
    except OSError:
        raise NoNamespace(netns, False) from None


def _socket(protocol: int) -> socket.socket:
    channel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    channel.settimeout(10.0)
    return channel


def _encode(request: Request, sequence: int, flags: int) -> bytes:
    message = request.message
    if isinstance(message, bytes):
        length = HEADER.size + len(message)
        return HEADER.pack(length, request.type, request.flags | flags | NLM_F_REQUEST, sequence, 0) + message
    message["header"] = {
        "type": request.type,
        "flags": request.flags | flags | NLM_F_REQUEST,
        "sequence_number": sequence,
    }
    message.encode()
    return bytes(message.data)


def messages(packet: bytes) -> Iterable[tuple[int, int, int, int]]:
    """Type, sequence, start of the body and end of each message in a packet."""
    start = 0
    while start + HEADER.size <= len(packet):
        length, kind, _, sequence, _ = HEADER.unpack_from(packet, start)
        yield kind, sequence, start + HEADER.size, start + length
        start += (length + 3) & ~3
