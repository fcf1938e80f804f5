"""How fast an endpoint may send and receive: a token bucket at either end of its pair.

What goes into the container is held back at the host's end, what comes out at the container's own: with a data path
in user space nothing else on the host sees those packets in time. A container with CAP_NET_ADMIN can thus lift the
limit of what it sends, until the agent looks. It decides the kernel's parameters; what they are to be comes with the
endpoint.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Set
from contextlib import suppress
from typing import Any, TypeVar

from pyroute2.netlink import NLM_F_CREATE, NLM_F_REPLACE, rtnl
from pyroute2.netlink.rtnl.tcmsg import sched_tbf, tcmsg

from ovs_agent.document import Endpoint
from ovs_agent.netlink.look import index_of
from ovs_agent.netlink.mtu import namespace, pair_of
from ovs_agent.netlink.wire import NoNamespace, Request, attributes, change, dump, inside

LATENCY = 0.025
"""Seconds that a packet may wait before it is dropped; the reference plugin's."""
HEADER = 14
LARGEST = (1 << 32) - 1
TICKS = 15.625e6
"""The kernel's units of a bucket's depth in a second."""
HANDLE = 0x10000
TCMSG = struct.Struct("=BxxxiIII")  # family, interface, handle, parent, info
TCA_KIND = 1
T = TypeVar("T")


def limit(endpoint: Endpoint) -> None:
    """To what holds for it, in place of what did. Of an interface of the host's own only what goes into it can be held
    back. Raises NoNamespace and OSError."""
    limits = endpoint.limits
    _hold(index_of(endpoint.port_name), endpoint, limits.ingress_rate, limits.ingress_burst)
    if not endpoint.interface:
        _inside(endpoint, lambda index: _hold(index, endpoint, limits.egress_rate, limits.egress_burst))


def lifted(endpoints: Iterable[Endpoint], names: Set[str]) -> frozenset[str]:
    """Ports of those endpoints, with these names, of which somebody has taken a limit away."""
    limited = [one for one in endpoints if any(one.limits) and one.port_name in names]
    if not limited:
        return frozenset()
    here = _limited()
    found = set()
    for one in limited:
        with suppress(NoNamespace, OSError):  # it has just ended, or is being made
            if (one.limits.ingress_rate and index_of(one.port_name) not in here) or not _is_limited_inside(one):
                found.add(one.port_name)
    return frozenset(found)


def complaints(endpoint: Endpoint) -> list[str]:
    found = []
    if endpoint.limits.ingress_rate and index_of(endpoint.port_name) not in _limited():
        found.append(f"What interface {endpoint.ifname} receives is not limited any more.")
    try:
        if not _is_limited_inside(endpoint):
            found.append(f"What interface {endpoint.ifname} sends is not limited any more.")
    except NoNamespace as fault:
        found.append(str(fault))
    return found


def parameters(rate: int, burst: int, mtu: int) -> dict[str, int]:
    """Bits to the kernel's bytes. A bucket that no packet fits in would let none pass."""
    speed = min(rate // 8 or 1, LARGEST)
    depth = min(max(burst // 8, mtu + HEADER), LARGEST, max(int(speed * LARGEST / TICKS), mtu + HEADER))
    return {"rate": speed, "burst": depth, "limit": min(int(speed * LATENCY) + depth, LARGEST)}


def _inside(endpoint: Endpoint, work: Callable[[int | None], T]) -> T:
    """Does `work` in the container's namespace with the index of its interface, whatever that is called there."""
    if endpoint.netns:
        return inside(endpoint.netns, lambda: work(index_of(endpoint.ifname)))
    pair = pair_of(endpoint.port_name)
    return inside(namespace(pair.netns), lambda: work(pair.inner))


def _hold(index: int | None, endpoint: Endpoint, rate: int, burst: int) -> None:
    message = tcmsg()
    message["index"], message["handle"], message["parent"] = index or 0, HANDLE, rtnl.TC_H_ROOT
    if rate:
        bucket: Any = sched_tbf.get_parameters(parameters(rate, burst, endpoint.mtu))
        message["attrs"] = [("TCA_KIND", "tbf"), ("TCA_OPTIONS", bucket)]
        what = f"limit an interface of {endpoint.name} to {rate} bit/s"
        change([Request(what, rtnl.RTM_NEWQDISC, message, NLM_F_CREATE | NLM_F_REPLACE)])
    elif index in _limited():
        change([Request(f"take the limit of an interface of {endpoint.name} away", rtnl.RTM_DELQDISC, message)])


def _limited() -> frozenset[int | None]:
    """Indexes of the interfaces in this thread's namespace that have a bucket of ours."""
    found = set()
    for body in dump(Request("list queues", rtnl.RTM_GETQDISC, tcmsg())):
        _, index, handle, parent, _ = TCMSG.unpack_from(body)
        kind = attributes(body, TCMSG.size).get(TCA_KIND, b"").rstrip(b"\0")
        if (handle, parent, kind) == (HANDLE, rtnl.TC_H_ROOT, b"tbf"):
            found.add(index)
    return frozenset(found)


def _is_limited_inside(endpoint: Endpoint) -> bool:
    if endpoint.interface or not endpoint.limits.egress_rate:
        return True
    return _inside(endpoint, lambda index: index in _limited())
