"""How the addresses of a network are laid out: gateways, ranges, addresses that nobody gets, blocks of hosts. Pure.

Decides what people may ask for, and where in its subnet each address is. Does not know which addresses are in use.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

from db.addressing import IPAddress, IPNetwork, automatic, check_usable, parse_address, parse_cidr, usable
from db.errors import Invalid
from db.names import dns_label

Plan = Literal["shared", "per-host"]
SHARED, PER_HOST = "shared", "per-host"
BLOCK_SIZES = {4: 26, 6: 122}
_BLOCK_LIMITS = {4: (20, 30), 6: (116, 126)}
"""Prefix lengths of blocks: as large and as small as is of use, and small enough to be looked through."""

MOST_EXCLUDED = 1 << 16
Span = tuple[int, int]
"""First and last offset in a subnet, not negative."""


class Layout(NamedTuple):
    """What may be said of a network's subnets; whatever names an address belongs to the subnet that contains it.

    `excludes` are addresses, CIDRs or ranges FIRST-LAST. `block_sizes` are prefix lengths, at most one per family.
    `external`: gateways are others' routers, and where none is given there is none.
    """

    gateways: Sequence[str] = ()
    ranges: Sequence[str] = ()
    excludes: Sequence[str] = ()
    aux: Mapping[str, str] = {}
    plan: str = SHARED
    block_sizes: Sequence[int] = ()
    strict: bool = False
    external: bool = False


PLAIN = Layout()
"""First usable addresses are gateways, all others are for endpoints, and hosts share them."""


class Laid(NamedTuple):
    """One subnet. `first` to `last` are the offsets given to who asks for none in particular."""

    subnet: IPNetwork
    gateway: IPAddress | None
    first: int
    last: int
    ip_range: str | None
    excludes: list[str]
    aux: dict[str, str]
    block_size: int | None

    @property
    def held(self) -> list[Span]:
        return held(self.subnet, None if self.gateway is None else str(self.gateway), self.excludes, self.aux)


def lay(subnets: Sequence[IPNetwork], layout: Layout) -> list[Laid]:
    """Each subnet with what was said of it. Refuses what belongs to none."""
    if layout.plan not in (SHARED, PER_HOST):
        raise Invalid(f"{layout.plan!r} is not an address plan", f"use {SHARED} or {PER_HOST}", "plan")
    if layout.plan == SHARED and (layout.block_sizes or layout.strict):
        raise Invalid(f"only networks with the plan {PER_HOST} have blocks", f"use the plan {PER_HOST}", "plan")
    ranges = _once(subnets, ((parse_cidr(text, "ip_ranges", "range"), text) for text in layout.ranges))
    gateways = _gateways(subnets, layout.gateways)
    excludes = _excludes(subnets, layout.excludes)
    aux = _aux(subnets, layout.aux)
    sizes = _block_sizes(subnets, layout)
    laid = []
    for subnet in subnets:
        first, last = _range(subnet, ranges.get(subnet))
        names = aux.get(subnet, {})
        kept = excludes.get(subnet, [])
        gateway = gateways.get(subnet)
        if gateway is None and not layout.external:
            gateway = _first_free(subnet, held(subnet, None, kept, names))
        for name, address in names.items():
            if address == str(gateway):
                problem = f"auxiliary address {name}={address} is the gateway of subnet {subnet}"
                raise Invalid(problem, "choose another", "aux_addresses")
        ip_range = None if subnet not in ranges else str(ranges[subnet])
        laid.append(Laid(subnet, gateway, first, last, ip_range, kept, names, sizes.get(subnet)))
    return laid


def held(subnet: IPNetwork, gateway: str | None, excludes: Iterable[str], aux: Mapping[str, str]) -> list[Span]:
    """The offsets that no endpoint gets, in order and without overlaps; none goes on over the middle of a /64, from
    where their numbers are negative (`addressing.offset_of`)."""
    base = int(subnet.network_address)
    spans = [(int(one[0]) - base, int(one[-1]) - base) for one in map(ipaddress.ip_network, excludes)]
    for text in (*aux.values(), *([gateway] if gateway else [])):
        offset = int(ipaddress.ip_address(text)) - base
        spans.append((offset, offset))
    merged: list[Span] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1 and first != 1 << 63:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return merged


def offsets(spans: Iterable[Span]) -> Iterator[int]:
    for first, last in spans:
        yield from range(first, last + 1)


def count_within(spans: Iterable[Span], first: int, last: int) -> int:
    return sum(max(0, min(high, last) - max(low, first) + 1) for low, high in spans)


def block_span(subnet: IPNetwork, block_size: int, number: int) -> Span:
    """The offsets of a block."""
    bits = subnet.max_prefixlen - block_size
    return number << bits, ((number + 1) << bits) - 1


def block_number(subnet: IPNetwork, block_size: int, offset: int) -> int:
    return offset >> (subnet.max_prefixlen - block_size)


def block_cidr(subnet: IPNetwork, block_size: int, number: int) -> str:
    return f"{subnet[block_span(subnet, block_size, number)[0]]}/{block_size}"


def subnet_of(subnets: Sequence[IPNetwork], address: IPAddress, what: str, field: str) -> IPNetwork:
    """The subnet that contains an address."""
    same = [subnet for subnet in subnets if subnet.version == address.version]
    for subnet in same:
        if address in subnet:
            return subnet
    if not same:
        family = f"IPv{address.version}"
        problem = f"{what} {address} is {family}, and the network has no {family} subnet"
        raise Invalid(problem, "leave it out, or give the network such a subnet, too", field)
    problem = f"{what} {address} is outside of subnet{'s' * (len(same) > 1)} {' and '.join(map(str, same))}"
    raise Invalid(problem, "choose one inside", field)


def _gateways(subnets: Sequence[IPNetwork], texts: Sequence[str]) -> dict[IPNetwork, IPAddress]:
    found: dict[IPNetwork, IPAddress] = {}
    for text in texts:
        gateway = parse_address(text, "gateway", "gateways")
        subnet = subnet_of(subnets, gateway, "gateway", "gateways")
        check_usable(gateway, subnet, "gateway", "gateways")
        if subnet in found:
            raise Invalid(f"{found[subnet]} and {gateway} are both gateways of {subnet}", "give one", "gateways")
        found[subnet] = gateway
    return found


def _once(subnets: Sequence[IPNetwork], ranges: Iterable[tuple[IPNetwork, str]]) -> dict[IPNetwork, IPNetwork]:
    """The one range of each subnet that has one."""
    found: dict[IPNetwork, IPNetwork] = {}
    for chosen, text in ranges:
        subnet = _around(subnets, chosen, f"range {text}", "ip_ranges")
        if subnet in found:
            raise Invalid(f"{found[subnet]} and {text} are both ranges of {subnet}", "give one", "ip_ranges")
        found[subnet] = chosen
    return found


def _around(subnets: Sequence[IPNetwork], inner: IPNetwork, what: str, field: str) -> IPNetwork:
    for subnet in subnets:
        if subnet.version == inner.version and inner.subnet_of(cast(Any, subnet)):
            return subnet
    raise Invalid(
        f"{what} is outside of {' and '.join(map(str, subnets)) or 'all subnets'}", "choose one inside", field
    )


def _range(subnet: IPNetwork, chosen: IPNetwork | None) -> Span:
    first, last = automatic(subnet)
    if chosen is None:
        return first, last
    low, high = (int(end) - int(subnet.network_address) for end in (chosen[0], chosen[-1]))
    low, high = max(low, usable(subnet)[0]), min(high, usable(subnet)[1])
    if low >= 1 << 63:
        raise Invalid(f"range {chosen} is in the upper half of {subnet}", "choose one in the lower half", "ip_ranges")
    if low > high:
        raise Invalid(f"range {chosen} has no address that an endpoint may have", "choose a larger one", "ip_ranges")
    return low, min(high, low + (1 << 32) - 1)


def _excludes(subnets: Sequence[IPNetwork], texts: Sequence[str]) -> dict[IPNetwork, list[str]]:
    found: dict[IPNetwork, list[str]] = {}
    count = 0
    for text in texts:
        for one in _excluded(text):
            found.setdefault(_around(subnets, one, f"excluded {text}", "excludes"), []).append(_short(one))
            count += one.num_addresses
        if count > MOST_EXCLUDED:
            problem = f"with {text} more than {MOST_EXCLUDED} addresses are excluded"
            raise Invalid(problem, "give the ones to use with --ip-range", "excludes")
    return found


def _excluded(text: str) -> list[IPNetwork]:
    if "/" in text:
        return [parse_cidr(text, "excludes", "range to exclude")]
    first, dash, last = text.partition("-")
    low = parse_address(first, "excluded", "excludes")
    high = parse_address(last, "excluded", "excludes") if dash else low
    if low.version != high.version or int(low) > int(high):
        raise Invalid(f"{text!r} is not a range of addresses", "write it like 10.20.0.10-10.20.0.20", "excludes")
    return list(ipaddress.summarize_address_range(cast(Any, low), cast(Any, high)))


def _short(network: IPNetwork) -> str:
    return str(network[0] if network.num_addresses == 1 else network)


def _aux(subnets: Sequence[IPNetwork], given: Mapping[str, str]) -> dict[IPNetwork, dict[str, str]]:
    found: dict[IPNetwork, dict[str, str]] = {}
    for name, text in given.items():
        dns_label(name, "auxiliary address", "aux_addresses")
        address = parse_address(text, f"auxiliary address {name}", "aux_addresses")
        subnet = subnet_of(subnets, address, f"auxiliary address {name}", "aux_addresses")
        check_usable(address, subnet, f"auxiliary address {name}", "aux_addresses")
        if str(address) in found.setdefault(subnet, {}).values():
            raise Invalid(f"auxiliary address {address} has two names", "give it one", "aux_addresses")
        found[subnet][name] = str(address)
    return found


def _block_sizes(subnets: Sequence[IPNetwork], layout: Layout) -> dict[IPNetwork, int]:
    if layout.plan == SHARED:
        return {}
    chosen: dict[int, int] = {}
    for size in layout.block_sizes:
        family = 4 if size <= 32 else 6
        if family in chosen:
            problem = f"blocks of /{chosen[family]} and /{size} are both IPv{family}"
            raise Invalid(problem, "give one size per address family", "block_sizes")
        chosen[family] = size
    found = {}
    for subnet in subnets:
        least, most = _BLOCK_LIMITS[subnet.version]
        least = max(least, subnet.prefixlen)
        size = chosen.get(subnet.version, max(BLOCK_SIZES[subnet.version], subnet.prefixlen + 1))
        if not least <= size <= most:
            remedy = f"use /{least} to /{most}" if least <= most else "choose a larger subnet"
            raise Invalid(f"subnet {subnet} cannot be cut into blocks of /{size}", remedy, "block_sizes")
        found[subnet] = size
    for family in chosen:
        if not any(subnet.version == family for subnet in subnets):
            problem = f"block size /{chosen[family]} is one of IPv{family}, and the network has no IPv{family} subnet"
            raise Invalid(problem, "leave it out, or give the network such a subnet, too", "block_sizes")
    return found


def _first_free(subnet: IPNetwork, taken: list[Span]) -> IPAddress:
    first, last = usable(subnet)
    for low, high in taken:
        if low <= first <= high:
            first = high + 1
    if first > last:
        raise Invalid(f"no address of subnet {subnet} is left for its gateway", "exclude fewer addresses", "excludes")
    return subnet[first]
