"""A container's interface: a veth whose one end is a port of the bridge and whose other end is inside.

It decides how the two ends are made, set up and removed. It refuses to know bridges, flows and the API.
"""

from __future__ import annotations

import array
import errno
import fcntl
import ipaddress
import os
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from pyroute2.netlink import rtnl
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from ovs_agent.document import Endpoint
from ovs_agent.netlink.look import GROUP, IFF_NOARP, IFF_UP, flags_of, index_of
from ovs_agent.netlink.mtu import of_route
from ovs_agent.netlink.wire import CREATE, KernelRefusal, Request, change, inside, open_netns

IFA_F_NODAD = 2
RTNH_F_ONLINK = 4
RT_TABLE_MAIN, RTPROT_STATIC, RTN_UNICAST = 254, 4, 1
SIOCETHTOOL, ETHTOOL_STXCSUM = 0x8946, 0x17
GONE = frozenset({errno.ENODEV})
DEAF = (
    ("ipv6", "disable_ipv6", "1"),
    ("ipv4", "arp_ignore", "8"),
    ("ipv4", "rp_filter", "1"),
    ("ipv4", "forwarding", "0"),
    ("ipv4", "drop_unicast_in_l2_multicast", "1"),
)
"""Settings of the host's end. With a data path in user space the host's own IP stack hears what comes out of the pair
as well, and must not be spoken to around the bridge: no ARP, no IPv6, and nothing that was not sent to its MAC."""


class NoGateway(Exception):  # noqa: N818
    """A route to a family of which the network has no gateway, or by one that is not in the network."""


class InterfaceExists(Exception):  # noqa: N818
    """The name is taken, inside or on the host."""


def make(endpoint: Endpoint) -> str:
    """Make the pair: the host's end up, the container's end in its namespace and down. Answers the host's end's MAC,
    which is random and which nobody inside can learn.

    The host's end comes up only when it is deaf: IPv6 that starts and stops again would have ovs-vswitchd read all
    routes of the machine, twice.
    """
    known = [("IFLA_ADDRESS", endpoint.mac), ("IFLA_MTU", endpoint.mtu)]
    mac = _make(endpoint.port_name, endpoint.ifname, endpoint.netns, known)
    take(endpoint.port_name, endpoint)
    return mac


def make_spare(name: str, ifname: str, netns: str) -> str:
    """The same of a pair whose endpoint is not known yet, to be taken later. The host's end is down; the container's
    end is up and says nothing: what changes once there is a port costs ovs-vswitchd a turn each."""
    mac = _make(name, ifname, netns, [])

    def begin() -> None:
        _set_ipv6(ifname, False)
        bring_up(ifname)

    inside(netns, begin)
    return mac


def take(spare: str, endpoint: Endpoint) -> None:
    """Make the host's end of a pair an endpoint's, and bring it up. Raises InterfaceExists."""
    index = index_of(spare)
    if index is None:
        raise KernelRefusal(errno.ENODEV, f"make {spare} {endpoint.port_name}")
    message = _up()
    message["index"] = index
    message["attrs"] = [("IFLA_IFNAME", endpoint.port_name), ("IFLA_MTU", endpoint.mtu)]
    try:
        change([Request(f"make {spare} {endpoint.port_name}", rtnl.RTM_NEWLINK, message)])
    except KernelRefusal as fault:
        if fault.errno != errno.EEXIST:
            raise
        raise InterfaceExists(f"The host has an interface {endpoint.port_name} already; delete it first.") from None


class Routing(NamedTuple):
    """What is routed through an interface besides its own subnets. A route is a CIDR and a gateway, which is the
    network's if None; `default`: also everything else, unless the container has a default route."""

    routes: tuple[tuple[str, str | None], ...] = ()
    default: bool = True


ALL = Routing()


def configure(endpoint: Endpoint, checksum_offload: bool, routing: Routing = ALL) -> tuple[str, ...]:
    """Give the container's end its addresses and routes and bring it up. Answers the gateways that got a default
    route: a container that has one already keeps it."""
    return inside(endpoint.netns, lambda: _configure(endpoint, checksum_offload, routing))


def delete(name: str) -> bool:
    """Remove a pair by its host's end. Answers whether there was one."""
    message = ifinfmsg()
    message["attrs"] = [("IFLA_IFNAME", name)]
    return change([Request(f"delete interface {name}", rtnl.RTM_DELLINK, message, accept=GONE)]) == [0]


