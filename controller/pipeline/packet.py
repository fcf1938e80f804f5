"""The standard numbers of the packets that Warren tells apart, and matches built from them."""

from __future__ import annotations

from controller.model import Subnet
from controller.pipeline.flow import Match

IPV4 = Match("eth_type", 0x0800)
ARP = Match("eth_type", 0x0806)
IPV6 = Match("eth_type", 0x86DD)
ICMP = Match("ip_proto", 1)
TCP = Match("ip_proto", 6)
UDP = Match("ip_proto", 17)
GRE = Match("ip_proto", 47)
SCTP = Match("ip_proto", 132)
ICMPV6 = Match("ip_proto", 58)

ARP_REQUEST, ARP_REPLY = 1, 2
ECHO_REQUEST, ECHO_REPLY = 8, 0  # RFC 792
TIMESTAMP, TIMESTAMP_REPLY = 13, 14
ECHO_REQUEST_V6, ECHO_REPLY_V6 = 128, 129  # RFC 4443
LISTENER_QUERY, LISTENER_REPORT, LISTENER_DONE, LISTENER_REPORT_V2 = 130, 131, 132, 143  # RFC 2710, 3810
ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT = 133, 134  # RFC 4861
NEIGHBOR_SOLICITATION, NEIGHBOR_ADVERTISEMENT, REDIRECT = 135, 136, 137

CT_NEW, CT_ESTABLISHED, CT_RELATED, CT_REPLY, CT_INVALID, CT_TRACKED = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
"""Bits of ct_state, ovs-fields(7)."""

MULTICAST = Match("eth_dst", 1 << 40, 1 << 40)  # the group bit: broadcast too
ROUTER_MAC = 0x02776172726E
"""The MAC of every network's gateway on every host: 02:77:61:72:72:6e."""
TO_ROUTER = Match("eth_dst", ROUTER_MAC)
RESOLVER_MAC = 0x02776172646E
"""The MAC of the resolver behind every bridge: 02:77:61:72:64:6e."""

GATEWAY_OFPORT, RESOLVER_OFPORT = 2, 3
"""Ports that every host's bridge has, besides those of transports; endpoints' ports are numbered from 100."""


TRANSIT = {4: 240 << 24 | 119 << 16, 6: 0xFD77617272656F75 << 64}
"""240.119.0.0/16 and fd77:6172:7265:6f75::/112: what endpoints are called between the bridge and its host, and nowhere
else. The low 16 bits are the number of the endpoint's port, or 1: the host itself."""
TRANSIT_MASK = {4: 0xFFFF0000, 6: (1 << 128) - 0x10000}
MESH = {4: 244 << 24, 6: TRANSIT[6] | 1 << 32}
"""244.0.0.0/6 and fd77:6172:7265:6f75:0:1::/102: what endpoints that all hosts publish are called between the bridge of
the host where a client came and its host. Of the low 26 bits the high 14 are that host's number, the others the
endpoint's."""
MESH_HOST_BITS, MESH_ENDPOINT_BITS = 14, 12
MESH_MASK = {4: 0xFC000000, 6: (1 << 128) - (1 << 26)}


def ip(version: int) -> Match:
    return IPV4 if version == 4 else IPV6


def ip_source(version: int, value: int) -> Match:
    return Match("ip_src" if version == 4 else "ipv6_src", value)


def ip_destination(version: int, value: int) -> Match:
    return Match("ip_dst" if version == 4 else "ipv6_dst", value)


def in_mesh(field: str, version: int, endpoint: int) -> Match:
    """An address by which any host calls the endpoint of that number."""
    mask = MESH_MASK[version] | (1 << MESH_ENDPOINT_BITS) - 1
    return Match(field if version == 4 else field.replace("ip", "ipv6"), MESH[version] | endpoint, mask)


def from_subnet(subnet: Subnet) -> Match:
    return Match("ip_src" if subnet.version == 4 else "ipv6_src", subnet.network, subnet.mask)


def into_subnet(subnet: Subnet) -> Match:
    return Match("ip_dst" if subnet.version == 4 else "ipv6_dst", subnet.network, subnet.mask)


def icmpv6(type: int) -> tuple[Match, ...]:
    return IPV6, ICMPV6, Match("icmpv6_type", type)


def link_local(mac: int) -> int:
    """The IPv6 link-local address that follows from a MAC (RFC 4291, appendix A: modified EUI-64)."""
    high, low = mac >> 24, mac & 0xFFFFFF
    return (0xFE80 << 112) | ((high ^ 0x020000) << 40) | (0xFFFE << 24) | low


def tracked(bit: int) -> Match:
    """That conntrack was asked and says this of the packet; 0: that it was asked."""
    return Match("ct_state", bit | CT_TRACKED, bit | CT_TRACKED)
