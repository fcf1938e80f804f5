"""What a host must not lose its way to: its interfaces' subnets, the other hosts, the controllers and the API.

A host has a route to each of its endpoints that it reaches by their own addresses. It decides which of them it is to do
without, so that whatever networks there are the host hears of it when they are changed.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Mapping, Sequence
from logging import getLogger
from typing import NamedTuple
from urllib.parse import urlsplit

from ovs_agent.document import Endpoint, Wanted

log = getLogger(__name__)
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Lifelines(NamedTuple):
    """Whose an address is, and whose each subnet."""

    addresses: Mapping[str, str]
    subnets: Sequence[tuple[_Network, str]]


def lifelines(wanted: Wanted, api: Iterable[str], interfaces: Iterable[tuple[str, str]]) -> Lifelines:
    """`api` are its addresses, `interfaces` the host's own but for the bridge's, each with an address and its prefix
    length."""
    addresses = {peer.address: f"the address of host {peer.name}" for peer in wanted.peers}
    addresses |= {_host_of(f"//{target.partition(':')[2]}"): "a controller's address" for target in wanted.controllers}
    addresses |= dict.fromkeys(api, "the API's address")
    named = ((ipaddress.ip_interface(address).network, name) for name, address in interfaces)
    subnets = [(one, name) for one, name in named if not (one.is_loopback or one.is_link_local)]
    return Lifelines(addresses, [(one, f"in {one} of the host's interface {name}") for one, name in subnets])


def spare(endpoints: Iterable[Endpoint], lines: Lifelines) -> tuple[list[Endpoint], tuple[str, ...]]:
    """The endpoints without addresses that the host needs for others, and a sentence for each network that has some."""
    spared, said = [], {}
    for endpoint in endpoints:
        whose = {one: _whose(one, lines) for one in endpoint.addresses} if endpoint.from_host else {}
        for one, owner in whose.items():
            if owner:
                said.setdefault(
                    endpoint.network,
                    f"Endpoint {endpoint.name} has {one.partition('/')[0]}, which is {owner}: the host does not reach "
                    f"it by that, so as not to lose its own way. Make network {endpoint.network} anew with another "
                    f"subnet, or with --private.",
                )
        left = tuple(one for one in endpoint.addresses if not whose.get(one))
        spared.append(endpoint if left == endpoint.addresses else endpoint._replace(addresses=left))
    return spared, tuple(said.values())


def addresses_of(api: str) -> frozenset[str]:
    """The addresses of the host in a URL; none while its name cannot be resolved."""
    try:
        found = socket.getaddrinfo(_host_of(api), None, type=socket.SOCK_STREAM)
    except OSError as fault:
        log.warning("the API's addresses are not known: %s", fault)
        return frozenset()
    return frozenset(str(one[4][0]) for one in found)


def _whose(address: str, lines: Lifelines) -> str | None:
    ip = ipaddress.ip_interface(address).ip
    return lines.addresses.get(str(ip)) or next((whose for subnet, whose in lines.subnets if ip in subnet), None)


def _host_of(url: str) -> str:
    return urlsplit(url).hostname or ""
