"""What a query is answered from Warren's own names, and which queries are for others to answer.

Pure: the same names and query always give the same answer, but for the order of several addresses.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Sequence
from typing import NamedTuple

from ovs_agent.dns import wire
from ovs_agent.dns.names import Address, Names, View
from ovs_agent.dns.wire import Query

TTL = 1
"""Seconds that an own name may be kept. Long enough for a burst of questions, too short to outlive a container much."""


class Answer(NamedTuple):
    """An answer about Warren's own names, or a refusal. `records` are in no order."""

    rcode: int
    records: tuple[bytes, ...] = ()
    authority: bool = True

    def render(self, query: Query, room: int) -> bytes:
        records = self.records
        if len(records) > 1:
            records = tuple(random.sample(records, len(records)))
        flags = wire.AA if self.authority else 0
        return wire.reply(query, room, self.rcode, b"".join(records), (len(records), 0, 0), flags)


def answer(names: Names, view: View, query: Query) -> Answer | None:
    """The answer to a query; None if it is to be passed on to other servers."""
    if query.opcode:
        return Answer(wire.NOTIMP, authority=False)
    if query.edns is not None and query.edns.version:
        return Answer(wire.BADVERS, authority=False)
    if query.cls != wire.IN:
        return Answer(wire.REFUSED, authority=False)
    labels = tuple(label.decode("latin-1") for label in query.labels)
    if labels[-1:] == ("arpa",):
        return _pointer(names, view, query, labels)
    found = names.find(view, labels)
    if found is not None:
        return Answer(wire.NOERROR, tuple(_record(address) for address in found if _is_asked(query.type, address)))
    if len(labels) == 1 or names.is_own(labels):
        return Answer(wire.NXDOMAIN)  # nobody else knows, or is to know that it was asked for
    return None


def reversed_address(labels: Sequence[str]) -> Address | None:
    """The address that a name below `in-addr.arpa` or `ip6.arpa` stands for (RFC 1035 section 3.5, RFC 3596)."""
    try:
        match labels:
            case [*digits, "in-addr", "arpa"] if len(digits) == 4:
                return str(ipaddress.IPv4Address(".".join(reversed(digits))))
            case [*digits, "ip6", "arpa"] if len(digits) == 32 and all(len(digit) == 1 for digit in digits):
                return str(ipaddress.IPv6Address(int("".join(reversed(digits)), 16)))
    except ValueError:
        pass
    return None


def _pointer(names: Names, view: View, query: Query, labels: Sequence[str]) -> Answer | None:
    address = reversed_address(labels)
    if address is None:
        return None
    name = names.pointer(view, address)
    if name is not None:
        asked = query.type in (wire.PTR, wire.ANY)
        return Answer(wire.NOERROR, (wire.record(wire.PTR, TTL, wire.encode_name(name)),) if asked else ())
    return Answer(wire.NXDOMAIN) if names.covers(view, address) else None


def _is_asked(type: int, address: Address) -> bool:
    return type == wire.ANY or type == (wire.AAAA if ":" in address else wire.A)


def _record(address: Address) -> bytes:
    ip = ipaddress.ip_address(address)
    return wire.record(wire.AAAA if ip.version == 6 else wire.A, TTL, ip.packed)
