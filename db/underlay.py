"""The hosts' own network: which addresses hosts and controllers have there, and that none of them is an endpoint's.

A host has a route to each of its endpoints that it reaches by their own addresses, and by that would lose who else has
such an address: other hosts, the controllers, itself. Private networks and those on a physical segment may have them,
as no host has routes to these. Where the API answers is not known here; agents guard the way to it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.addressing import IPNetwork, bounds, overlap
from db.errors import CollidesElsewhere, Conflict
from db.tables import AddressPool, Controller, Host, HostStatus, Network, Subnet, Tenant

OURS = "overlaps the hosts' own network"
"""What is said of it to who may know nothing of hosts."""


class Taken(NamedTuple):
    """Addresses in the hosts' own network, and whose."""

    cidr: IPNetwork
    whose: str


def taken(session: Session) -> Iterator[Taken]:
    """Subnets of hosts' interfaces as far as agents tell them, else single addresses."""
    report = HostStatus.agent_report
    query = select(Host.name, Host.address, report["underlay"]["prefix"], report["addresses"])
    for name, address, prefix, others in session.execute(query.join(HostStatus).order_by(Host.id)):
        if address:
            whole = f"{address}/{prefix}" if prefix else address
            with suppress(ValueError):  # the prefix is that of an address that the host had before
                yield Taken(ipaddress.ip_network(whole, strict=False), f"the network of host {name} ({address})")
        for other in others or ():
            yield Taken(ipaddress.ip_network(other), f"an address of host {name}")
    for name, target in session.execute(select(Controller.name, Controller.target).order_by(Controller.name)):
        yield Taken(ipaddress.ip_network(_address_of(target)), f"the address of controller {name}")


def refuse(session: Session, what: str, cidr: IPNetwork, remedy: str, field: str) -> None:
    """`what` is to have the addresses of `cidr`, and hosts a route to them."""
    found = next((one for one in taken(session) if overlap(one.cidr, cidr)), None)
    if found is not None:
        problem = f"{what} overlaps {found.cidr}, {found.whose}, and hosts would lose their way there"
        raise CollidesElsewhere(problem, remedy, field, f"{what} {OURS}")


def refuse_host(session: Session, host: str, text: str) -> None:
    """`host` is to have this address."""
    address = ipaddress.ip_address(text)
    low, high = bounds(ipaddress.ip_network(address))
    query = select(Subnet.cidr, Tenant.name + "/" + Network.name).join(Network, Network.id == Subnet.network_id)
    query = query.join(Tenant, Tenant.id == Network.tenant_id).where(~Network.private, Network.physical_id.is_(None))
    query = query.where(Subnet.family == address.version, Subnet.low <= high, Subnet.high >= low)
    for cidr, network in session.execute(query.order_by(Subnet.id).limit(1)):
        problem = (
            f"address {text} of host {host} is in subnet {cidr} of network {network}, and other hosts would lose it"
        )
        raise Conflict(problem, "give the host another, or make the network anew with another subnet", "address")
    pool = select(AddressPool.cidr, AddressPool.name).where(AddressPool.family == address.version)
    for cidr, name in session.execute(pool.where(AddressPool.low <= high, AddressPool.high >= low).limit(1)):
        problem = f"address {text} of host {host} is in {cidr} of pool {name}, of which networks get their subnets"
        raise Conflict(problem, f"give the host another, or remove the pool: `warren pool delete {name}`", "address")


def _address_of(target: str) -> str:
    """The address in a target such as `tcp:192.0.2.1:6653` or `ssl:[2001:db8::1]:6653`."""
    return re.sub(r"^\w+:\[?|\]?:\d+$", "", target)
