"""Networks: segments with their subnets. Decides VNIs, zones and MTUs, and when a network may go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session, contains_eager, joinedload, selectinload, undefer, undefer_group

from db import allocate, allowed, collisions, host_ports, quotas, relayout, segments, subnetting, transport, zones
from db.addressing import IPNetwork
from db.changes import Transaction
from db.collisions import Place
from db.errors import CollidesElsewhere, Conflict, Invalid, NotFound
from db.labels import changed_labels, valid_labels
from db.layout import PLAIN, Layout
from db.names import qualified
from db.pages import Page, Sort, containing, having_labels, moment, number, page
from db.rows import assign, check_version, shortened
from db.tables import Address, Endpoint, Network, Pool, Shared, Subnet, Tenant
from db.wanted import goes_out

_FEWER = "remove a network"


def create(
    tx: Transaction,
    name: str,
    *,
    subnets: Sequence[str] | None = None,
    layout: Layout = PLAIN,
    private: bool = False,
    isolated: bool = False,
    broadcast: bool = False,
    outbound: bool = True,
    mtu: int | None = None,
    carried_by: str = transport.DEFAULT.name,
    physical: str | None = None,
    vlan: int | None = None,
    cross_subnet: bool = False,
    labels: Mapping[str, str] | None = None,
    of_pools: bool = False,
) -> Network:
    """`carried_by` names a transport. Without `subnets` the network gets one of each family out of the pools; with
    `of_pools` they may be subnets that pools give out. A vlan
    network sits on the segment `physical` with the tag `vlan`, or 0; its gateways are outside routers, if any."""
    session = tx.session
    tenant_name, short = qualified(name, "network")
    chosen = subnetting.parse(subnets or (), name)
    tunnels = transport.used(session)
    network = Network(
        name=short,
        private=private,
        isolated=isolated,
        broadcast=broadcast,
        outbound=outbound,
        mtu=_valid_mtu(mtu, chosen),
        transport=transport.valid(carried_by),
        cross_subnet=cross_subnet,
        labels=valid_labels(labels),
    )
    network.plan, network.strict = layout.plan, layout.strict
    # Always zone before VNI, as a new tenant does: two who lock them the other way round would wait for each other.
    if isolated:
        network.zone = zones.take(tx, _FEWER)
    # The pool's row is the turn of everyone who creates a network: overlaps are looked for by one at a time.
    session.execute(select(Pool.id).where(Pool.id == Shared.VNI).with_for_update())
    tenant = session.execute(select(Tenant).where(Tenant.name == tenant_name)).scalar_one_or_none()
    if tenant is None:
        raise NotFound(
            f"network {name}: there is no tenant {tenant_name}",
            f"create it with `warren tenant create {tenant_name}`",
            "name",
        )
    same = select(Network.id).where(Network.tenant_id == tenant.id, Network.name == short)
    if session.execute(same).scalar() is not None:
        raise Conflict(f"network {name} exists already", "choose another name", "name")
    quotas.take(session, tenant.id, tenant.quota, {"networks": 1})
    network.tenant = tenant
    transport.check(network)
    if not isolated:
        network.zone = tenant.zone
    network.physical = segments.place(session, carried_by, physical, vlan, None)
    network.vlan = vlan or 0
    network.vni = allocate.claim(session, Shared.VNI, tx.now, what="the range of VNIs", remedy=_FEWER)
    place = Place(tenant.id, network.zone, private, isolated)
    layout = layout._replace(external=network.physical is not None)
    network.subnets = subnetting.make(tx, name, place, chosen, layout, of_pools)
    session.add(network)
    session.flush()
    tx.record("network", network.id, "create", tenant_id=tenant.id)
    transport.record_tunnels(tx, tunnels)
    return network


def get(session: Session, name: str) -> Network:
    tenant_name, short = qualified(name, "network", "network")
    query = _query().where(Tenant.name == tenant_name, Network.name == short)
    network = session.execute(query).unique().scalar_one_or_none()
    if network is None:
        raise NotFound(f"there is no network {name}", f"create it with `warren network create {name}`", "network")
    return network


def find(
    session: Session,
    *,
    tenant: str | None = None,
    labels: Mapping[str, str] | None = None,
    text: str | None = None,
    sort: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
) -> Page[Network]:
    """`text` is part of the qualified name or of a subnet. `sort` is by "name", "endpoints" or "created"."""
    query = _query().where(*which(tenant=tenant, labels=labels, text=text))
    order = Tenant.name, Network.name
    return page(session, query, order, lambda row: row.qualified_name, cursor, limit, sort, SORTS)


def count(session: Session, **wanted: Any) -> int:
    """How many `find` has in all its pages."""
    query = select(func.count()).select_from(Network).join(Network.tenant)
    return session.execute(query.where(*which(**wanted))).scalar_one()


def which(
    *, tenant: str | None = None, labels: Mapping[str, str] | None = None, text: str | None = None
) -> list[ColumnElement[bool]]:
    """The conditions, where its tenant is joined."""
    wanted = [*having_labels(Network.labels, labels), *having_text(text)]
    return wanted if tenant is None else [*wanted, Tenant.name == tenant]


SORTS = {
    "endpoints": Sort(Network.endpoint_count, lambda row: row.endpoint_count, number),
    "created": Sort(Network.created_at, lambda row: row.created_at.isoformat(), moment),
}


def having_text(text: str | None) -> list[ColumnElement[bool]]:
    if not text:
        return []
    subnets = select(Subnet.id).where(Subnet.network_id == Network.id, *containing(text, Subnet.cidr))
    return [or_(*containing(text, Tenant.name + "/" + Network.name), subnets.exists())]


def update(
    tx: Transaction,
    name: str,
    *,
    labels: Mapping[str, str | None] | None = None,
    mtu: int | None = None,
    isolated: bool | None = None,
    broadcast: bool | None = None,
    outbound: bool | None = None,
    carried_by: str | None = None,
    physical: str | None = None,
    vlan: int | None = None,
    cross_subnet: bool | None = None,
    ranges: Sequence[str] | None = None,
    excludes: Sequence[str] | None = None,
    strict: bool | None = None,
    version: int | None = None,
) -> Network:
    """`mtu` 0 takes the network's own away. `isolated` gives it a zone of its own, or its tenant's again. `carried_by`
    moves it to another transport while it is used, `physical` and `vlan` to another segment or tag. `ranges` and
    `excludes` are all that it has from now on."""
    if isolated is not None:
        zones.take_turn(tx.session)
    network = get(tx.session, name)
    check_version(network, version, f"network {name}")
    values: dict[str, object] = {"labels": changed_labels(network.labels, labels or {})}
    if mtu is not None:
        values["mtu"] = _valid_mtu(mtu or None, [subnet.ip_network for subnet in network.subnets])
    tunnels = transport.used(tx.session)
    if broadcast is not None:
        values["broadcast"] = broadcast
    if outbound is not None:
        values["outbound"] = outbound
    if carried_by is not None and transport.valid(carried_by) != network.transport:
        values |= {"transport": carried_by, "cross_subnet": False}
    if cross_subnet is not None:
        values["cross_subnet"] = cross_subnet
    if carried_by is not None or physical is not None or vlan is not None:
        values |= _carried(tx.session, network, carried_by, physical, vlan)
    left, open_before = network.zone, goes_out(network)
    if isolated is not None and isolated != network.isolated:
        values |= {"isolated": isolated, "zone": zones.take(tx, _FEWER) if isolated else network.tenant.zone}
    if assign(network, **values):
        transport.check(network)
        tx.session.flush()
        tx.record("network", network.id, "update", tenant_id=network.tenant_id)
        transport.check_hosts(tx.session, network)
        transport.record_tunnels(tx, tunnels)
        if goes_out(network) != open_before:
            host_ports.turned(tx, network)
    if (ranges, excludes, strict) != (None,) * 3 and relayout.change(tx, network, ranges, excludes, strict):
        _changed(tx, network)
    if network.zone != left:
        zones.leave(tx, left)
        _refuse_collisions(tx.session, network)
    return network


def _carried(
    session: Session, network: Network, carried_by: str | None, physical: str | None, vlan: int | None
) -> dict[str, object]:
    """Another transport, segment or tag. What is not said stays, where it still means something."""
    then = transport.valid(carried_by or network.transport)
    on_segment = network.physical is not None and then == network.transport
    if on_segment and network.physical is not None:
        physical, vlan = physical or network.physical.name, network.vlan if vlan is None else vlan
    session.execute(select(Pool.id).where(Pool.id == Shared.VNI).with_for_update())
    row = segments.place(session, then, physical, vlan, network.id)
    if row is None and network.physical is not None and not network.private:
        for subnet in network.subnets:
            subnetting.refuse_hosts_own(session, network.qualified_name, subnet.ip_network)
    if row is None and any(subnet.gateway is None for subnet in network.subnets):
        raise Conflict(
            f"network {network.qualified_name} has no gateway, and {then} networks need one",
            "create a network with one",
            "transport",
        )
    return {"transport": then, "physical": row, "vlan": vlan or 0}


def delete(tx: Transaction, name: str, *, version: int | None = None) -> None:
    """Frees the network's VNI, zone and block; refused while it holds endpoints."""
    session = tx.session
    network = get(session, name)
    check_version(network, version, f"network {name}")
    # Whoever attaches an endpoint holds the row against this lock.
    session.execute(select(Network.id).where(Network.id == network.id).with_for_update())
    held = select(Endpoint.name).where(Endpoint.network_id == network.id).order_by(Endpoint.name)
    if names := [f"{network.tenant.name}/{endpoint}" for endpoint in session.execute(held).scalars()]:
        raise Conflict(f"network {name} has endpoints: {shortened(names)}", "remove the endpoints first", "network")
    tunnels = transport.used(session)
    session.delete(network)
    session.flush()
    for subnet in network.subnets:
        subnetting.forget(tx, subnet)
    if network.isolated:
        zones.leave(tx, network.zone)
    allocate.release(session, Shared.VNI, network.vni, tx.now)
    tx.record("network", network.id, "delete", tenant_id=network.tenant_id)
    transport.record_tunnels(tx, tunnels)


