"""What interfaces there are: the host's ends of our pairs, and whether a container's end is still as it was made.

It decides what is read and compared; it changes nothing.
"""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from pyroute2.netlink import rtnl
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from ovs_agent.document import Endpoint
from ovs_agent.netlink.wire import NoNamespace, Request, attributes, dump, inside
from ovs_agent.plan import Link

GROUP = 0x77_61_72_72
"""Device group of the host's ends ("warr"), by which they are found whatever else the machine has."""

IFF_UP, IFF_NOARP = 0x1, 0x80
SIOCGIFFLAGS = 0x8913
RTMGRP_LINK = 0x1
RTMGRP_ADDRESSES = 0x10 | 0x100  # IPv4 and IPv6
IFINFO = struct.Struct("=BxHiII")  # family, type, index, flags, change
IFADDR = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
RTMSG_SIZE = 12
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_LINKINFO, IFLA_GROUP = 1, 3, 4, 10, 18, 27
IFLA_INFO_KIND = 1
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_DST, RTA_OIF, RTA_GATEWAY = 1, 4, 5


def index_of(ifname: str) -> int | None:
    """In this thread's namespace."""
    try:
        return socket.if_nametoindex(ifname)
    except OSError:
        return None


def flags_of(ifname: str) -> int:
    """IFF_UP and the like, in this thread's namespace. Raises OSError when there is no such interface."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        answer = fcntl.ioctl(channel, SIOCGIFFLAGS, struct.pack("=16sH22x", ifname.encode(), 0))
    return int(struct.unpack_from("=H", answer, 16)[0])


def exists(netns: str, ifname: str) -> bool:
    return inside(netns, lambda: index_of(ifname) is not None)


def links() -> dict[str, Link]:
    """The host's interfaces by name."""
    found = {}
    for body in dump(Request("list interfaces", rtnl.RTM_GETLINK, ifinfmsg())):
        flags, attributed = _link(body)
        mtu = int.from_bytes(attributed[IFLA_MTU], sys.byteorder)
        made = attributed.get(IFLA_GROUP) == GROUP.to_bytes(4, sys.byteorder)
        found[_name(attributed)] = Link(bool(flags & IFF_UP), mtu, made)
    return found


class Underlay(NamedTuple):
    """The interface that has the host's address: its MTU in bytes, and the prefix length of its subnet. `bridged` when
    Warren's bridge has a way to it."""

    interface: str
    mtu: int
    prefix: int
    bridged: bool = False


def underlay(address: str) -> Underlay | None:
    """None while no interface has the address."""
    wanted = ipaddress.ip_address(address).packed
    for body in dump(Request("list addresses", rtnl.RTM_GETADDR, ifaddrmsg())):
        _, prefix, _, _, index = IFADDR.unpack_from(body)
        attributed = attributes(body, IFADDR.size)
        if wanted in (attributed.get(IFA_LOCAL), attributed.get(IFA_ADDRESS)):
            for link in dump(Request("list interfaces", rtnl.RTM_GETLINK, ifinfmsg())):
                if IFINFO.unpack_from(link)[2] == index:
                    its = _link(link)[1]
                    name = its[IFLA_IFNAME].rstrip(b"\0").decode()
                    return Underlay(name, int.from_bytes(its[IFLA_MTU], sys.byteorder), prefix)
    return None


class Own(NamedTuple):
    """An interface of the host's own. `addresses` are those that are not link-local."""

    up: bool
    mac: str
    made: bool
    kind: str  # tun for a tap; empty for a physical one
    bridged: bool
    addresses: tuple[str, ...]


def own(name: str) -> Own | None:
    """None when there is no such interface."""
    index = index_of(name)
    for body in dump(Request("list interfaces", rtnl.RTM_GETLINK, ifinfmsg())):
        if index is None or IFINFO.unpack_from(body)[2] != index:
            continue
        flags, link = _link(body)
        addresses = (a for a in _addresses(index) if not ipaddress.ip_interface(a).is_link_local)
        return Own(
            bool(flags & IFF_UP),
            link.get(IFLA_ADDRESS, b"").hex(":"),
            link.get(IFLA_GROUP) == GROUP.to_bytes(4, sys.byteorder),
            attributes(link.get(IFLA_LINKINFO, b""), 0).get(IFLA_INFO_KIND, b"").rstrip(b"\0").decode(),
            IFLA_MASTER in link,
            tuple(sorted(addresses)),
        )
    return None


