"""Networks: segments with their subnets. Decides VNIs, zones and gateways, and whose addresses may overlap whose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, ScalarSelect, Select, case, func, or_, select
from sqlalchemy.orm import Session, contains_eager, selectinload, undefer, undefer_group

from db import allocate, collisions, quotas, zones
from db.addressing import (
    IPAddress,
    IPNetwork,
    automatic,
    bounds,
    check_usable,
    offset_of,
    overlap,
    parse_gateway,
    parse_subnet,
    usable,
)
from db.changes import Transaction
from db.collisions import Place
from db.errors import CollidesElsewhere, Conflict, Invalid, NotFound
from db.labels import changed_labels, valid_labels
from db.names import qualified
from db.pages import Page, containing, having_labels, page
from db.rows import assign, check_version, shortened
from db.settings import cluster_pool
from db.tables import Endpoint, Host, Network, Pool, Shared, Subnet, Tenant

ADDRESS_REST_SECONDS = 5
"""How long a freed address is given to nobody. A subnet is used up before any address comes twice, so this
matters to small and full subnets only; there it must not starve a runtime that starts and stops containers."""

UNDERLAY_MTU = 1500
VXLAN_OVERHEAD = {4: 50, 6: 70}
"""Bytes a tunnel adds, by the address family of its ends."""

_FEWER = "remove a network"
_ELSEWHERE = "is in use elsewhere"


def create(
    tx: Transaction,
    name: str,
    *,
    subnets: Sequence[str] | None = None,
    gateways: Sequence[str] = (),
    private: bool = False,
    isolated: bool = False,
    mtu: int | None = None,
    labels: Mapping[str, str] | None = None,
) -> Network:
    """Without `subnets` the network gets one of each family of the cluster pool."""
    session = tx.session
    tenant_name, short = qualified(name, "network")
    chosen = [parse_subnet(text) for text in subnets or ()]
    _check_families(name, chosen)
    network = Network(
        name=short, private=private, isolated=isolated, mtu=_valid_mtu(mtu, chosen), labels=valid_labels(labels)
    )
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
    if not isolated:
        network.zone = tenant.zone
    network.vni = allocate.claim(session, Shared.VNI, tx.now, what="the range of VNIs", remedy=_FEWER)
    blocks: list[int | None] = [None] * len(chosen)
    if chosen:
        for subnet in chosen:
            _refuse_overlap(session, name, Place(tenant.id, network.zone, private, isolated), subnet)
    else:
        chosen, blocks = _carve(tx, name)
    at = _gateways(chosen, gateways)
    network.subnets = [_subnet(tx, subnet, at[subnet], block) for subnet, block in zip(chosen, blocks, strict=True)]
    session.add(network)
    session.flush()
    tx.record("network", network.id, "create", tenant_id=tenant.id)
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
    cursor: str | None = None,
    limit: int = 100,
) -> Page[Network]:
    """`text` is part of the qualified name or of a subnet."""
    query = _query().where(*having_labels(Network.labels, labels), *having_text(text))
    if tenant is not None:
        query = query.where(Tenant.name == tenant)
    return page(session, query, (Tenant.name, Network.name), lambda row: row.qualified_name, cursor, limit)


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
    version: int | None = None,
) -> Network:
    """`mtu` 0 takes the network's own away. `isolated` gives it a zone of its own, or its tenant's again."""
    if isolated is not None:
        zones.take_turn(tx.session)
    network = get(tx.session, name)
    check_version(network, version, f"network {name}")
    values: dict[str, object] = {"labels": changed_labels(network.labels, labels or {})}
    if mtu is not None:
        values["mtu"] = _valid_mtu(mtu or None, [subnet.ip_network for subnet in network.subnets])
    left = network.zone
    if isolated is not None and isolated != network.isolated:
        values |= {"isolated": isolated, "zone": zones.take(tx, _FEWER) if isolated else network.tenant.zone}
    if assign(network, **values):
        tx.session.flush()
        tx.record("network", network.id, "update", tenant_id=network.tenant_id)
    if network.zone != left:
        zones.leave(tx, left)
        _refuse_collisions(tx.session, network)
    return network


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
    session.delete(network)
    session.flush()
    for subnet in network.subnets:
        allocate.delete_pool(session, subnet.pool_id)
        if subnet.block is not None:
            pool = Shared.CLUSTER4 if subnet.family == 4 else Shared.CLUSTER6
            allocate.release(session, pool, subnet.block, tx.now)
    if network.isolated:
        zones.leave(tx, network.zone)
    allocate.release(session, Shared.VNI, network.vni, tx.now)
    tx.record("network", network.id, "delete", tenant_id=network.tenant_id)


def overlay_mtu() -> ScalarSelect[int]:
    """What the tunnels of the host with the smallest underlay leave; one network has one MTU on all hosts."""
    overhead = case((Host.address.like("%:%"), VXLAN_OVERHEAD[6]), else_=VXLAN_OVERHEAD[4])
    return select(func.coalesce(func.min(Host.mtu - overhead), UNDERLAY_MTU - VXLAN_OVERHEAD[4])).scalar_subquery()


def default_mtu(session: Session) -> int:
    """The MTU of every network that has none of its own."""
    return session.execute(select(overlay_mtu())).scalar_one()


def size(subnet: Subnet) -> int:
    """How many endpoints a subnet has room for: its usable addresses but for the gateway's."""
    first, last = usable(subnet.ip_network)
    return last - first