def bring_up(name: str) -> None:
    message = _up()
    message["attrs"] = [("IFLA_IFNAME", name)]
    change([Request(f"bring up interface {name}", rtnl.RTM_NEWLINK, message, accept=GONE)])


def bring_down(name: str) -> None:
    message = ifinfmsg()
    message["change"] = IFF_UP
    message["attrs"] = [("IFLA_IFNAME", name)]
    change([Request(f"bring down interface {name}", rtnl.RTM_NEWLINK, message, accept=GONE)])


def host_end(name: str, addresses: Sequence[str]) -> None:
    """Bring up an interface of the host's with these addresses, that asks for no neighbour: behind it is the bridge
    alone, which takes everything. One that is as it should be stays as it is."""
    index = index_of(name)
    if index is None:
        raise KernelRefusal(errno.ENODEV, f"configure {name}")
    _set_ipv6(name, True)
    message = _up()
    message["index"] = index
    message["flags"] |= IFF_NOARP
    message["change"] |= IFF_NOARP
    message["attrs"] = [("IFLA_AF_SPEC", {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", 1)]})]})]
    there = frozenset({errno.EEXIST})
    given = [_new_address(index, ipaddress.ip_interface(one))._replace(accept=there) for one in addresses]
    # The kernel announces also what changes nothing, and who looks after each announcement would look for ever.
    is_up = flags_of(name) & (IFF_UP | IFF_NOARP) == IFF_UP | IFF_NOARP
    change(given if is_up else [Request(f"bring up {name}", rtnl.RTM_NEWLINK, message), *given])


def without_checksum_offload(ifname: str) -> None:
    """Packets leave with their checksum: a data path in user space would pass on an unfinished one."""
    value = array.array("B", struct.pack("=II", ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sP16x", ifname.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        fcntl.ioctl(channel, SIOCETHTOOL, request)


def _make(name: str, ifname: str, netns: str, known: list[tuple[str, Any]]) -> str:
    """`known` are attributes of the container's end. The host's is down, and deaf."""
    mac = (b"\xfe" + os.urandom(5)).hex(":")
    fd = open_netns(netns)
    peer = [("IFLA_IFNAME", ifname), ("IFLA_NET_NS_FD", fd), *known]
    data = ("IFLA_INFO_DATA", {"attrs": [("VETH_INFO_PEER", {"attrs": peer})]})
    message = ifinfmsg()
    message["attrs"] = [
        ("IFLA_IFNAME", name),
        ("IFLA_ADDRESS", mac),
        ("IFLA_GROUP", GROUP),
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "veth"), data]}),
    ]
    what = f"make interface {ifname} in {netns} and {name} on the host"
    try:
        change([Request(what, rtnl.RTM_NEWLINK, message, CREATE)])
    except KernelRefusal as fault:
        if fault.errno != errno.EEXIST:
            raise
        raise InterfaceExists(
            f"Interface {ifname} in {netns}, or {name} on the host, exists already; delete it first."
        ) from None
    finally:
        os.close(fd)
    for family, key, value in DEAF:
        with suppress(FileNotFoundError):  # a kernel without IPv6
            Path(f"/proc/sys/net/{family}/conf/{name}/{key}").write_text(value)
    return mac


def _configure(endpoint: Endpoint, checksum_offload: bool, routing: Routing) -> tuple[str, ...]:
    index = index_of(endpoint.ifname)
    if index is None:
        raise KernelRefusal(errno.ENODEV, f"configure {endpoint.ifname} in {endpoint.netns}")
    own, up = ifinfmsg(), _up()
    own["index"] = up["index"] = index
    own["attrs"] = [("IFLA_ADDRESS", endpoint.mac), ("IFLA_MTU", endpoint.mtu)]
    change([Request(f"give {endpoint.ifname} MAC {endpoint.mac}", rtnl.RTM_NEWLINK, own)])
    interfaces = [ipaddress.ip_interface(address) for address in endpoint.addresses]
    _set_ipv6(endpoint.ifname, any(interface.version == 6 for interface in interfaces))
    if not checksum_offload:
        without_checksum_offload(endpoint.ifname)
    requests = [Request(f"bring up {endpoint.ifname}", rtnl.RTM_NEWLINK, up)]
    requests += [_new_address(index, interface) for interface in interfaces]
    for cidr, through in routing.routes:
        gateway = _near(endpoint, through) if through else _gateway(endpoint, cidr)
        route = _new_route(index, gateway, interfaces, of_route(endpoint, gateway), cidr)
        requests.append(route._replace(accept=frozenset()))
    gateways = endpoint.gateways if routing.default else ()
    routes = [_new_route(index, gateway, interfaces, of_route(endpoint, gateway)) for gateway in gateways]
    codes = change([*requests, *routes])[len(requests) :]
    return tuple(gateway for gateway, code in zip(gateways, codes, strict=True) if code == 0)


def _near(endpoint: Endpoint, gateway: str) -> str:
    """Nobody answers for a gateway that is in none of the endpoint's subnets, unless it is link-local."""
    address = ipaddress.ip_address(gateway)
    own = [ipaddress.ip_interface(one).network for one in endpoint.addresses]
    if not (address.is_link_local or any(address in network for network in own)):
        where = " and ".join(map(str, own))
        raise NoGateway(f"Gateway {gateway} is not reached from {where}; give one there, or leave it out.")
    return gateway


def _gateway(endpoint: Endpoint, cidr: str) -> str:
    version = ipaddress.ip_network(cidr).version
    found = next((one for one in endpoint.gateways if ipaddress.ip_address(one).version == version), None)
    if found is None:
        raise NoGateway(f"Network {endpoint.network} has no IPv{version} gateway; give {cidr} one of its own.")
    return found


def _up() -> Any:
    message = ifinfmsg()
    message["flags"] = message["change"] = IFF_UP
    return message


def _new_address(index: int, interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> Request:
    message = ifaddrmsg()
    message["family"] = _family(interface)
    message["prefixlen"] = interface.network.prefixlen
    message["index"] = index
    ip = str(interface.ip)
    if interface.version == 4:
        message["attrs"] = [("IFA_LOCAL", ip), ("IFA_ADDRESS", ip)]
        if interface.network.prefixlen < 31:
            message["attrs"].append(("IFA_BROADCAST", str(interface.network.broadcast_address)))
    else:
        # The database gives an address to one endpoint only: there is nothing to detect, and a second to lose.
        message["attrs"] = [("IFA_ADDRESS", ip), ("IFA_FLAGS", IFA_F_NODAD)]
    return Request(f"give it address {interface}", rtnl.RTM_NEWADDR, message, CREATE)


def _new_route(
    index: int, gateway: str, interfaces: Sequence[Any], mtu: int | None, cidr: str | None = None
) -> Request:
    """A request for a route to `cidr`, or for a default route."""
    address = ipaddress.ip_address(gateway)
    message = rtmsg()
    message["family"] = _family(address)
    message["table"], message["proto"], message["type"] = RT_TABLE_MAIN, RTPROT_STATIC, RTN_UNICAST
    if not any(address in interface.network for interface in interfaces):
        message["flags"] = RTNH_F_ONLINK
    message["attrs"] = [("RTA_GATEWAY", gateway), ("RTA_OIF", index)]
    if cidr is not None:
        network = ipaddress.ip_network(cidr)
        message["dst_len"] = network.prefixlen
        message["attrs"].append(("RTA_DST", str(network.network_address)))
    if mtu is not None:
        message["attrs"].append(("RTA_METRICS", {"attrs": [("RTAX_MTU", mtu)]}))
    what = f"route {cidr or 'everything'} through {gateway}"
    return Request(what, rtnl.RTM_NEWROUTE, message, CREATE, frozenset({errno.EEXIST}))


def _set_ipv6(ifname: str, wanted: bool) -> None:
    """IPv6 with addresses from the database alone, or not at all: an interface without an address would still send,
    and each of those packets would count as a forged one."""
    folder = Path("/proc/sys/net/ipv6/conf") / ifname
    if not folder.exists():
        return  # a kernel without IPv6 says so when the address is given
    values = {"accept_ra": "0", "accept_dad": "0", "disable_ipv6": "0"} if wanted else {"disable_ipv6": "1"}
    for name, value in values.items():
        (folder / name).write_text(value)


def _family(address: Any) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6
