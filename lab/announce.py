"""Hosts tell each other their underlay MAC before anybody needs it.

A user-space switch asks for the next hop of a tunnel only when a packet needs it, and drops that packet; it forgets
an answer after a quarter of an hour. (The kernel's data path waits for the answer instead.) So each host announces
itself by a gratuitous ARP when it comes up, and once a minute: the first packet between two hosts then goes through.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress

from lab import netns, ovs
from lab.names import HostName, LabError

EVERY_SECONDS = 60.0
_SIOCGIFHWADDR = 0x8927
_BROADCAST = b"\xff" * 6


def announce(hosts: Sequence[HostName]) -> None:
    """One frame from each host; a host whose switch is down has nothing to say."""
    for host in hosts:
        with suppress(OSError, LabError), netns.inside(host.netns):
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as line:
                line.bind((ovs.BRIDGE, 0))
                line.send(frame(_mac(line), socket.inet_aton(host.address)))


def until_known(hosts: Sequence[HostName], seconds: float = 60.0) -> None:
    """Announce until every switch knows every other host."""
    deadline = time.monotonic() + seconds
    deaf = list(hosts)
    while deaf and time.monotonic() < deadline:
        announce(hosts)
        time.sleep(0.05)
        deaf = [host for host in deaf if not {one.address for one in hosts if one != host} <= ovs.neighbours(host)]
    if deaf:
        raise LabError(f"{', '.join(host.name for host in deaf)} cannot hear the other hosts; see their ovs/*.log.")


def frame(mac: bytes, address: bytes) -> bytes:
    """A gratuitous ARP reply: `address` is at `mac`, told to everybody."""
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + mac + address + _BROADCAST + address
    return _BROADCAST + mac + struct.pack("!H", 0x0806) + arp


def _mac(line: socket.socket) -> bytes:
    reply = fcntl.ioctl(line, _SIOCGIFHWADDR, struct.pack("256s", ovs.BRIDGE.encode()))
    return reply[18:24]
