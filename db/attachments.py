"""Attach and detach: a container's interface gets its ofport, addresses and MAC, or gives them back.

The hot path of the whole database: the statements are built once, and an attach answers everything the agent
needs without reading it again. Everything happens in the caller's transaction, or nothing.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import and_, bindparam, delete, func, insert, literal, or_, select
from sqlalchemy.orm import Session

from db import aliases as db_aliases
from db import (
    allocate,
    allowed,
    bandwidth,
    blocks,
    choosing,
    host_ports,
    moves,
    quotas,
    records,
    reservations,
    transport,
    wanted,
)
from db.addressing import IPAddress, check_usable, is_made_of_an_address, macs_of, offset_of, parse_mac, unzoned
from db.changes import Transaction
from db.errors import Conflict, Invalid, NotFound
from db.labels import valid_labels, valid_ports
from db.names import dns_label, qualified
from db.tables import Address, AddressPool, Endpoint, Host, Network, Pool, Subnet, Tenant, port_name
from db.wanted import WantedEndpoint, from_host, nameservers

# Locks both rows before anything else: two attaches on one host do not look past each other, and whoever deletes the
# network waits or is waited for, never both. On SQLite writers take turns anyway.
_PLACE = (
    select(
        Host.name.label("host"),
        Host.pool_id.label("ofports"),
        Tenant.id.label("tenant_id"),
        Tenant.quota,
        Network.id.label("network_id"),
        Network.transport,
        Network.outbound,
        Network.private,
        Network.cross_subnet,
        func.coalesce(Network.mtu, transport.mtu_of(transport.NARROWEST)).label("mtu"),
        transport.mtu_of(literal(transport.DEFAULT.name)).label("route_mtu"),
        Network.strict,
        Subnet.id.label("subnet_id"),
        Subnet.family,
        Subnet.cidr,
        Subnet.gateway,
        Subnet.pool_id,
        Subnet.block_size,
        Subnet.block_pool_id,
        Pool.first,
        Pool.last,
        AddressPool.state.label("pool_state"),
    )
    .select_from(Network)
    .join(Tenant, Tenant.id == Network.tenant_id)
    .join(Subnet, Subnet.network_id == Network.id)
    .join(Pool, Pool.id == Subnet.pool_id)
    .outerjoin(AddressPool, AddressPool.id == Subnet.address_pool_id)
    .join(Host, Host.id == bindparam("host_id"))
    .where(Tenant.name == bindparam("tenant"), Network.name == bindparam("network"))
    .order_by(Subnet.id)
    .with_for_update(of=[Host, Network], key_share=True)
)
_SAME_INTERFACE = and_(
    Endpoint.host_id == bindparam("host_id"),
    Endpoint.container_id == bindparam("container_id"),
    Endpoint.ifname == bindparam("ifname"),
)
_TAKEN = (
    select(
        Endpoint.id,
        Endpoint.name,
        Endpoint.container_id,
        Endpoint.ifname,
        Endpoint.request,
        Host.name.label("host"),
        _SAME_INTERFACE.label("same_interface"),
    )
    .join(Host, Host.id == Endpoint.host_id)
    .where(or_(_SAME_INTERFACE, and_(Endpoint.tenant_id == bindparam("tenant_id"), Endpoint.name == bindparam("name"))))
)
_NAMES = select(Tenant.name, Endpoint.name).join(Endpoint, Endpoint.tenant_id == Tenant.id)
_FIND = select(Endpoint.id).where(_SAME_INTERFACE)
_HELD = (
    select(
        Endpoint.tenant_id,
        Endpoint.host_id,
        Endpoint.ofport,
        Host.pool_id.label("ofports"),
        Address.ip,
        Address.subnet_id,
        Subnet.cidr,
        Subnet.pool_id,
        Subnet.block_size,
        host_ports.MESH.label("mesh"),
        host_ports.PUBLISHED.label("publishes"),
    )
    .join(Host, Host.id == Endpoint.host_id)
    .join(Address, Address.endpoint_id == Endpoint.id)
    .join(Subnet, Subnet.id == Address.subnet_id)
    .where(Endpoint.id == bindparam("id"))
    .order_by(Subnet.id)
    .with_for_update(of=Endpoint)
)
_INSERT = insert(Endpoint.__table__).returning(Endpoint.id)  # type: ignore[arg-type]
_INSERT_ADDRESSES = insert(Address.__table__)  # type: ignore[arg-type]
_DELETE = delete(Endpoint.__table__).where(Endpoint.id == bindparam("id"))  # type: ignore[arg-type]


class Attached(NamedTuple):
    endpoint: WantedEndpoint
    created: bool


def attach(
    tx: Transaction,
    host_id: int,
    container_id: str,
    ifname: str,
    *,
    network: str,
    name: str,
    netns: str = "",
    labels: Mapping[str, str] | None = None,
    ports: Sequence[Mapping[str, Any]] = (),
    addresses: Sequence[str] = (),
    mac: str | None = None,
    interface: str = "",
    move: bool = False,
    entitled: bool = False,
    reservation: str | None = None,
    aliases: Sequence[str] = (),
    limits: Mapping[str, int] | None = None,
) -> Attached:
    """The endpoint of that interface, with one address of each family. Asking again for the same finds it; for
    something else is refused.

    `interface` is one of the host's own that becomes the endpoint's port. With `move` the endpoint of that name leaves
    the host or the container where it is and comes here as it is; from another host if the asker is `entitled` to that,
    or somebody who is has named this host. `reservation` is the name whose reserved addresses it gets; its own unless
    given. `limits` are rates and bursts, see `bandwidth`.
    """
    session = tx.session
    tenant, short_network = qualified(network, "network", "network")
    dns_label(name, "endpoint")
    _check_interface(container_id, ifname, netns)
    if interface:
        _check_interface(container_id, interface, netns)
    values = {"labels": valid_labels(labels), "ports": valid_ports(ports)}
    if others := db_aliases.valid(aliases, name):
        values["aliases"] = others
    further = {key: value for key, value in (("interface", interface), ("move", move)) if value}
    if limits and any(limits.values()):
        further["limits"] = dict(limits)
    if reservation is not None:
        further["reservation"] = dns_label(reservation, "reservation", "reservation")
    request = _digest(network=network, name=name, netns=netns, addresses=list(addresses), mac=mac, **values, **further)

    place: Sequence[Any] = session.execute(
        _PLACE, {"host_id": host_id, "tenant": tenant, "network": short_network}
    ).all()
    if not place:
        raise _nowhere(session, host_id, tenant, network)
    at = place[0]
    keys = {"host_id": host_id, "container_id": container_id, "ifname": ifname}
    taken: Sequence[Any] = session.execute(_TAKEN, {**keys, "tenant_id": at.tenant_id, "name": name}).all()
    if known := _known(taken, f"{tenant}/{name}", request, move):
        return Attached(wanted.endpoint(session, known), created=False)
    if interface:
        _refuse_taken_interface(session, host_id, interface, [row.id for row in taken if move])
    if move:
        if not taken:
            raise NotFound(f"there is no endpoint {tenant}/{name} to move", "attach it without moving", "name")
        there = {**keys, "netns": netns, "interface": interface, "request": request}
        moves.move(tx, taken[0], at, there, addresses=addresses, mac=mac, entitled=entitled)
        transport.check_hosts(session, session.get_one(Network, at.network_id))
        return Attached(wanted.endpoint(session, taken[0].id), created=False)

    transport.check_host(session, network, at.network_id, at.transport, at.cross_subnet, host_id)
    kept = reservations.kept_for(session, at.network_id, reservation or name, tx.now)
    if reservation is not None and not kept:
        remedy = f"reserve an address with `warren reservation create {network} {reservation}`"
        raise NotFound(f"network {network} has no reservation for {reservation}", remedy, "reservation")
    # One address of each family, of whichever subnet.
    more = {"endpoints": 1, "addresses": len({row.family for row in place})}
    quotas.take(session, at.tenant_id, at.quota, more)
    values["bandwidth"] = bandwidth.asked(limits, at.quota, tenant)
    asked = _asked(addresses, place, network)
    ofport = allocate.claim(
        session, at.ofports, tx.now, what=f"the range of ofports of host {at.host}", remedy="remove endpoints from it"
    )
    given = choosing.choose(session, tx.now, host_id, place, asked, kept, network)
    own_mac = _mac(session, at.network_id, network, mac, given[0].ip)
    endpoint_id = session.execute(
        _INSERT,
        {
            **keys,
            **values,
            "tenant_id": at.tenant_id,
            "network_id": at.network_id,
            "name": name,
            "ofport": ofport,
            "mac": own_mac,
            "netns": netns,
            "interface": interface,
            "request": request,
            "created_at": tx.now,
            "updated_at": tx.now,
        },
    ).scalar_one()
    session.execute(
        _INSERT_ADDRESSES,
        [
            {"subnet_id": one.subnet_id, "ip": str(one.ip), "prefix": one.prefix, "endpoint_id": endpoint_id}
            for one in given
        ],
    )
    tx.record("endpoint", endpoint_id, "create", tenant_id=at.tenant_id, host_id=host_id)
    gateways = [one.gateway for one in given if one.gateway]
    endpoint = WantedEndpoint(
        id=endpoint_id,
        name=f"{tenant}/{name}",
        network=network,
        ofport=ofport,
        port_name=port_name(endpoint_id, interface),
        mac=own_mac,
        addresses=[f"{one.ip}/{one.prefix}" for one in given],
        gateways=gateways,
        mtu=at.mtu,
        route_mtu=min(at.mtu, at.route_mtu),
        container_id=container_id,
        ifname=ifname,
        netns=netns,
        interface=interface,
        from_host=from_host(at),
        dns={
            "nameservers": nameservers(at.transport, gateways),
            "search": records.search(network, records.settings(session).domain),
        },
        limits=bandwidth.limits(values["bandwidth"], at.quota),
    )
    return Attached(endpoint, created=True)


def find(session: Session, host_id: int, container_id: str, ifname: str) -> WantedEndpoint:
    return wanted.endpoint(session, row(session, host_id, container_id, ifname).id)


def row(session: Session, host_id: int, container_id: str, ifname: str) -> Endpoint:
    id = session.execute(_FIND, {"host_id": host_id, "container_id": container_id, "ifname": ifname}).scalar()
    if id is None:
        raise NotFound(f"interface {ifname} of container {container_id} is not attached", "attach it", "container_id")
    return session.get_one(Endpoint, id)


def detach(tx: Transaction, host_id: int, container_id: str, ifname: str) -> int | None:
    """The id of the endpoint that is gone now; None when there was none, which is as good."""
    keys = {"host_id": host_id, "container_id": container_id, "ifname": ifname}
    id: int | None = tx.session.execute(_FIND, keys).scalar()
    return id if id is not None and remove(tx, id) else None


def remove(tx: Transaction, endpoint_id: int) -> bool:
    """Frees the endpoint's ofport and addresses; False when another was quicker."""
    session = tx.session
    held = session.execute(_HELD, {"id": endpoint_id}).all()
    if not held:
        return False
    allowed.release(tx, endpoint_id)
    reserved = reservations.of_endpoint(session, endpoint_id)
    session.execute(_DELETE, {"id": endpoint_id})
    first = held[0]
    allocate.release(session, first.ofports, first.ofport, tx.now)
    for row in held:
        if (row.subnet_id, row.ip) not in reserved:
            offset = offset_of(ipaddress.ip_address(row.ip), ipaddress.ip_network(row.cidr))
            allocate.release(session, row.pool_id, offset, tx.now)
        if row.block_size is not None:
            blocks.give_back(session, row.subnet_id, tx.now, first.host_id)
    tx.record("endpoint", endpoint_id, "delete", tenant_id=first.tenant_id, host_id=first.host_id)
    host_ports.close(tx, endpoint_id, first)
    return True


