"""The host's routes through one of its interfaces: those that are wanted, and no others of ours.

It tells its own routes by their protocol number; everybody else's stay.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
import sys
from collections.abc import Iterable

from pyroute2.netlink import rtnl
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from ovs_agent.netlink.look import RTA_DST, RTA_OIF, RTMSG_SIZE, index_of
from ovs_agent.netlink.wire import CREATE, Request, attributes, change, dump

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
PROTOCOL = 119
"""Shown by `ip route` as `proto 119`. Numbers from 5 on are free for anybody to use."""
_ROUTE = struct.Struct("=BBBBBBBBI")  # family, lengths, service, table, protocol, scope, type, flags
_MAIN, _UNICAST, _LINK = 254, 1, 253
_TABLE_LOCAL, _LOCAL = 255, 2
_LATER = 1024
"""The metric: what the host says to itself goes by the loopback interface, whose route has 0."""
_GONE = frozenset({errno.ESRCH, errno.ENOENT})


def keep(ifname: str, networks: Iterable[str]) -> None:
    """A route to each network, or address, through the interface, which is there."""
    index = index_of(ifname)
    if index is None:
        return
    wanted, there = set(map(ipaddress.ip_network, networks)), _there(index)
    requests = [
        *(_request(rtnl.RTM_NEWROUTE, one, index, CREATE, {errno.EEXIST}) for one in sorted(wanted - there, key=str)),
        *(_request(rtnl.RTM_DELROUTE, one, index, 0, _GONE) for one in sorted(there - wanted, key=str)),
    ]
    if requests:
        change(requests)


def loopback(ifname: str) -> None:
    """Lets answers come in by the interface that connections translated from ::1 wait for: the kernel delivers what is
    for ::1 only by an interface that has it. From the wire it takes none such."""
    message = rtmsg()
    message["family"], message["dst_len"] = socket.AF_INET6, 128
    message["table"], message["proto"], message["type"] = _TABLE_LOCAL, PROTOCOL, _LOCAL
    message["attrs"] = [("RTA_DST", "::1"), ("RTA_OIF", index_of(ifname)), ("RTA_PRIORITY", _LATER)]
    change([Request("route ::1 to the host", rtnl.RTM_NEWROUTE, message, CREATE, frozenset({errno.EEXIST}))])


def _there(index: int) -> set[_Network]:
    found: set[_Network] = set()
    for family, size in ((socket.AF_INET, 4), (socket.AF_INET6, 16)):
        query = rtmsg()
        query["family"] = family
        for body in dump(Request("list routes", rtnl.RTM_GETROUTE, query)):
            its, length, _, _, _, protocol, *_ = _ROUTE.unpack_from(body)
            if (its, protocol) == (family, PROTOCOL):
                attributed = attributes(body, RTMSG_SIZE)
                if attributed.get(RTA_OIF) == index.to_bytes(4, sys.byteorder):
                    found.add(ipaddress.ip_network((attributed.get(RTA_DST, bytes(size)), length)))
    return found


def _request(kind: int, network: _Network, index: int, flags: int, accept: Iterable[int]) -> Request:
    ipv6 = network.version == 6
    message = rtmsg()
    message["family"] = socket.AF_INET6 if ipv6 else socket.AF_INET
    message["dst_len"] = network.prefixlen
    message["table"], message["proto"], message["type"] = _MAIN, PROTOCOL, _UNICAST
    message["scope"] = 0 if ipv6 else _LINK
    message["attrs"] = [("RTA_DST", str(network.network_address)), ("RTA_OIF", index)]
    return Request(f"route {network} to the bridge", kind, message, flags, frozenset(accept))