def add_subnet(tx: Transaction, name: str, subnet: str | None, *, family: int = 4, layout: Layout = PLAIN) -> Network:
    """One more subnet of the same segment; of a pool of `family` when none is chosen."""
    zones.take_turn(tx.session)
    network = get(tx.session, name)
    there = [one.cidr for one in network.subnets]
    external = network.physical is not None
    layout = layout._replace(plan=network.plan, strict=network.strict, external=external)
    if subnet is None:
        made = subnetting.carve(tx, name, [family], layout)
        subnetting.parse([*there, *(one.cidr for one in made)], name)
    else:
        place = Place(network.tenant_id, network.zone, network.private, network.isolated)
        made = subnetting.make(tx, name, place, subnetting.parse([subnet, *there], name)[:1], layout)
    _valid_mtu(network.mtu, [one.ip_network for one in (*made, *network.subnets)])
    network.subnets.extend(made)
    return _changed(tx, network)


def remove_subnet(tx: Transaction, name: str, cidr: str) -> Network:
    """Refused while an endpoint has an address of it or declares one, or when it is the last."""
    zones.take_turn(tx.session)
    network = get(tx.session, name)
    tx.session.execute(select(Network.id).where(Network.id == network.id).with_for_update())
    subnet = next((one for one in network.subnets if one.cidr == cidr), None)
    if subnet is None:
        cidrs = ", ".join(one.cidr for one in network.subnets)
        raise NotFound(f"network {name} has no subnet {cidr}", f"it has {cidrs}", "subnet")
    if len(network.subnets) == 1:
        raise Conflict(f"{cidr} is the only subnet of network {name}", "add another one first", "subnet")
    held = select(Tenant.name + "/" + Endpoint.name).join(Endpoint).join(Address).where(Address.subnet_id == subnet.id)
    users = {*tx.session.execute(held).scalars(), *allowed.declarers(tx.session, network.id, subnet.ip_network)}
    if names := sorted(users):
        problem = f"subnet {cidr} of network {name} is in use by {shortened(names)}"
        raise Conflict(problem, "remove the endpoints first, or what they declare", "subnet")
    tx.session.delete(subnet)
    tx.session.flush()
    tx.session.expire(network, ["subnets"])
    subnetting.forget(tx, subnet)
    return _changed(tx, network)


