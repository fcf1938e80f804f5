"""Networks that a host's container engine asks for: found, or made in a tenant that allows it.

An agent's token may do no more than this with networks. It decides what "the same network" means and who may make and
remove one; how a network is made stays `networks`' business.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import hosts, networks, tenants, transport
from db.addressing import IPNetwork, parse_address, parse_cidr
from db.changes import Transaction
from db.errors import Conflict, Forbidden, NotFound
from db.layout import Layout
from db.names import qualified
from db.subnetting import held_spans
from db.tables import Network, Subnet, Tenant

ALLOWED = "warren/engine-networks"
"""The label that allows it. Only an administrator labels a tenant."""
CREATE = "create"
MADE_BY = "warren/made-by-host"
"""The label that each network made this way carries, with the host's name: that host may remove it again."""


class Provided(NamedTuple):
    network: Network
    created: bool


class Said(NamedTuple):
    """What somebody who types `docker network create` says of a network; what is None or empty may be anything."""

    subnets: Sequence[str] | None = None
    gateways: Sequence[str] = ()
    ranges: Sequence[str] = ()
    aux: Mapping[str, str] = {}
    isolated: bool = False
    mtu: int | None = None
    carried_by: str | None = None
    physical: str | None = None
    vlan: int | None = None


def provide(tx: Transaction, host: str, name: str, said: Said) -> Provided:
    """The network of that name. What is said of it must be so.

    A new one is private where its transport allows that: what other tenants number theirs with is no business of people
    who type `docker`.
    """
    session = tx.session
    hosts.get(session, host)
    if (known := _known(session, name)) is not None:
        _refuse_difference(session, known, said)
        return Provided(known, False)
    tenant = tenants.get(session, qualified(name, "network")[0])
    if tenant.labels.get(ALLOWED) != CREATE:
        raise Forbidden(
            f"there is no network {name}, and hosts may not make networks in tenant {tenant.name}",
            f"create it with `warren network create {name}`, or allow it with "
            f"`warren tenant label {tenant.name} {ALLOWED}={CREATE}`",
        )
    carried_by = said.carried_by or transport.DEFAULT.name
    made = networks.create(
        tx,
        name,
        subnets=said.subnets,
        layout=Layout(gateways=said.gateways, ranges=said.ranges, aux=said.aux),
        private=bool(said.subnets) and transport.may_be_private(carried_by),
        isolated=said.isolated,
        outbound=not said.isolated,
        mtu=said.mtu,
        carried_by=carried_by,
        physical=said.physical,
        vlan=said.vlan,
        labels={MADE_BY: host},
    )
    return Provided(made, True)


def withdraw(tx: Transaction, host: str, name: str) -> bool:
    """Remove a network that this host made. Answers whether there was one."""
    known = _known(tx.session, name)
    if known is None:
        return False
    if known.labels.get(MADE_BY) != host:
        raise Forbidden(
            f"network {name} was not made by host {host}",
            f"only an administrator removes it, with `warren network delete {name}`",
        )
    networks.delete(tx, name)
    return True


def _known(session: Session, name: str) -> Network | None:
    tenant, _ = qualified(name, "network", "network")
    if session.execute(select(Tenant.id).where(Tenant.name == tenant)).scalar() is None:
        raise NotFound(f"there is no tenant {tenant}", f"create it with `warren tenant create {tenant}`", "network")
    try:
        return networks.get(session, name)
    except NotFound:
        return None


def _refuse_difference(session: Session, known: Network, said: Said) -> None:
    name = known.qualified_name
    by_cidr = {ipaddress.ip_network(subnet.cidr): subnet for subnet in known.subnets}
    for text in said.subnets or ():
        if parse_cidr(text, "subnets") not in by_cidr:
            raise _differs(name, "subnet", by_cidr, text, "subnets")
    routers = [ipaddress.ip_address(subnet.gateway) for subnet in known.subnets if subnet.gateway]
    for text in said.gateways:
        if parse_address(text, "gateway", "gateways") not in routers:
            raise _differs(name, "gateway", routers, text, "gateways")
    ranges = [ipaddress.ip_network(subnet.ip_range) for subnet in known.subnets if subnet.ip_range]
    for text in said.ranges:
        if parse_cidr(text, "ip_ranges", "range") not in ranges:
            raise _differs(name, "IP range", ranges, text, "ip_ranges")
    for text in said.aux.values():
        _refuse_to_give(name, by_cidr, text)
    if said.isolated and not known.isolated:
        raise Conflict(f"network {name} is not isolated", "do not ask for an internal one", "isolated")
    if said.isolated and known.outbound:
        raise Conflict(
            f"network {name} lets its endpoints reach the outside, and an internal one does not",
            f"close it with `warren network update {name} --no-outbound`, or do not ask for an internal one",
            "isolated",
        )
    own = known.mtu or transport.mtus(session)[transport.narrowest(known)]
    if said.mtu not in (None, own):
        raise _differs(name, "MTU", [own], said.mtu, "mtu")
    if said.carried_by not in (None, known.transport):
        raise _differs(name, "transport", [known.transport], said.carried_by, "transport")
    segment = known.physical.name if known.physical else None
    if said.physical not in (None, segment):
        raise _differs(name, "physical segment", [segment] if segment else [], said.physical, "physical")
    if said.vlan is not None and (segment is None or said.vlan != known.vlan):
        raise _differs(name, "VLAN tag", [known.vlan] if segment else [], said.vlan, "vlan")


def _differs(name: str, what: str, own: Iterable[object], asked: object, field: str) -> Conflict:
    has = " and ".join(sorted(map(str, own))) or "none"
    remedy = "leave it out" if has == "none" else f"give {has}, or leave it out"
    return Conflict(f"network {name} has {what} {has}, not {asked}", remedy, field)


def _refuse_to_give(name: str, by_cidr: Mapping[IPNetwork, Subnet], text: str) -> None:
    """An address that is said to be others' must be one that no endpoint gets."""
    address = parse_address(text, "auxiliary address", "aux_addresses")
    for cidr, subnet in by_cidr.items():
        offset = int(address) - int(cidr.network_address)
        if address.version == cidr.version and any(first <= offset <= last for first, last in held_spans(subnet)):
            return
    raise Conflict(
        f"network {name} gives auxiliary address {text} to its endpoints",
        f"exclude it with `warren network update {name} --exclude {text}`, or leave it out",
        "aux_addresses",
    )