def _query() -> Select[Network]:
    return (
        select(Network)
        .join(Network.tenant)
        .options(
            contains_eager(Network.tenant),
            selectinload(Network.subnets).options(undefer(Subnet.used)),
            undefer_group("counts"),
        )
    )


def _check_families(name: str, subnets: list[IPNetwork]) -> None:
    for version in (4, 6):
        if len(same := [str(subnet) for subnet in subnets if subnet.version == version]) > 1:
            raise Invalid(
                f"network {name}: {' and '.join(same)} are both IPv{version}",
                "give one subnet per address family, or create two networks",
                "subnets",
            )


def _valid_mtu(mtu: int | None, subnets: list[IPNetwork]) -> int | None:
    least = 1280 if not subnets or any(subnet.version == 6 for subnet in subnets) else 576
    if mtu is not None and not least <= mtu <= 65535:
        raise Invalid(f"MTU {mtu} is not possible", f"use {least} to 65535", "mtu")
    return mtu


def _refuse_overlap(session: Session, name: str, place: Place, subnet: IPNetwork) -> None:
    for carving in cluster_pool(session):
        if overlap(carving.whole, subnet):
            raise Conflict(
                f"network {name}: subnet {subnet} overlaps the cluster pool {carving.whole}",
                "choose another subnet, or leave it out to get one of the pool",
                "subnets",
            )
    low, high = bounds(subnet)
    query = (
        select(Subnet.cidr, Network.name, Network.tenant_id, Tenant.name)
        .join(Network, Network.id == Subnet.network_id)
        .join(Tenant, Tenant.id == Network.tenant_id)
        .where(Subnet.family == subnet.version, Subnet.low <= high, Subnet.high >= low)
    )
    # A private network keeps to its own tenant, so it is in nobody else's way.
    own = Network.tenant_id == place.tenant_id
    query = query.where(own if place.private else or_(own, Network.private.is_(False)))
    for cidr, other, owner, tenant in session.execute(query.order_by(own.desc(), Subnet.id).limit(1)):
        problem = f"network {name}: subnet {subnet} overlaps {cidr} of network {tenant}/{other}"
        if owner == place.tenant_id:
            raise Conflict(problem, "choose another subnet", "subnets")
        remedy = "choose another subnet or create it with --private"
        raise CollidesElsewhere(problem, remedy, "subnets", f"network {name}: subnet {subnet} {_ELSEWHERE}")
    if found := collisions.find(session, place, subnet):
        remedy = "choose another subnet" + (" or create it with --isolated" if place.private else "")
        problem, discreet = (f"network {name}: subnet {subnet} {said}" for said in (found.sentence, _ELSEWHERE))
        raise CollidesElsewhere(problem, remedy, "subnets", discreet)


def _refuse_collisions(session: Session, network: Network) -> None:
    """After a network came to another zone."""
    name, place = network.qualified_name, Place(network.tenant_id, network.zone, network.private, network.isolated)
    for subnet in network.subnets:
        if found := collisions.find(session, place, subnet.ip_network):
            problem = f"network {name} cannot be routed: its subnet {subnet.cidr} {found.sentence}"
            discreet = f"network {name} cannot be routed: its subnet {subnet.cidr} {_ELSEWHERE}"
            raise CollidesElsewhere(problem, "leave it isolated", "isolated", discreet)


def _carve(tx: Transaction, name: str) -> tuple[list[IPNetwork], list[int | None]]:
    subnets: list[IPNetwork] = []
    blocks: list[int | None] = []
    for carving in cluster_pool(tx.session):
        block = allocate.claim(
            tx.session,
            carving.pool_id,
            tx.now,
            what=f"network {name}: the cluster pool {carving.whole}",
            remedy="choose a subnet with --subnet",
        )
        subnets.append(carving.block(block))
        blocks.append(block)
    return subnets, blocks


def _gateways(subnets: list[IPNetwork], texts: Sequence[str]) -> dict[IPNetwork, IPAddress]:
    """Each subnet's gateway: the one given for it, or its first usable address."""
    found: dict[IPNetwork, IPAddress] = {subnet: subnet[usable(subnet)[0]] for subnet in subnets}
    for text in texts:
        gateway = parse_gateway(text)
        subnet = next((subnet for subnet in subnets if subnet.version == gateway.version), None)
        if subnet is None:
            raise Invalid(f"gateway {gateway} has no IPv{gateway.version} subnet", "give the subnet, too", "gateways")
        check_usable(gateway, subnet, "gateway", "gateways")
        found[subnet] = gateway
    return found


def _subnet(tx: Transaction, subnet: IPNetwork, gateway: IPAddress, block: int | None) -> Subnet:
    first, last = automatic(subnet)
    pool_id = allocate.create_pool(tx.session, "address", first, last, ADDRESS_REST_SECONDS)
    allocate.claim_exact(tx.session, pool_id, offset_of(gateway, subnet))
    low, high = bounds(subnet)
    return Subnet(
        family=subnet.version, cidr=str(subnet), low=low, high=high, gateway=str(gateway), pool_id=pool_id, block=block
    )
