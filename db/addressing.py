"""Subnets, gateways, offsets and MAC addresses: arithmetic on addresses, and which ones are allowed. Pure."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from socket import AF_INET, AF_INET6, inet_pton

from db.errors import Invalid

IPNetwork = IPv4Network | IPv6Network
IPAddress = IPv4Address | IPv6Address

GATEWAY_MAC = "02:77:61:72:72:6e"
"""The virtual router's MAC on every host: 02 and "warrn"."""

_RESERVED: tuple[tuple[IPNetwork, str], ...] = tuple(
    (ipaddress.ip_network(cidr), why)
    for cidr, why in (
        ("0.0.0.0/8", "this network"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        ("::/64", "loopback and unspecified"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("fe80::/10", "link-local"),
        # As 240.0.0.0/4 and 169.254.0.0/16 are, of which the same is said in `controller.pipeline`.
        ("fd77:6172:7265:6e::/64", "what endpoints are called at the resolver"),
        ("fd77:6172:7265:6f75::/64", "what endpoints are called at their hosts' gateway"),
        ("ff00::/8", "multicast"),
    )
)
_LARGEST_V4, _LARGEST_V6 = 8, 64
_AUTOMATIC_V6 = (1 << 32) - 1
"""IPv6 offsets beyond this are given only to who asks, so that MACs made of the low 32 bits stay unique."""


def parse_subnet(text: str, field: str = "subnets") -> IPNetwork:
    """A subnet that a network may have, whoever else has it."""
    network = parse_range(text, field)
    largest = _LARGEST_V4 if network.version == 4 else _LARGEST_V6
    if not largest <= network.prefixlen < network.max_prefixlen:
        raise Invalid(
            f"subnet {network} has prefix length {network.prefixlen}",
            f"use /{largest} to /{network.max_prefixlen - 1} for IPv{network.version}",
            field,
        )
    return network


def parse_range(text: str, field: str = "cidr", what: str = "subnet") -> IPNetwork:
    """Addresses that may be endpoints', as many as there are. A range may be wider than any subnet."""
    network = parse_cidr(text, field, what)
    for reserved, why in _RESERVED:
        if overlap(reserved, network):
            raise Invalid(f"{what} {network} overlaps {reserved}, which is {why}", f"choose another {what}", field)
    return network


def unzoned(text: str) -> str:
    """Raises ValueError for an address with a zone (`fe80::1%eth0`, RFC 4007): that means something on one host alone,
    is any text, and gets into hosts' rules."""
    if "%" in text:
        raise ValueError(f"{text!r} has a zone")
    return text


def parse_cidr(text: str, field: str, what: str = "subnet") -> IPNetwork:
    try:
        network = ipaddress.ip_network(unzoned(text), strict=False)
    except ValueError:
        raise Invalid(f"{text!r} is not a {what}", "write it like 10.20.0.0/24 or fd00:20::/64", field) from None
    if "/" not in text:
        raise Invalid(f"{what} {text!r} has no prefix length", f"write it like {text}/24", field)
    if str(network) != text and ipaddress.ip_interface(text).ip != network.network_address:
        raise Invalid(f"{what} {text} has bits set after its prefix", f"did you mean {network}?", field)
    return network


def overlap(one: IPNetwork, other: IPNetwork) -> bool:
    return one.version == other.version and bounds(one)[0] <= bounds(other)[1] and bounds(other)[0] <= bounds(one)[1]


def bounds(network: IPNetwork) -> tuple[str, str]:
    """First and last address in hex of full width: they compare as the addresses do."""
    width = network.max_prefixlen // 4
    return f"{int(network.network_address):0{width}x}", f"{int(network.broadcast_address):0{width}x}"


def usable(network: IPNetwork) -> tuple[int, int]:
    """First and last offset that may be someone's address, the gateway included."""
    size = network.num_addresses
    if size == 2:
        return 0, 1
    return 1, size - 2 if network.version == 4 else size - 1


def automatic(network: IPNetwork) -> tuple[int, int]:
    """First and last offset of the addresses that are chosen from when none is asked for."""
    first, last = usable(network)
    return first, last if network.version == 4 else min(last, _AUTOMATIC_V6)


def offset_of(address: IPAddress, network: IPNetwork) -> int:
    """The number an address has in its subnet's pool. The upper half of an IPv6 /64 does not fit a database's
    signed integer: there the numbers are negative, and still unique."""
    return number_of(int(address) - int(network.network_address))


def value_of(text: str) -> int:
    """An address that is known to be one as a number; several times as fast as `ipaddress`."""
    return int.from_bytes(inet_pton(AF_INET6 if ":" in text else AF_INET, text))


def number_of(offset: int) -> int:
    return offset if offset < 1 << 63 else offset - (1 << 64)


def address_at(network: IPNetwork, offset: int) -> IPAddress:
    """The address that has this number; the inverse of `offset_of`."""
    return network[offset]


def parse_address(text: str, what: str, field: str) -> IPAddress:
    try:
        return ipaddress.ip_address(unzoned(text))
    except ValueError:
        raise Invalid(f"{what} {text!r} is not an address", "write it like 10.20.0.1", field) from None


def check_usable(address: IPAddress, network: IPNetwork, what: str, field: str) -> None:
    """Refuses an address outside the subnet, and those that name the subnet or everyone in it."""
    if address.version != network.version or address not in network:
        raise Invalid(f"{what} {address} is outside of subnet {network}", "choose one inside", field)
    first, last = usable(network)
    if not first <= int(address) - int(network.network_address) <= last:
        raise Invalid(
            f"{what} {address} is the network or broadcast address of subnet {network}",
            f"choose one from {network[first]} to {network[last]}",
            field,
        )


def macs_of(address: IPAddress) -> list[str]:
    """The MACs that may be derived from an endpoint's first address, best first: no table is needed to go from one to
    the other. Two IPv6 addresses of one network may be alike in their low 32 bits; the second takes the next MAC."""
    low = (int(address) & 0xFFFF_FFFF).to_bytes(4, "big")
    kinds = (0,) if address.version == 4 else range(1, 16)
    return [":".join(f"{byte:02x}" for byte in (0x02, kind, *low)) for kind in kinds]


def parse_mac(text: str, field: str = "mac") -> str:
    """A unicast MAC in lower case that is not the gateway's."""
    parts = text.lower().replace("-", ":").split(":")
    try:
        octets = [int(part, 16) for part in parts if len(part) == 2]
    except ValueError:
        octets = []
    if len(octets) != 6 or len(parts) != 6:
        raise Invalid(f"{text!r} is not a MAC address", "write it like 02:42:0a:14:00:09", field)
    mac = ":".join(parts)
    if not any(octets):
        raise Invalid(f"MAC {mac} is nobody's address", "write one like 02:42:0a:14:00:09", field)
    if octets[0] & 1:
        raise Invalid(f"MAC {mac} is a multicast address", "use a unicast MAC, with an even first byte", field)
    if mac == GATEWAY_MAC:
        raise Invalid(f"MAC {mac} is the gateway's on every host", "choose another MAC", field)
    return mac


def is_made_of_an_address(mac: str) -> bool:
    """Whether it looks like one of `macs_of`, and so could collide with a later endpoint's."""
    return mac.startswith("02:0")


def parse_underlay(text: str, field: str = "address") -> str:
    """The address of a host's tunnels, in its canonical form."""
    try:
        address = ipaddress.ip_address(unzoned(text))
    except ValueError:
        raise Invalid(f"{text!r} is not an address", "write it like 192.0.2.11", field) from None
    if address.is_multicast or address.is_unspecified or address.is_loopback or address.is_link_local:
        raise Invalid(f"no other host can send to {address}", "give the address of the host's own network", field)
    return str(address)
