"""Attach and detach: a container's interface gets its ofport, addresses and MAC, or gives them back.

The hot path of the whole database: the statements are built once, and an attach answers everything the agent
needs without reading it again. Everything happens in the caller's transaction, or nothing.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import and_, bindparam, delete, func, insert, or_, select
from sqlalchemy.orm import Session

from db import allocate, quotas, wanted
from db.addressing import IPAddress, check_usable, is_made_of_an_address, mac_of, offset_of, parse_mac
from db.changes import Transaction
from db.errors import Conflict, Invalid, NotFound
from db.labels import valid_labels, valid_ports
from db.names import dns_label, qualified
from db.networks import overlay_mtu
from db.tables import Address, Endpoint, Host, Network, Subnet, Tenant, port_name
from db.wanted import WantedEndpoint

# Locks both rows before anything else: two attaches on one host do not look past each other, and whoever deletes the
# network waits or is waited for, never both. On SQLite writers take turns anyway.
_PLACE = (
    select(
        Host.name.label("host"),
        Host.pool_id.label("ofports"),
        Tenant.id.label("tenant_id"),
        Tenant.quota,
        Network.id.label("network_id"),
        func.coalesce(Network.mtu, overlay_mtu()).label("mtu"),
        Subnet.id.label("subnet_id"),
        Subnet.cidr,
        Subnet.gateway,
        Subnet.pool_id,
    )
    .select_from(Network)
    .join(Tenant, Tenant.id == Network.tenant_id)
    .join(Subnet, Subnet.network_id == Network.id)
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
_FIND = select(Endpoint.id).where(_SAME_INTERFACE)
_HELD = (
    select(
        Endpoint.tenant_id,
        Endpoint.host_id,
        Endpoint.ofport,
        Host.pool_id.label("ofports"),
        Address.ip,
        Subnet.cidr,
        Subnet.pool_id,
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
) -> Attached:
    """The endpoint of that interface. Asking again for the same finds it; for something else is refused."""
    session = tx.session
    tenant, short_network = qualified(network, "network", "network")
    dns_label(name, "endpoint")
    _check_interface(container_id, ifname, netns)
    values = {"labels": valid_labels(labels), "ports": valid_ports(ports)}
    request = _digest(network=network, name=name, netns=netns, addresses=list(addresses), mac=mac, **values)

    place: Sequence[Any] = session.execute(
        _PLACE, {"host_id": host_id, "tenant": tenant, "network": short_network}
    ).all()
    if not place:
        raise _nowhere(session, host_id, tenant, network)
    at = place[0]
    keys = {"host_id": host_id, "container_id": container_id, "ifname": ifname}
    taken: Sequence[Any] = session.execute(_TAKEN, {**keys, "tenant_id": at.tenant_id, "name": name}).all()
    if known := _known(taken, f"{tenant}/{name}", request):
        return Attached(wanted.endpoint(session, known), created=False)

    quotas.take(session, at.tenant_id, at.quota, {"endpoints": 1, "addresses": len(place)})
    asked = _asked(addresses, place, network)
    ofport = allocate.claim(
        session, at.ofports, tx.now, what=f"the range of ofports of host {at.host}", remedy="remove endpoints from it"
    )
    given = [_claim_address(session, tx.now, row, asked.get(row.subnet_id), network) for row in place]
    own_mac = mac_of(given[0][0])
    if mac is not None:
        own_mac = _chosen_mac(parse_mac(mac), own_mac)
    if mac is not None or (asked and given[0][0].version == 6):  # what Warren gives by itself is free
        _refuse_taken_mac(session, own_mac, at.network_id, network)
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
            "request": request,
            "created_at": tx.now,
            "updated_at": tx.now,
        },
    ).scalar_one()
    session.execute(
        _INSERT_ADDRESSES,
        [
            {"subnet_id": row.subnet_id, "ip": str(ip), "prefix": prefix, "endpoint_id": endpoint_id}
            for row, (ip, prefix) in zip(place, given, strict=True)
        ],
    )
    tx.record("endpoint", endpoint_id, "create", tenant_id=at.tenant_id, host_id=host_id)
    endpoint = WantedEndpoint(
        id=endpoint_id,
        name=f"{tenant}/{name}",
        network=network,
        ofport=ofport,
        port_name=port_name(endpoint_id),
        mac=own_mac,
        addresses=[f"{ip}/{prefix}" for ip, prefix in given],
        gateways=[row.gateway for row in place],
        mtu=at.mtu,
        container_id=container_id,
        ifname=ifname,
        netns=netns,
    )
    return Attached(endpoint, created=True)


def find(session: Session, host_id: int, container_id: str, ifname: str) -> WantedEndpoint:
    id = session.execute(_FIND, {"host_id": host_id, "container_id": container_id, "ifname": ifname}).scalar()
    if id is None:
        raise NotFound(f"interface {ifname} of container {container_id} is not attached", "attach it", "container_id")
    return wanted.endpoint(session, id)


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
    session.execute(_DELETE, {"id": endpoint_id})
    first = held[0]
    allocate.release(session, first.ofports, first.ofport, tx.now)
    for row in held:
        offset = offset_of(ipaddress.ip_address(row.ip), ipaddress.ip_network(row.cidr))
        allocate.release(session, row.pool_id, offset, tx.now)
    tx.record("endpoint", endpoint_id, "delete", tenant_id=first.tenant_id, host_id=first.host_id)
    return True


def _known(taken: Sequence[Any], name: str, request: str) -> int | None:
    """The endpoint that is there already, when it is what is asked for."""
    for row in taken:
        if row.same_interface:
            if row.request == request:
                return int(row.id)
            raise Conflict(
                f"interface {row.ifname} of container {row.container_id} on host {row.host} is attached already, "
                f"as endpoint {row.name} and with other parameters",
                "detach it first",
            )
    for row in taken:
        raise Conflict(
            f"endpoint {name} exists already on host {row.host} (container {row.container_id}, {row.ifname})",
            "choose another name or remove that one",
            "name",
        )
    return None


def _asked(texts: Sequence[str], place: Sequence[Any], network: str) -> dict[int, IPAddress]:
    """The addresses asked for, by the id of their subnet: `10.20.0.9`, or with the subnet's prefix length."""
    asked: dict[int, IPAddress] = {}
    for text in texts:
        try:
            interface = ipaddress.ip_interface(text)
        except ValueError:
            raise Invalid(f"{text!r} is not an address", "write it like 10.20.0.9", "addresses") from None
        subnets = {row.subnet_id: ipaddress.ip_network(row.cidr) for row in place}
        id = next((id for id, subnet in subnets.items() if interface.ip in subnet), None)
        if id is None:
            cidrs = " and ".join(str(subnet) for subnet in subnets.values())
            raise Invalid(f"address {text} is outside of network {network}", f"choose one in {cidrs}", "addresses")
        if "/" in text and interface.network != subnets[id]:
            raise Invalid(
                f"address {text} has another prefix than subnet {subnets[id]}", f"write {interface.ip}", "addresses"
            )
        if id in asked:
            raise Invalid(f"{asked[id]} and {text} are both in {subnets[id]}", "ask for one of them", "addresses")
        check_usable(interface.ip, subnets[id], "address", "addresses")
        asked[id] = interface.ip
    return asked