class Watch:
    """Calls `changed` after every change of an interface in the namespace of whoever starts it; or of whatever else
    these `groups` of rtnetlink(7) tell."""

    def __init__(self, changed: Callable[[], None], groups: int = RTMGRP_LINK) -> None:
        self._changed = changed
        self._groups = groups
        self._stopping = False
        self._channel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._channel.settimeout(1.0)

    def start(self) -> None:
        self._channel.bind((0, self._groups))
        threading.Thread(target=self._run, name="links", daemon=True).start()

    def stop(self) -> None:
        self._stopping = True

    def _run(self) -> None:
        with self._channel:
            while not self._stopping:
                try:
                    self._channel.recv(65536)
                except TimeoutError:
                    continue
                except OSError as fault:
                    if fault.errno != errno.ENOBUFS:  # more changes than fit: that is a change, too
                        raise
                self._changed()


def complaints(endpoint: Endpoint, gateways: Sequence[str]) -> list[str]:
    """What of the container's end is not as it was made, its default routes being `gateways`: one sentence each."""
    if endpoint.interface:
        return [] if index_of(endpoint.interface) else [f"The host has no interface {endpoint.interface}."]
    try:
        return inside(endpoint.netns, lambda: _complaints(endpoint, gateways))
    except NoNamespace as fault:
        return [str(fault)]


def _complaints(endpoint: Endpoint, gateways: Sequence[str]) -> list[str]:
    name = endpoint.ifname
    index = index_of(name)
    if index is None:
        return [f"The container has no interface {name}."]
    found: list[str] = []
    bodies = dump(Request("list interfaces", rtnl.RTM_GETLINK, ifinfmsg()))
    flags, link = _link(next(body for body in bodies if IFINFO.unpack_from(body)[2] == index))
    if not flags & IFF_UP:
        found.append(f"Interface {name} is down.")
    mac = link[IFLA_ADDRESS].hex(":")
    if mac != endpoint.mac:
        found.append(f"Interface {name} has MAC address {mac}, not {endpoint.mac}.")
    addresses = _addresses(index)
    found += [
        f"Interface {name} has lost address {wanted}." for wanted in endpoint.addresses if wanted not in addresses
    ]
    routes = _default_gateways(index)
    found += [f"The default route through {gateway} is gone." for gateway in gateways if gateway not in routes]
    return found


def _name(attributed: dict[int, bytes]) -> str:
    return attributed[IFLA_IFNAME].rstrip(b"\0").decode()


def _link(body: bytes) -> tuple[int, dict[int, bytes]]:
    return IFINFO.unpack_from(body)[3], attributes(body, IFINFO.size)


def own_addresses() -> set[str]:
    """All addresses in this thread's namespace."""
    return {str(ipaddress.ip_address(_own(attributed))) for _, _, attributed in _address_rows()}


def addressed() -> list[tuple[str, str]]:
    """Each interface's name with an address of it, and the prefix length; of a line to a single neighbour, also that
    one's."""
    found = []
    for index, prefix, attributed in _address_rows():
        with suppress(OSError):  # gone meanwhile
            name = socket.if_indextoname(index)
            ends = {attributed[key] for key in (IFA_ADDRESS, IFA_LOCAL) if key in attributed}
            found += [(name, f"{ipaddress.ip_address(end)}/{prefix}") for end in ends]
    return found


def _addresses(index: int) -> set[str]:
    """The addresses of an interface with their prefix lengths, as the API writes them."""
    return {
        f"{ipaddress.ip_address(_own(attributed))}/{prefix}"
        for link, prefix, attributed in _address_rows()
        if link == index
    }


def _address_rows() -> Iterator[tuple[int, int, dict[int, bytes]]]:
    """The interface's index, the prefix length and the attributes of each address in this thread's namespace."""
    for body in dump(Request("list addresses", rtnl.RTM_GETADDR, ifaddrmsg())):
        _, prefix, _, _, index = IFADDR.unpack_from(body)
        yield index, prefix, attributes(body, IFADDR.size)


def _own(attributed: dict[int, bytes]) -> bytes:
    """The interface's own address; of a line to a single neighbour IFA_ADDRESS is that one's."""
    return attributed.get(IFA_LOCAL) or attributed[IFA_ADDRESS]


def _default_gateways(index: int) -> set[str]:
    found = set()
    for family in (socket.AF_INET, socket.AF_INET6):
        query = rtmsg()
        query["family"] = family
        for body in dump(Request("list routes", rtnl.RTM_GETROUTE, query)):
            attributed = attributes(body, RTMSG_SIZE)
            gateway, through = attributed.get(RTA_GATEWAY), attributed.get(RTA_OIF)
            if gateway and through == index.to_bytes(4, sys.byteorder) and RTA_DST not in attributed:
                found.add(str(ipaddress.ip_address(gateway)))
    return found
