"""Networks that a host's container engine asks for: found, or made in a tenant that allows it.

An agent's token may do no more than this with networks. It decides what "the same network" means and who may make and
remove one; how a network is made stays `networks`' business.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from db import hosts, networks, tenants, transport
from db.changes import Transaction
from db.errors import Conflict, Forbidden, NotFound
from db.layout import Layout
from db.names import qualified
from db.tables import Network, Tenant

ALLOWED = "warren/engine-networks"
"""The label that allows it. Only an administrator labels a tenant."""
CREATE = "create"
MADE_BY = "warren/made-by-host"
"""The label that each network made this way carries, with the host's name: that host may remove it again."""


class Provided(NamedTuple):
    network: Network
    created: bool


def provide(
    tx: Transaction,
    host: str,
    name: str,
    *,
    subnets: Sequence[str] | None = None,
    gateways: Sequence[str] = (),
    isolated: bool = False,
    mtu: int | None = None,
) -> Provided:
    """The network of that name. What is said of it must be so; what is not said may be anything.

    A new one is private: what other tenants number theirs with is no business of people who type `docker`.
    """
    session = tx.session
    hosts.get(session, host)
    if (known := _known(session, name)) is not None:
        _refuse_difference(session, known, subnets or (), gateways, isolated, mtu)
        return Provided(known, False)
    tenant = tenants.get(session, qualified(name, "network")[0])
    if tenant.labels.get(ALLOWED) != CREATE:
        raise Forbidden(
            f"there is no network {name}, and hosts may not make networks in tenant {tenant.name}",
            f"create it with `warren network create {name}`, or allow it with "
            f"`warren tenant label {tenant.name} {ALLOWED}={CREATE}`",
        )
    made = networks.create(
        tx,
        name,
        subnets=subnets,
        layout=Layout(gateways=gateways),
        private=bool(subnets),
        isolated=isolated,
        outbound=not isolated,
        mtu=mtu,
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
    tenant, short = qualified(name, "network", "network")
    if session.execute(select(Tenant.id).where(Tenant.name == tenant)).scalar() is None:
        raise NotFound(f"there is no tenant {tenant}", f"create it with `warren tenant create {tenant}`", "network")
    try:
        return networks.get(session, f"{tenant}/{short}")
    except NotFound:
        return None


def _refuse_difference(
    session: Session, known: Network, subnets: Sequence[str], gateways: Sequence[str], isolated: bool, mtu: int | None
) -> None:
    name = known.qualified_name
    cidrs = {ipaddress.ip_network(subnet.cidr) for subnet in known.subnets}
    routers = {ipaddress.ip_address(subnet.gateway) for subnet in known.subnets if subnet.gateway}
    for text in subnets:
        if ipaddress.ip_network(text) not in cidrs:
            has = " and ".join(map(str, sorted(cidrs, key=str)))
            raise Conflict(f"network {name} has subnet {has}, not {text}", f"give {has}, or none", "subnets")
    for text in gateways:
        if ipaddress.ip_address(text) not in routers:
            has = " and ".join(map(str, sorted(routers, key=str))) or "none"
            raise Conflict(f"network {name} has gateway {has}, not {text}", f"give {has}, or none", "gateways")
    if isolated and not known.isolated:
        raise Conflict(f"network {name} is not isolated", "do not ask for an internal one", "isolated")
    if isolated and known.outbound:
        raise Conflict(
            f"network {name} lets its endpoints out, and an internal one does not",
            f"close it with `warren network update {name} --no-outbound`, or do not ask for an internal one",
            "isolated",
        )
    own = known.mtu or transport.mtus(session)[transport.narrowest(known)]
    if mtu is not None and mtu != own:
        raise Conflict(f"network {name} has MTU {own}, not {mtu}", f"give {own}, or none", "mtu")