def _claim_address(
    session: Session, now: datetime, row: Any, asked: IPAddress | None, network: str
) -> tuple[IPAddress, int]:
    subnet = ipaddress.ip_network(row.cidr)
    if asked is None:
        offset = allocate.claim(
            session,
            row.pool_id,
            now,
            what=f"subnet {row.cidr} of network {network}",
            remedy="remove endpoints or create another network",
        )
        return subnet[offset], subnet.prefixlen
    if not allocate.claim_exact(session, row.pool_id, offset_of(asked, subnet), go_on=True):
        query = select(Tenant.name, Endpoint.name).join(Endpoint).join(Address)
        holder = session.execute(query.where(Address.subnet_id == row.subnet_id, Address.ip == str(asked))).first()
        whose = f"endpoint {holder[0]}/{holder[1]}'s" if holder else "the gateway's"
        raise Conflict(
            f"address {asked} of network {network} is {whose}",
            "choose another, or leave it out to get one",
            "addresses",
        )
    return asked, subnet.prefixlen


def _chosen_mac(mac: str, own: str) -> str:
    if mac != own and is_made_of_an_address(mac):
        raise Invalid(f"MAC {mac} looks like one that Warren makes of an address", "use one of another range", "mac")
    return mac


def _refuse_taken_mac(session: Session, mac: str, network_id: int, network: str) -> None:
    query = select(Tenant.name, Endpoint.name).join(Endpoint, Endpoint.tenant_id == Tenant.id)
    for tenant, name in session.execute(query.where(Endpoint.network_id == network_id, Endpoint.mac == mac)):
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
