"""The MTU of a container that runs: of both ends of its pair, and of the routes that leave its network.

It decides which links and routes have it, and touches nothing else of them.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pyroute2.netlink import NLM_F_CREATE, NLM_F_REPLACE, rtnl
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.nsidmsg import nsidmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from ovs_agent.document import Endpoint
from ovs_agent.netlink.look import IFINFO, RTA_DST, RTA_GATEWAY, RTA_OIF, RTMSG_SIZE
from ovs_agent.netlink.wire import KernelRefusal, NoNamespace, Request, ask, attributes, change, dump, inside

_RTMSG = struct.Struct("=BBBBBBBBI")  # family, prefix lengths, TOS, table, protocol, scope, type, flags
_IFLA_IFNAME, _IFLA_LINK, _IFLA_LINK_NETNSID = 3, 5, 37
_RTGENMSG_SIZE, _NETNSA_NSID = 4, 1
_RTA_PRIORITY, _RTA_METRICS, _RTAX_MTU = 6, 8, 2
_TABLE_MAIN = 254


def of_route(endpoint: Endpoint, gateway: str) -> int | None:
    """What a route through `gateway` says, in bytes; None: what its interface has."""
    leaves = gateway in endpoint.gateways and endpoint.route_mtu < endpoint.mtu
    return endpoint.route_mtu if leaves else None


def give(endpoint: Endpoint) -> None:
    """To a container, whatever its interface is called there. Its end comes first: where it cannot be reached, the
    host's says so at each look. Raises NoNamespace or OSError."""
    pair = pair_of(endpoint.port_name)
    inside(endpoint.netns or namespace(pair.netns), lambda: _give_inside(endpoint, pair.inner))
    change([_link_mtu(pair.outer, endpoint.mtu, endpoint.port_name)])


def _give_inside(endpoint: Endpoint, index: int) -> None:
    change([_link_mtu(index, endpoint.mtu, endpoint.ifname)])
    change(
        _with_mtu(route, wanted)
        for route in _routes(index)
        if route.gateway in endpoint.gateways and route.mtu != (wanted := of_route(endpoint, route.gateway))
    )


class _Route(NamedTuple):
    header: tuple[int, ...]
    attributes: dict[int, bytes]
    gateway: str
    mtu: int | None


def _routes(index: int) -> Iterator[_Route]:
    """The routes of the main table through an interface that have a gateway."""
    for family in (socket.AF_INET, socket.AF_INET6):
        query = rtmsg()
        query["family"] = family
        for body in dump(Request("list routes", rtnl.RTM_GETROUTE, query)):
            header, its = _RTMSG.unpack_from(body), attributes(body, RTMSG_SIZE)
            through = its.get(RTA_OIF) == index.to_bytes(4, sys.byteorder)
            if header[4] == _TABLE_MAIN and through and RTA_GATEWAY in its:
                mtu = attributes(its.get(_RTA_METRICS, b""), 0).get(_RTAX_MTU)
                said = mtu and int.from_bytes(mtu, sys.byteorder)
                yield _Route(header, its, str(ipaddress.ip_address(its[RTA_GATEWAY])), said or None)


def _with_mtu(route: _Route, mtu: int | None) -> Request:
    message = rtmsg()
    names = "family", "dst_len", "src_len", "tos", "table", "proto", "scope", "type", "flags"
    for name, value in zip(names, route.header, strict=True):
        message[name] = value
    of = route.attributes
    message["attrs"] = [("RTA_GATEWAY", route.gateway), ("RTA_OIF", int.from_bytes(of[RTA_OIF], sys.byteorder))]
    if RTA_DST in of:
        message["attrs"].append(("RTA_DST", str(ipaddress.ip_address(of[RTA_DST]))))
    if _RTA_PRIORITY in of:
        message["attrs"].append(("RTA_PRIORITY", int.from_bytes(of[_RTA_PRIORITY], sys.byteorder)))
    if mtu is not None:
        message["attrs"].append(("RTA_METRICS", {"attrs": [("RTAX_MTU", mtu)]}))
    what = f"give the route through {route.gateway} MTU {mtu or 'of its interface'}"
    return Request(what, rtnl.RTM_NEWROUTE, message, NLM_F_REPLACE | NLM_F_CREATE)


class Pair(NamedTuple):
    """The numbers of its two interfaces, each in its own namespace, and that of the inner one's namespace."""

    outer: int
    inner: int
    netns: bytes | None


def pair_of(name: str) -> Pair:
    for body in dump(Request("list interfaces", rtnl.RTM_GETLINK, ifinfmsg())):
        its = attributes(body, IFINFO.size)
        if its[_IFLA_IFNAME].rstrip(b"\0").decode() == name:
            index: int = IFINFO.unpack_from(body)[2]
            inner = its.get(_IFLA_LINK)  # left out by some kernels where both are the same number
            inner_index = index if inner is None else int.from_bytes(inner, sys.byteorder)
            return Pair(index, inner_index, its.get(_IFLA_LINK_NETNSID))
    raise KernelRefusal(errno.ENODEV, f"find interface {name}")


def namespace(netns: bytes | None) -> str:
    """By a process in it: a runtime that moved the interface itself need not have told where to. None: the interface is
    here, not moved yet."""
    tried: set[int] = set()
    for path in Path("/proc").glob("[0-9]*/ns/net") if netns is not None else ():
        with suppress(OSError):  # it has ended
            if (space := path.stat().st_ino) in tried:
                continue
            tried.add(space)
            query = nsidmsg()
            query["attrs"] = [("NETNSA_PID", int(path.parts[2]))]
            said = attributes(ask(Request("number a namespace", rtnl.RTM_GETNSID, query)), _RTGENMSG_SIZE)
            if said.get(_NETNSA_NSID) == netns:
                return str(path)
    raise NoNamespace("of an interface without one", missing=True)


def _link_mtu(index: int, mtu: int, name: str) -> Request:
    message = ifinfmsg()
    message["index"] = index
    message["attrs"] = [("IFLA_MTU", mtu)]
    return Request(f"set the MTU of interface {name} to {mtu}", rtnl.RTM_NEWLINK, message)
