"""Where queries arrive: a network namespace with nothing in it but one end of a pair, the bridge having the other.

The namespace has no name and lives as long as this process: whatever port 53 of the host is used for, nothing clashes,
and an agent that is killed leaves neither namespace nor interface behind. Each query comes from an address that holds
the asker's port, so there is no neighbour to ask for: everything goes back the way it came.
"""

from __future__ import annotations

import ctypes
import ipaddress
import os
import threading
from typing import Any

from pyroute2.netlink import rtnl
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from ovs_agent.dns.server import Sockets
from ovs_agent.document import RESOLVER, Endpoint
from ovs_agent.netlink import veth
from ovs_agent.netlink.look import IFF_NOARP, index_of
from ovs_agent.netlink.wire import CLONE_NEWNET, Request, change, inside
from ovs_agent.plan import resolver_port

IFNAME = "dns"
SERVER, BEYOND = 1, 2
"""The low 16 bits of the server's own address and of the router's that its routes need and nobody has."""
MTU = 1280
"""Any network's: what fits here needs no fragment anywhere."""
ASKERS = ("169.254.0.0", "fd77:6172:7265:6e::")
ANYWHERE_ASKERS = "240.53.0.0"
"""What an asker's port is added to, as the flows do: for queries to its gateway, and to the address that is the same in
all networks."""
_libc = ctypes.CDLL(None, use_errno=True)


def addresses(port: int) -> tuple[str, ...]:
    """The addresses from which an asker's queries come, as a socket for both IP versions shows them."""
    v4, v6, anywhere = (str(ipaddress.ip_address(base) + port) for base in (*ASKERS, ANYWHERE_ASKERS))
    return f"::ffff:{v4}", v6, f"::ffff:{anywhere}"


class Space:
    def __init__(self, bridge: str, checksum_offload: bool) -> None:
        self._fd = _new_namespace()
        self._name = resolver_port(bridge).name
        path = f"/proc/{os.getpid()}/fd/{self._fd}"
        try:
            self._plug(path, checksum_offload)
            self.sockets: Sockets = inside(path, Sockets.open)
        except BaseException:
            os.close(self._fd)
            raise

    def close(self) -> None:
        """After the sockets are closed the kernel removes the namespace, and the pair with it; not waited for."""
        veth.delete(self._name)
        os.close(self._fd)

    def _plug(self, path: str, checksum_offload: bool) -> None:
        v4, v6 = (ipaddress.ip_address(base) for base in ASKERS)
        end = Endpoint(
            id=0,
            name="",
            network="",
            ofport=RESOLVER.ofport,
            port_name=self._name,
            mac=RESOLVER.mac,
            addresses=(f"{v4 + SERVER}/32", f"{v6 + SERVER}/128"),
            gateways=(str(v4 + BEYOND), str(v6 + BEYOND)),
            mtu=MTU,
            route_mtu=MTU,
            container_id="",
            ifname=IFNAME,
            netns=path,
        )
        veth.delete(self._name)  # an agent that was killed a moment ago
        veth.make(end)
        inside(path, _without_neighbours)
        veth.configure(end, checksum_offload)


def _new_namespace() -> int:
    """Made by a thread that ends with it."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            if _libc.unshare(CLONE_NEWNET):
                code = ctypes.get_errno()
                raise OSError(code, f"a network namespace for DNS: {os.strerror(code)}")
            outcome.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        except OSError as fault:
            outcome.append(fault)

    thread = threading.Thread(target=run, name="netns")
    thread.start()
    thread.join()
    if isinstance(outcome[0], OSError):
        raise outcome[0]
    return int(outcome[0])


def _without_neighbours() -> None:
    message = ifinfmsg()
    message["index"] = index_of(IFNAME)
    message["flags"] = message["change"] = IFF_NOARP
    change([Request(f"set {IFNAME} to know no neighbours", rtnl.RTM_NEWLINK, message)])
