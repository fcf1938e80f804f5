"""The underlay: one Linux bridge in the lab's fabric namespace, one cable from it to each host.

It decides how hosts reach each other and the control plane, and what pulling a cable means. It knows nothing of
what runs on either end. Nothing here exists in the root namespace.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from pathlib import Path

from lab import netns
from lab.names import FABRIC_ADDRESS, FABRIC_ADDRESS6, UNDERLAY_PREFIX, UNDERLAY_PREFIX6, HostName, fabric_netns

BRIDGE = "underlay"
NIC = "eth0"
_SIOCETHTOOL = 0x8946
_ETHTOOL_STXCSUM = 0x17


def build(lab: str) -> None:
    """The namespace and its bridge; the control plane's addresses are the bridge's."""
    space = fabric_netns(lab)
    netns.create(space)
    if BRIDGE in links(space):
        return
    netns.batch(
        space,
        [
            f"link add {BRIDGE} type bridge mcast_snooping 0",
            f"addr add {FABRIC_ADDRESS}/{UNDERLAY_PREFIX} dev {BRIDGE}",
            f"addr add {FABRIC_ADDRESS6}/{UNDERLAY_PREFIX6} dev {BRIDGE} nodad",
            f"link set {BRIDGE} up",
        ],
    )


def cable(host: HostName) -> None:
    """From the bridge to the host's NIC. The host's namespace must exist."""
    space = fabric_netns(host.lab)
    if host.name in links(space):
        return
    netns.batch(
        space,
        [
            f"link add {host.name} type veth peer name {NIC} address {host.mac} netns {host.netns}",
            f"link set {host.name} master {BRIDGE} addrgenmode none up",
        ],
    )
    netns.batch(host.netns, [f"link set {NIC} addrgenmode none up"])
    with netns.inside(host.netns):
        # The bridge has the address, the NIC is only its wire: an ARP answer with the NIC's MAC leads packets astray.
        Path("/proc/sys/net/ipv4/conf/all/arp_ignore").write_text("1")
    # The user-space switch at the other end takes frames as they are: a checksum left to the hardware stays wrong.
    with netns.inside(space):
        checksum_in_software(host.name)


def set_cable(host: HostName, plugged: bool) -> None:
    netns.batch(fabric_netns(host.lab), [f"link set {host.name} {'up' if plugged else 'down'}"])


def plugged(host: HostName) -> bool:
    return "state DOWN" not in netns.run("ip", "-n", fabric_netns(host.lab), "-o", "link", "show", host.name)


def links(space: str) -> set[str]:
    """Names of the devices in a namespace."""
    with netns.inside(space):
        return {name for _, name in socket.if_nameindex()}


def checksum_in_software(device: str) -> None:
    """Like `ethtool -K device tx off`, in this thread's namespace."""
    value = array.array("B", struct.pack("II", _ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sP", device.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
