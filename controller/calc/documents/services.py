"""Ports and ICMP types in the shape each kind of document has for them."""

from __future__ import annotations

from typing import Any

from controller.calc.documents.fields import Path, choice, fields, integer, needed, only, refuse, shown
from controller.calc.documents.syntax import port_name
from controller.model import Service

PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}
ICMP = {"ICMP": 1, "ICMPv6": 58}
LAST_PORT = 0xFFFF

_PORT = frozenset({"protocol", "port", "endPort", "type", "code"})
_FIREWALL_PORT = frozenset({"protocol", "port"})
_MATCH = ("destinationPort",)
_NUMBERS = ("number", "range")
_RANGE = frozenset({"start", "end"})
_TYPE = frozenset({"type", "code"})
_TRANSPORTS = {name.lower(): number for name, number in PROTOCOLS.items()}
_ICMP = {name.lower(): number for name, number in ICMP.items()}
_MATCHES = (*_TRANSPORTS, "destinationNamedPort", *_ICMP)


def network_policy_port(value: Any, path: Path) -> Service:
    """`{protocol: TCP, port: 80, endPort: 90}`, and of ours `{protocol: ICMP, type: 8, code: 0}`."""
    found = fields(value, path, _PORT)
    protocol = choice(found.get("protocol", "TCP"), (*path, "protocol"), (*PROTOCOLS, *ICMP))
    foreign = ("port", "endPort") if protocol in ICMP else ("type", "code")
    for name in foreign:
        if name in found:
            remedy = "use type and code" if protocol in ICMP else "use port, or the protocol ICMP or ICMPv6"
            refuse((*path, name), f"{protocol} has no {name}", remedy)
    if protocol in ICMP:
        return _icmp(ICMP[protocol], found, path)
    number, at = PROTOCOLS[protocol], (*path, "port")
    port = found.get("port")
    if "endPort" in found:
        if not isinstance(port, int):
            last = shown(found["endPort"])
            refuse((*path, "endPort"), f"{last} ends no range", "give port, where the range begins, as a number")
        first = _port(port, at)
        return Service(number, first, _not_before(first, _port(found["endPort"], (*path, "endPort")), path, "endPort"))
    if port is None:
        return Service(number)
    if isinstance(port, str):
        return Service(number, name=port_name(port, at))
    first = _port(port, at, " or the name of a port")
    return Service(number, first, first)


def cluster_policy_protocol(value: Any, path: Path) -> tuple[Service, ...]:
    """`{tcp: {destinationPort: {number: 80}}}` and its like, and of ours `{icmp: {type: 8}}`."""
    found = fields(value, path, _MATCHES)
    name = only(found, path, _MATCHES)
    at = (*path, name)
    if name == "destinationNamedPort":
        port = port_name(found[name], at)
        return tuple(Service(number, name=port) for number in PROTOCOLS.values())
    if name in _ICMP:
        return (_icmp(_ICMP[name], fields(found[name], at, _TYPE), at),)
    match = fields(found[name], at, _MATCH)
    return (_numbers(_TRANSPORTS[name], match[only(match, at, _MATCH)], (*at, "destinationPort")),)


def firewall_port(value: Any, path: Path) -> Service:
    """`{protocol: TCP, port: 80}`."""
    found = fields(value, path, _FIREWALL_PORT)
    protocol = choice(needed(found, "protocol", path), (*path, "protocol"), PROTOCOLS)
    if "port" not in found:
        return Service(PROTOCOLS[protocol])
    port = _port(found["port"], (*path, "port"))
    return Service(PROTOCOLS[protocol], port, port)


def _numbers(protocol: int, value: Any, path: Path) -> Service:
    found = fields(value, path, _NUMBERS)
    name = only(found, path, _NUMBERS)
    at = (*path, name)
    if name == "number":
        port = _port(found[name], at)
        return Service(protocol, port, port)
    ends = fields(found[name], at, _RANGE)
    first, last = (_port(needed(ends, end, at), (*at, end)) for end in ("start", "end"))
    if first == last:
        refuse((*at, "end"), f"{last} is start, too", f"write number: {last}")
    return Service(protocol, first, _not_before(first, last, at, "end"))


def _icmp(protocol: int, found: dict[str, Any], path: Path) -> Service:
    if "type" not in found:
        if "code" in found:
            refuse((*path, "code"), f"{shown(found['code'])} is the code of no type", "give type, too")
        return Service(protocol)
    kind = integer(found["type"], (*path, "type"), "an ICMP type", 0, 255)
    if "code" not in found:
        return Service(protocol, kind << 8, kind << 8 | 255)
    code = integer(found["code"], (*path, "code"), "an ICMP code", 0, 255)
    return Service(protocol, kind << 8 | code, kind << 8 | code)


def _port(value: Any, path: Path, otherwise: str = "") -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LAST_PORT:
        refuse(path, f"{shown(value)} is not a port", f"use 1 to {LAST_PORT}{otherwise}")
    return value


def _not_before(first: int, last: int, path: Path, name: str) -> int:
    if last < first:
        refuse((*path, name), f"{last} is less than {first}, where the range begins", f"use {first} to {LAST_PORT}")
    return last
