"""A host's connection tracker, reduced to what a pipeline can see of it: new, established, reply or invalid.

A connection is known in the zone in which a packet of it was committed, by the addresses and ports of the packet that
opened it; ICMP by its query (a request and its reply are one connection). Nothing ever expires.
"""

from __future__ import annotations

from controller.pipeline.flow import Nat
from controller.pipeline.packet import ECHO_REPLY, ECHO_REPLY_V6, ECHO_REQUEST, ECHO_REQUEST_V6

Packet = dict[str, int]

NEW, ESTABLISHED, REPLY, INVALID, TRACKED = 0x01, 0x02, 0x08, 0x10, 0x20  # bits of ct_state, ovs-fields(7)

TIMESTAMP, TIMESTAMP_REPLY = 13, 14  # RFC 792
QUERIES = {ECHO_REQUEST: ECHO_REPLY, TIMESTAMP: TIMESTAMP_REPLY, ECHO_REQUEST_V6: ECHO_REPLY_V6}
"""Types that open a connection, and those that answer; all others belong to none."""
_QUERY_OF = {reply: query for query, reply in QUERIES.items()}

_PORTS = {6: "tcp", 17: "udp", 132: "sctp"}
_ICMP = {1: "icmp", 58: "icmpv6"}

_End = tuple[int, int]
_Connection = tuple[int, int, _End, _End]  # zone, protocol, who opened it, to whom


class Connections:
    def __init__(self) -> None:
        self._open: dict[_Connection, int] = {}
        self._translated: dict[_Connection, Nat] = {}
        self._answered: dict[_Connection, _Connection] = {}  # what opened it, by how its other end sees it

    def look(self, zone: int, packet: Packet) -> int:
        """The packet's ct_state in a zone."""
        opened, answered = _both_ways(zone, packet)
        if opened in self._open:
            return TRACKED | ESTABLISHED
        if answered in self._open or answered in self._answered:
            return TRACKED | ESTABLISHED | REPLY
        return TRACKED | (NEW if _may_open(packet) else INVALID)

    def commit(self, zone: int, packet: Packet, label: int = 0) -> None:
        if self.look(zone, packet) == TRACKED | NEW:
            self._open[_both_ways(zone, packet)[0]] = label

    def translate(self, zone: int, packet: Packet, nat: Nat, commit: bool) -> Packet:
        """The packet as the connection is translated; with `commit` one that was just opened is, from now on."""
        opened, answered = _both_ways(zone, packet)
        prefix = "ip" if packet["eth_type"] == 0x0800 else "ipv6"
        if commit and nat.end and opened in self._open and opened not in self._translated:
            self._translated[opened] = nat
            *same, source, destination = opened
            ends = (
                ((nat.address, source[1]), destination) if nat.end == "src" else (source, (nat.address, destination[1]))
            )
            self._answered[*same, *ends] = opened  # type: ignore[index]
        if opened in self._translated:
            its = self._translated[opened]
            return packet | {f"{prefix}_{its.end}": its.address}
        if answered in self._answered:
            first = self._answered[answered]
            end, other = self._translated[first].end, {"src": "dst", "dst": "src"}
            return packet | {f"{prefix}_{other[end]}": first[2 if end == "src" else 3][0]}
        return packet

    def labels(self) -> list[tuple[int, int]]:
        """Zone and label of each connection."""
        return [(zone, label) for (zone, *_), label in self._open.items()]

    def knows(self, zone: int, packet: Packet) -> bool:
        """Whether the packet belongs to a connection, in either direction."""
        return bool(self.look(zone, packet) & ESTABLISHED)


def _may_open(packet: Packet) -> bool:
    return packet["ip_proto"] not in _ICMP or packet[_ICMP[packet["ip_proto"]] + "_type"] in QUERIES


def _both_ways(zone: int, packet: Packet) -> tuple[_Connection, _Connection]:
    """The connection that the packet would open, and the one that it would answer."""
    prefix = "ip" if packet["eth_type"] == 0x0800 else "ipv6"
    protocol = packet["ip_proto"]
    if name := _ICMP.get(protocol):
        type, code = packet[f"{name}_type"], packet.get(f"{name}_code", 0)
        ports = (_QUERY_OF.get(type, type) << 8 | code,) * 2
        opens, answers = type not in _QUERY_OF, type in _QUERY_OF
    else:
        name = _PORTS[protocol]
        ports = packet[f"{name}_src"], packet[f"{name}_dst"]
        opens = answers = True
    source, destination = (packet[f"{prefix}_src"], ports[0]), (packet[f"{prefix}_dst"], ports[1])
    nobody = (zone, protocol, (-1, -1), (-1, -1))
    return (
        (zone, protocol, source, destination) if opens else nobody,
        (zone, protocol, destination, source) if answers else nobody,
    )
