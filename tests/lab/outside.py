"""A machine on the lab's physical segment that Warren knows nothing of: a namespace on the underlay with a switch,
whose ports are its interfaces, one for each tag. The kernel needs to know no 802.1Q for that."""

from __future__ import annotations

import select
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from lab import fabric, netns
from lab.names import fabric_netns
from tests.ovs import Ovs, wait_for

NIC = "eth0"
_SOL_PACKET, _PACKET_AUXDATA, _VLAN_VALID = 263, 8, 1 << 4
_AUXDATA = struct.Struct("IIIHHHH")


class Outside:
    def __init__(self, lab: str, ovs: Ovs) -> None:
        self.netns = f"{lab}-h99.outside"  # swept with the lab
        self._ovs = ovs

    def interface(self, tag: int, *addresses: str) -> str:
        """A new interface on a tag, 0 for none."""
        name = f"v{tag}"
        tagged = [f"tag={tag}"] if tag else []
        self._ovs.vsctl("add-port", "br-out", name, *tagged, "--", "set", "interface", name, "type=internal")
        wait_for(lambda: name in fabric.links(self.netns), f"interface {name}")
        netns.batch(
            self.netns,
            [
                *(f"addr add {one} dev {name}" + (" nodad" if ":" in one else "") for one in addresses),
                f"link set {name} up",
            ],
        )
        with netns.inside(self.netns):
            fabric.checksum_in_software(name)
        return name

    def remove(self, tag: int) -> None:
        self._ovs.vsctl("del-port", "br-out", f"v{tag}")

    def hears(self, address: str, seconds: int = 20) -> bool:
        """Whether an address answers a ping."""
        return pings(self.netns, address, seconds)


def pings(space: str, address: str, seconds: int = 20) -> bool:
    with netns.inside(space):
        asked = subprocess.run(["ping", "-c3", "-i0.2", f"-W{seconds}", address], capture_output=True)
    return asked.returncode == 0


@contextmanager
def outside(lab: str) -> Iterator[Outside]:
    space, cable = f"{lab}-h99.outside", "outside"
    netns.create(space)
    try:
        netns.batch(
            fabric_netns(lab),
            [
                f"link add {cable} type veth peer name {NIC} netns {space}",
                f"link set {cable} master {fabric.BRIDGE} addrgenmode none up",
            ],
        )
        netns.batch(space, [f"link set {NIC} addrgenmode none up"])
        with ExitStack() as stack:
            with netns.inside(space):
                ovs = stack.enter_context(Ovs())
            bridge = ("--", "set", "bridge", "br-out", "datapath_type=netdev")
            ovs.vsctl("add-br", "br-out", *bridge, "--", "add-port", "br-out", NIC)
            yield Outside(lab, ovs)
    finally:
        if cable in fabric.links(fabric_netns(lab)):
            netns.batch(fabric_netns(lab), [f"link del {cable}"])
        netns.delete(space)


class Frame(NamedTuple):
    """As it came in, but for the tag, which the kernel takes out; None when it had none."""

    tag: int | None
    data: bytes


@contextmanager
def listening(space: str, interface: str) -> Iterator[Callable[[Callable[[bytes], bool]], Frame]]:
    """Answers a function that waits for the first frame for which something holds."""
    with netns.inside(space):
        line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        line.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        line.bind((interface, 3))

    def first(holds: Callable[[bytes], bool]) -> Frame:
        end = time.monotonic() + 60
        while (left := end - time.monotonic()) > 0:
            if not select.select([line], [], [], left)[0]:
                continue
            data, told, _, address = line.recvmsg(65535, socket.CMSG_SPACE(_AUXDATA.size))
            if address[2] != 4 and holds(data):  # 4: what the interface sends itself
                status, *_, tci, _ = _AUXDATA.unpack(told[0][2][: _AUXDATA.size])
                return Frame(tci & 0xFFF if status & _VLAN_VALID else None, data)
        raise AssertionError("the awaited frame did not come within 60 s")

    try:
        yield first
    finally:
        line.close()
