"""The underlay as this host finds it: its MTU, its subnet, and whether full-size packets reach the other hosts.

A black hole swallows large packets and passes small ones, so that connections open and then hang. Each round asks every
other host with a small and, if that is answered, with a full-size echo request that nobody may fragment; the answer is
as large, so both ways are tried. A host that answers no small one either is not this module's matter.
"""

from __future__ import annotations

import ipaddress
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from logging import getLogger
from typing import NamedTuple

from ovs_agent.document import Peer
from ovs_agent.netlink.look import Underlay

log = getLogger(__name__)
EVERY = 60.0
"""Seconds between rounds."""
PATIENCE = 2.0
ATTEMPTS = 3
_SMALL = 64
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PROBE = 10, 23, 3  # ip(7): set "don't fragment", and believe no learnt path MTU
_HEADERS = {4: 20 + 8, 6: 40 + 8}  # IP and ICMP


class _Family(NamedTuple):
    family: int
    protocol: int
    request: int
    reply: int


_FAMILIES = {
    4: _Family(socket.AF_INET, socket.IPPROTO_ICMP, 8, 0),  # RFC 792
    6: _Family(socket.AF_INET6, socket.IPPROTO_ICMPV6, 128, 129),  # RFC 4443
}


def unreachable_at(mtu: int, addresses: Sequence[str]) -> list[str]:
    """The addresses that answer small packets, but none of `mtu` bytes."""
    there = _answering(_SMALL, addresses)
    lost = [address for address in addresses if address in there]
    for _ in range(ATTEMPTS):
        if lost:
            answered = _answering(mtu, lost)
            lost = [address for address in lost if address not in answered]
    return lost


def _answering(size: int, addresses: Sequence[str]) -> set[str]:
    """Who answers an echo request that makes an IP packet of `size` bytes."""
    found: set[str] = set()
    for version, family in _FAMILIES.items():
        asked = {address for address in addresses if ipaddress.ip_address(address).version == version}
        if asked:
            found |= _echo(family, version, size, asked)
    return found


def _echo(family: _Family, version: int, size: int, asked: set[str]) -> set[str]:
    mark = os.urandom(2)
    with socket.socket(family.family, socket.SOCK_RAW, family.protocol) as line:
        level, option = (socket.IPPROTO_IP, _IP_MTU_DISCOVER) if version == 4 else (41, _IPV6_MTU_DISCOVER)
        line.setsockopt(level, option, _PROBE)
        body = bytes(size - _HEADERS[version])
        for address in asked:
            try:
                line.sendto(_request(family, mark, body), (address, 0))
            except OSError:
                continue  # larger than the interface, or no route: not answered
        found: set[str] = set()
        deadline = time.monotonic() + PATIENCE
        while asked - found and (left := deadline - time.monotonic()) > 0:
            if not select.select([line], [], [], left)[0]:
                break
            packet, sender = line.recvfrom(65535)
            if version == 4:
                packet = packet[(packet[0] & 15) * 4 :]
            if packet[:1] == bytes([family.reply]) and packet[4:6] == mark and len(packet) == len(body) + 8:
                found.add(sender[0])
    return found


def _request(family: _Family, mark: bytes, body: bytes) -> bytes:
    packet = struct.pack("!BBH2sH", family.request, 0, 0, mark, 1) + body
    if family.protocol == socket.IPPROTO_ICMPV6:
        return packet  # the kernel fills in the checksum
    even = packet + bytes(len(packet) % 2)
    total = sum(struct.unpack(f"!{len(even) // 2}H", even))  # RFC 1071
    total = (total & 0xFFFF) + (total >> 16)
    return packet[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + packet[4:]


class Prober:
    """Asks in rounds. `whom` tells the other hosts, the underlay and the least MTU of all hosts at that moment, `told`
    gets the sentences."""

    def __init__(
        self, whom: Callable[[], tuple[Sequence[Peer], Underlay | None, int]], told: Callable[[tuple[str, ...]], None]
    ) -> None:
        self._whom = whom
        self._told = told
        self._ended = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="underlay", daemon=True).start()

    def stop(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.is_set():
            peers, underlay, least = self._whom()
            if underlay is not None:
                try:
                    self._told(self._round(peers, underlay, least))
                except OSError as fault:
                    log.warning("the underlay cannot be tried: %s", fault)
            self._ended.wait(EVERY if underlay is not None else 1.0)

    def _round(self, peers: Sequence[Peer], underlay: Underlay, least: int) -> tuple[str, ...]:
        """Networks leave room for the least MTU of all hosts: that larger packets do not pass is nobody's trouble."""
        names: Mapping[str, str] = {peer.address: peer.name for peer in peers}
        size = min(underlay.mtu, least)
        whose = f"the MTU of {underlay.interface}" if size == underlay.mtu else "the least MTU of all hosts"
        return tuple(
            f"Packets of {size} bytes, {whose}, do not come to {names[address]} "
            f"({address}) and back, and small ones do: raise the MTU on the way, or lower that of the interface."
            for address in unreachable_at(size, list(names))
        )
