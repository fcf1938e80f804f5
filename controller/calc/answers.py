"""From a copied packet to the DNS messages in it, and from whom a message may come to be believed.

What endpoints are told decides what firewalls allow, so it is believed only of those that an administrator made known
to all: endpoints of global tenants, whose addresses nobody can forge, and the host's resolver as far as it passes on
what others told it. A tenant is never believed about itself. Does not read the messages' records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from controller.model import GLOBAL_ZONE
from controller.pipeline.hearing import DNS_PORT
from controller.pipeline.registers import DESTINATION_TENANT, FLAGS, FROM_RESOLVER, SOURCE_TENANT, TENANT_MASK
from controller.world import World

FIRST_EPHEMERAL = 1024
"""Who asks does it from such a port."""
_ETHERNET, _IPV6, _UDP, _TCP = 14, 40, 8, 20


class Segment(NamedTuple):
    """What a UDP datagram or a TCP segment carries. `protocol` is the IP protocol's number."""

    protocol: int
    source: int
    destination: int
    payload: bytes


def is_from_resolver(fields: Mapping[str, int]) -> bool:
    return bool(fields.get(FLAGS, 0) & FROM_RESOLVER)


def is_passed_on(message: bytes) -> bool:
    """Whether the resolver has an answer from somewhere else: it is an authority for Warren's own names, which their
    tenant chooses, and for nothing else (RFC 1035 section 4.1.1, the bit AA)."""
    return len(message) > 2 and not message[2] & 0x04


def is_believed(world: World, fields: Mapping[str, int]) -> bool:
    """Whether who sent a packet with these registers is to be believed by whom it goes to."""
    if is_from_resolver(fields):
        return True
    source, destination = (fields.get(register, 0) & TENANT_MASK for register in (SOURCE_TENANT, DESTINATION_TENANT))
    teller = world.tenants.get(source)
    return teller is not None and teller.zone == GLOBAL_ZONE and source != destination


def messages(packet: bytes) -> list[bytes]:
    """The DNS messages that an Ethernet frame brings from a server to a client.

    Of TCP those that one segment holds whole, each with its length before it. A message that is spread over segments,
    or comes without its length because that was sent by itself, is not put together, nor are IP fragments.
    """
    segment = _segment(packet)
    if segment is None or segment.source != DNS_PORT or segment.destination < FIRST_EPHEMERAL:
        return []
    return [segment.payload] if segment.protocol == 17 else list(_prefixed(segment.payload))


def _prefixed(stream: bytes) -> Iterator[bytes]:
    while len(stream) > 2 and len(stream) >= (end := 2 + int.from_bytes(stream[:2], "big")):
        yield stream[2:end]
        stream = stream[end:]


def _segment(packet: bytes) -> Segment | None:
    inner = _of_ip(packet)
    if inner is None:
        return None
    protocol, data = inner
    if protocol == 17 and len(data) >= _UDP:
        header, end = _UDP, int.from_bytes(data[4:6], "big")
    elif protocol == 6 and len(data) >= _TCP:
        header, end = (data[12] >> 4) * 4, len(data)
    else:
        return None
    if not header <= end <= len(data):
        return None
    return Segment(protocol, int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big"), data[header:end])


def _of_ip(packet: bytes) -> tuple[int, bytes] | None:
    """The protocol and what is in the IP packet of a frame: without padding, and nothing of one that is not whole."""
    kind, data = packet[12:_ETHERNET], packet[_ETHERNET:]
    if kind == b"\x08\x00" and len(data) >= 20:
        header, length = (data[0] & 0xF) * 4, int.from_bytes(data[2:4], "big")
        is_fragment = int.from_bytes(data[6:8], "big") & 0x3FFF
        if is_fragment or not 20 <= header <= length <= len(data):
            return None
        return data[9], data[header:length]
    if kind == b"\x86\xdd" and len(data) >= _IPV6:
        length = _IPV6 + int.from_bytes(data[4:6], "big")
        return (data[6], data[_IPV6:length]) if length <= len(data) else None
    return None
