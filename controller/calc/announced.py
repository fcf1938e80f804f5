"""From the copy of a gratuitous ARP packet or an unsolicited neighbour advertisement to who takes which address over.

The switch copies only what an endpoint says of an address that it was declared to share. Does not write it down.
"""

from __future__ import annotations

from typing import NamedTuple

from controller.model import Allowed
from controller.world import World

_ETHERNET, _IPV6 = 14, 40
_ARP_SENDER = _ETHERNET + 14  # RFC 826, for Ethernet and IPv4
_ND_TARGET = _ETHERNET + _IPV6 + 8  # RFC 4861 section 4.4


class Takeover(NamedTuple):
    endpoint: int
    pair: Allowed


def takeover(world: World, host: int, port: int | None, packet: bytes) -> Takeover | None:
    """None when the endpoint is gone, shares no such address, or has it already."""
    match packet[12:_ETHERNET]:
        case b"\x08\x06":
            version, target = 4, packet[_ARP_SENDER : _ARP_SENDER + 4]
        case b"\x86\xdd":
            version, target = 6, packet[_ND_TARGET : _ND_TARGET + 16]
        case _:
            return None
    if len(target) != (4 if version == 4 else 16):
        return None
    value = int.from_bytes(target, "big")
    for endpoint in world.endpoints_of_host.get(host, {}).values():
        if endpoint.ofport == port:
            pairs = [pair for pair in endpoint.allowed if not pair.active and pair.has(version, value)]
            if pairs:
                return Takeover(endpoint.id, max(pairs, key=lambda pair: pair.prefix))
    return None