def _known(taken: Sequence[Any], name: str, request: str, move: bool) -> int | None:
    """The endpoint that is there already, when it is what is asked for."""
    for row in taken:
        if row.same_interface:
            if row.request == request:
                return int(row.id)
            if move and row.name == name.partition("/")[2]:
                return None
            raise Conflict(
                f"interface {row.ifname} of container {row.container_id} on host {row.host} is attached already, "
                f"as endpoint {row.name} and with other parameters",
                "detach it first",
            )
    if taken and not move:
        row = taken[0]
        raise Conflict(
            f"endpoint {name} exists already on host {row.host} (container {row.container_id}, {row.ifname})",
            "choose another name or remove that one",
            "name",
        )
    return None


def _asked(texts: Sequence[str], place: Sequence[Any], network: str) -> dict[int, IPAddress]:
    """The addresses asked for, by the id of their subnet: `10.20.0.9`, or with the subnet's prefix length."""
    asked: dict[int, IPAddress] = {}
    subnets = {row.subnet_id: ipaddress.ip_network(row.cidr) for row in place}
    for text in texts:
        try:
            interface = ipaddress.ip_interface(unzoned(text))
        except ValueError:
            raise Invalid(f"{text!r} is not an address", "write it like 10.20.0.9", "addresses") from None
        id = next((id for id, subnet in subnets.items() if interface.ip in subnet), None)
        if id is None:
            cidrs = " and ".join(str(subnet) for subnet in subnets.values())
            raise Invalid(f"address {text} is outside of network {network}", f"choose one in {cidrs}", "addresses")
        if "/" in text and interface.network != subnets[id]:
            raise Invalid(
                f"address {text} has another prefix than subnet {subnets[id]}", f"write {interface.ip}", "addresses"
            )
        for other in asked.values():
            if other.version == interface.version:
                problem = f"{other} and {text} are both IPv{other.version}"
                raise Invalid(problem, "an endpoint has one address of each family: ask for one", "addresses")
        check_usable(interface.ip, subnets[id], "address", "addresses")
        asked[id] = interface.ip
    return asked


