"""How fast an endpoint may send and receive: a token bucket at either end of its pair.

What goes into the container is held back at the host's end, what comes out at the container's own: with a data path
in user space nothing else on the host sees those packets in time. A container with CAP_NET_ADMIN can thus lift the
limit of what it sends. It decides the kernel's parameters; what is asked for comes as `wish.Bandwidth`.
"""

from __future__ import annotations

import struct
from typing import Any

from pyroute2.netlink import rtnl
from pyroute2.netlink.rtnl.tcmsg import sched_tbf, tcmsg

from ovs_agent.cni.wish import Bandwidth
from ovs_agent.document import Endpoint
from ovs_agent.netlink.look import index_of
from ovs_agent.netlink.wire import CREATE, NoNamespace, Request, attributes, change, dump, inside

LATENCY = 0.025
"""Seconds that a packet may wait before it is dropped; the reference plugin's."""
HEADER = 14
LARGEST = (1 << 32) - 1
TICKS = 15.625e6
"""The kernel's units of a bucket's depth in a second."""
HANDLE = 0x10000
TCMSG = struct.Struct("=BxxxiIII")  # family, interface, handle, parent, info
TCA_KIND = 1


def limit(endpoint: Endpoint, bandwidth: Bandwidth) -> None:
    """Of an endpoint that was just made. Raises NoNamespace and KernelRefusal."""
    if bandwidth.ingress_rate:
        _limit(endpoint.port_name, endpoint.mtu, bandwidth.ingress_rate, bandwidth.ingress_burst)
    if bandwidth.egress_rate:
        rate, burst = bandwidth.egress_rate, bandwidth.egress_burst
        inside(endpoint.netns, lambda: _limit(endpoint.ifname, endpoint.mtu, rate, burst))


def complaints(endpoint: Endpoint, bandwidth: Bandwidth) -> list[str]:
    found = []
    if bandwidth.ingress_rate and not _limited(endpoint.port_name):
        found.append(f"What interface {endpoint.ifname} receives is not limited any more.")
    try:
        if bandwidth.egress_rate and not inside(endpoint.netns, lambda: _limited(endpoint.ifname)):
            found.append(f"What interface {endpoint.ifname} sends is not limited any more.")
    except NoNamespace as fault:
        found.append(str(fault))
    return found


def parameters(rate: int, burst: int, mtu: int) -> dict[str, int]:
    """Bits to the kernel's bytes. A bucket that no packet fits in would let none pass."""
    speed = min(rate // 8 or 1, LARGEST)
    depth = min(max(burst // 8, mtu + HEADER), LARGEST, max(int(speed * LARGEST / TICKS), mtu + HEADER))
    return {"rate": speed, "burst": depth, "limit": min(int(speed * LATENCY) + depth, LARGEST)}


def _limit(name: str, mtu: int, rate: int, burst: int) -> None:
    message = tcmsg()
    message["index"], message["handle"], message["parent"] = index_of(name) or 0, HANDLE, rtnl.TC_H_ROOT
    bucket: Any = sched_tbf.get_parameters(parameters(rate, burst, mtu))
    message["attrs"] = [("TCA_KIND", "tbf"), ("TCA_OPTIONS", bucket)]
    change([Request(f"limit interface {name} to {rate} bit/s", rtnl.RTM_NEWQDISC, message, CREATE)])


def _limited(name: str) -> bool:
    for body in dump(Request("list queues", rtnl.RTM_GETQDISC, tcmsg())):
        _, index, _, parent, _ = TCMSG.unpack_from(body)
        if index == index_of(name) and parent == rtnl.TC_H_ROOT:
            return attributes(body, TCMSG.size).get(TCA_KIND, b"").rstrip(b"\0") == b"tbf"
    return False
