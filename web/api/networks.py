"""Networks over HTTP."""

from __future__ import annotations

from collections.abc import Callable

from apiflask import APIBlueprint
from flask import Response
from sqlalchemy.orm import Session

from db import networks
from db.changes import Transaction
from db.errors import Forbidden
from db.layout import SHARED, Layout
from web import present
from web.api.applied import added, applied, previewable, removed
from web.api.replies import (
    Answer,
    Json,
    conditional,
    idempotent,
    if_match,
    labels_asked,
    listed,
    shown,
)
from web.api.schemas.isolation import ChangedNetwork, ChangeQuery, Gone
from web.api.schemas.network import (
    Network,
    NetworkChange,
    NetworkCreate,
    NetworkPage,
    NetworkQuery,
    SubnetCreate,
    SubnetLayout,
)
from web.auth.access import BODY, SIGHT, TENANT_ADMINS, TENANT_READERS, allow, whoever
from web.auth.principal import MEMBER

blueprint = APIBlueprint("networks", __name__, tag="Networks")


@blueprint.get("/networks")
@allow(TENANT_READERS, by=SIGHT)
@blueprint.input(NetworkQuery, "query", "query")
@blueprint.output(NetworkPage)
def find(query: NetworkQuery) -> Json:
    """List networks"""
    return listed(
        lambda session: networks.find(session, labels=labels_asked(query.label), **query.model_dump(exclude={"label"})),
        present.networks,
    )


@blueprint.post("/networks")
@allow(TENANT_ADMINS, by=BODY)
@blueprint.input(NetworkCreate, arg_name="body")
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(ChangedNetwork, 201)
@idempotent
@previewable
def create(body: NetworkCreate, query: ChangeQuery) -> Answer | Response:
    """Create a network"""
    return added(lambda tx: made(tx, body), query)


def made(tx: Transaction, body: NetworkCreate) -> Json:
    _check_segment(body, lambda: (None, 0))
    network = networks.create(
        tx,
        body.name,
        subnets=body.subnets,
        layout=layout(body, body.plan, body.strict),
        private=body.private,
        isolated=body.isolated,
        broadcast=body.broadcast,
        outbound=body.outbound,
        mtu=body.mtu,
        carried_by=body.transport,
        physical=body.physical,
        vlan=body.vlan,
        cross_subnet=body.cross_subnet,
        labels=body.labels,
        of_pools=body.of_pools,
    )
    return present.network(tx.session, network)


@blueprint.get("/networks/<tenant>/<network>")
@allow(TENANT_READERS)
@blueprint.output(Network)
def get(tenant: str, network: str) -> Answer:
    """Show a network"""
    return shown(lambda session: present.network(session, networks.get(session, f"{tenant}/{network}")))


@blueprint.patch("/networks/<tenant>/<network>")
@allow(TENANT_ADMINS)
@blueprint.input(NetworkChange, arg_name="body")
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(ChangedNetwork)
@conditional
@previewable
def update(tenant: str, network: str, body: NetworkChange, query: ChangeQuery) -> Answer | Response:
    """Change a network"""
    return applied(lambda tx: altered(tx, f"{tenant}/{network}", body, if_match()), query)


def _check_segment(body: NetworkCreate | NetworkChange, now: Callable[[], tuple[str | None, int]]) -> None:
    """Only administrators give a network another segment or tag than it has `now`: no isolation keeps its endpoints
    from the machines there."""
    if whoever().role != MEMBER or (body.physical is None and body.vlan is None):
        return
    physical, vlan = now()
    if body.physical not in (None, physical) or body.vlan not in (None, vlan):
        problem = "only administrators put networks on physical segments"
        raise Forbidden(problem, "ask one for such a network", "physical")


def _segment(session: Session, name: str) -> tuple[str | None, int]:
    network = networks.get(session, name)
    return network.physical.name if network.physical else None, network.vlan or 0


def altered(tx: Transaction, name: str, body: NetworkChange, version: int | None) -> Json:
    _check_segment(body, lambda: _segment(tx.session, name))
    # Said and null is "no MTU of its own"; not said is "as it is".
    mtu = (body.mtu or 0) if "mtu" in body.model_fields_set else None
    network = networks.update(
        tx,
        name,
        labels=body.labels,
        mtu=mtu,
        isolated=body.isolated,
        broadcast=body.broadcast,
        outbound=body.outbound,
        carried_by=body.transport,
        physical=body.physical,
        vlan=body.vlan,
        cross_subnet=body.cross_subnet,
        ranges=body.ip_ranges,
        excludes=body.excludes,
        strict=body.strict,
        version=version,
    )
    return present.network(tx.session, network)


@blueprint.post("/networks/<tenant>/<network>/subnets")
@allow(TENANT_ADMINS)
@blueprint.input(SubnetCreate, arg_name="body")
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(ChangedNetwork, 201)
@idempotent
@previewable
def add_subnet(tenant: str, network: str, body: SubnetCreate, query: ChangeQuery) -> Answer | Response:
    """Add a subnet to a network"""
    return added(lambda tx: extended(tx, f"{tenant}/{network}", body), query)


def extended(tx: Transaction, name: str, body: SubnetCreate) -> Json:
    given = layout(body, SHARED, strict=False)
    return present.network(tx.session, networks.add_subnet(tx, name, body.subnet, family=body.family, layout=given))


@blueprint.delete("/networks/<tenant>/<network>/subnets/<address>/<int:prefix>")
@allow(TENANT_ADMINS)
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(Gone)
@previewable
def remove_subnet(tenant: str, network: str, address: str, prefix: int, query: ChangeQuery) -> Answer | Response:
    """Remove a subnet of a network

    Refused while an endpoint has an address of it, or declares one.
    """
    return removed(lambda tx: networks.remove_subnet(tx, f"{tenant}/{network}", f"{address}/{prefix}"), query)


def layout(body: SubnetLayout, plan: str, strict: bool) -> Layout:
    return Layout(
        gateways=body.gateways,
        ranges=body.ip_ranges,
        excludes=body.excludes,
        aux=body.aux_addresses,
        plan=plan,
        block_sizes=body.block_sizes,
        strict=strict,
    )


@blueprint.delete("/networks/<tenant>/<network>")
@allow(TENANT_ADMINS)
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(Gone)
@conditional
@previewable
def delete(tenant: str, network: str, query: ChangeQuery) -> Answer | Response:
    """Delete a network"""
    return removed(lambda tx: networks.delete(tx, f"{tenant}/{network}", version=if_match()), query)
