"""Telling whoever hears an interface that its addresses are here now: after a move, caches elsewhere may be wrong.

It decides the packets: gratuitous ARP (RFC 5227 section 3) and unsolicited neighbour advertisements (RFC 4861 section
7.2.6). Nothing depends on them being heard.
"""

from __future__ import annotations

import ipaddress
import socket
import struct

from ovs_agent.netlink.wire import inside
from ovs_agent.plan import Endpoint

_BROADCAST, _ALL_NODES_MAC = b"\xff" * 6, bytes.fromhex("333300000001")
_ALL_NODES = ipaddress.IPv6Address("ff02::1").packed
_ICMPV6, _ADVERTISEMENT, _TARGET_LINK_LAYER, _OVERRIDE = 58, 136, 2, 0x2000_0000


def announce(endpoint: Endpoint) -> None:
    """Send one packet for each address from the container's interface."""
    inside(endpoint.netns, lambda: _send(endpoint.ifname, frames(endpoint)))


def frames(endpoint: Endpoint) -> list[bytes]:
    mac = bytes.fromhex(endpoint.mac.replace(":", ""))
    addresses = [ipaddress.ip_interface(address).ip for address in endpoint.addresses]
    return [_arp(mac, ip.packed) if ip.version == 4 else _advertisement(mac, ip.packed) for ip in addresses]


def _arp(mac: bytes, address: bytes) -> bytes:
    head = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    return _BROADCAST + mac + b"\x08\x06" + head + mac + address + bytes(6) + address


def _advertisement(mac: bytes, address: bytes) -> bytes:
    option = bytes([_TARGET_LINK_LAYER, 1]) + mac
    body = struct.pack("!BBHI", _ADVERTISEMENT, 0, 0, _OVERRIDE) + address + option
    summed = address + _ALL_NODES + struct.pack("!II", len(body), _ICMPV6) + body
    body = body[:2] + struct.pack("!H", _checksum(summed)) + body[4:]
    header = struct.pack("!IHBB", 6 << 28, len(body), _ICMPV6, 255)
    return _ALL_NODES_MAC + mac + b"\x86\xdd" + header + address + _ALL_NODES + body


def _checksum(data: bytes) -> int:
    """RFC 1071; the data has an even length."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _send(ifname: str, frames: list[bytes]) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC) as channel:
        channel.bind((ifname, 0))
        for frame in frames:
            channel.send(frame)