def _changed(tx: Transaction, network: Network) -> Network:
    network.updated_at = tx.now  # so that it gets a new version
    tx.session.flush()
    tx.record("network", network.id, "update", tenant_id=network.tenant_id)
    return network


def _query() -> Select[Network]:
    return (
        select(Network)
        .join(Network.tenant)
        .options(
            contains_eager(Network.tenant),
            selectinload(Network.subnets).options(undefer(Subnet.used), joinedload(Subnet.address_pool)),
            undefer_group("counts"),
        )
    )


def _valid_mtu(mtu: int | None, subnets: list[IPNetwork]) -> int | None:
    least = 1280 if not subnets or any(subnet.version == 6 for subnet in subnets) else 576
    if mtu is not None and not least <= mtu <= 65535:
        raise Invalid(f"MTU {mtu} is not possible", f"use {least} to 65535", "mtu")
    return mtu


def _refuse_collisions(session: Session, network: Network) -> None:
    """After a network came to another zone."""
    name, place = network.qualified_name, Place(network.tenant_id, network.zone, network.private, network.isolated)
    for subnet in network.subnets:
        if found := collisions.find(session, place, subnet.ip_network):
            problem = f"network {name} cannot be routed: its subnet {subnet.cidr} {found.sentence}"
            discreet = f"network {name} cannot be routed: its subnet {subnet.cidr} {subnetting.ELSEWHERE}"
            raise CollidesElsewhere(problem, "leave it isolated", "isolated", discreet)