def _mac(session: Session, network_id: int, network: str, wanted: str | None, first: IPAddress) -> str:
    own, *others = macs_of(first)
    if wanted is not None:
        chosen = parse_mac(wanted)
        if chosen != own and is_made_of_an_address(chosen):
            problem = f"MAC {chosen} looks like one that Warren derives from an address"
            raise Invalid(problem, "use another range", "mac")
        _refuse_taken_mac(session, chosen, network_id, network)
        return chosen
    if others:
        query = select(Endpoint.mac).where(Endpoint.network_id == network_id, Endpoint.mac.in_([own, *others]))
        taken = set(session.execute(query).scalars())
        return next((mac for mac in (own, *others) if mac not in taken), own)
    return own


def _refuse_taken_interface(session: Session, host_id: int, interface: str, but: Sequence[int]) -> None:
    if interface.startswith("wrn"):
        raise Invalid(f"interface {interface} has a name that Warren gives", "attach the container's end", "interface")
    query = _NAMES.where(Endpoint.host_id == host_id, Endpoint.interface == interface)
    for tenant, name in session.execute(query.where(Endpoint.id.not_in(but))):
        raise Conflict(f"interface {interface} is endpoint {tenant}/{name}'s", "detach that first", "interface")


def _refuse_taken_mac(session: Session, mac: str, network_id: int, network: str) -> None:
    query = _NAMES.where(Endpoint.network_id == network_id, Endpoint.mac == mac)
    for tenant, name in session.execute(query):
        raise Conflict(f"MAC {mac} of network {network} is endpoint {tenant}/{name}'s", "ask for another", "mac")


def _nowhere(session: Session, host_id: int, tenant: str, network: str) -> NotFound:
    if session.get(Host, host_id) is None:
        return NotFound(f"there is no host {host_id}", "create and enrol it", "host")
    if session.execute(select(Tenant.id).where(Tenant.name == tenant)).scalar() is None:
        return NotFound(f"there is no tenant {tenant}", f"create it with `warren tenant create {tenant}`", "network")
    return NotFound(f"there is no network {network}", f"create it with `warren network create {network}`", "network")


def _check_interface(container_id: str, ifname: str, netns: str) -> None:
    if not container_id or len(container_id) > 128 or not container_id.isprintable():
        raise Invalid("a container id has 1 to 128 printable characters", "give the runtime's own", "container_id")
    if not ifname or len(ifname) > 15 or not ifname.isprintable() or "/" in ifname or " " in ifname:
        raise Invalid(f"{ifname!r} is not an interface name", "use 1 to 15 characters, like eth0", "ifname")
    if len(netns) > 255 or not netns.isprintable():
        raise Invalid("the path of a network namespace has at most 255 printable characters", "shorten it", "netns")


def _digest(**values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
