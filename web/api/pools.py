"""Pools and reservations over HTTP. Neither moves a packet, so neither takes a revision."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response

from db import pools, reservations
from web import present
from web.api.applied import added, applied, previewable, removed
from web.api.replies import Answer, Json, conditional, idempotent, if_match, listed, shown
from web.api.schemas.address import (
    Pool,
    PoolChange,
    PoolCreate,
    PoolPage,
    PoolQuery,
    ReservationCreate,
    ReservationQuery,
    Reservations,
    Reserved,
)
from web.api.schemas.isolation import ChangeQuery, Gone, after
from web.auth.access import CHANGERS, READERS, TENANT_ADMINS, TENANT_READERS, allow
from web.state import reading

blueprint = APIBlueprint("pools", __name__, tag="Addresses")
RESERVATIONS = "/networks/<tenant>/<network>/reservations"


@blueprint.get("/pools")
@allow(READERS)
@blueprint.input(PoolQuery, "query", "query")
@blueprint.output(PoolPage)
def find(query: PoolQuery) -> Json:
    """List pools"""
    return listed(
        lambda session: pools.find(session, **query.model_dump() | {"family": query.family and int(query.family)}),
        present.pools,
    )


@blueprint.post("/pools")
@allow(CHANGERS)
@blueprint.input(PoolCreate, arg_name="body")
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(after(Pool), 201)
@idempotent
@previewable
def create(body: PoolCreate, query: ChangeQuery) -> Answer | Response:
    """Create a pool"""
    return added(lambda tx: present.pool(tx.session, pools.create(tx, body.name, body.cidr, prefix=body.prefix)), query)


@blueprint.get("/pools/<pool>")
@allow(READERS)
@blueprint.output(Pool)
def get(pool: str) -> Answer:
    """Show a pool"""
    return shown(lambda session: present.pool(session, pools.get(session, pool)))


@blueprint.patch("/pools/<pool>")
@allow(CHANGERS)
@blueprint.input(PoolChange, arg_name="body")
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(after(Pool))
@conditional
@previewable
def update(pool: str, body: PoolChange, query: ChangeQuery) -> Answer | Response:
    """Enable, disable or drain a pool"""
    return applied(
        lambda tx: present.pool(tx.session, pools.set_state(tx, pool, body.state, version=if_match())),
        query,
        beside=False,
    )


@blueprint.delete("/pools/<pool>")
@allow(CHANGERS)
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(Gone)
@conditional
@previewable
def delete(pool: str, query: ChangeQuery) -> Answer | Response:
    """Delete a pool without subnets in use"""
    return removed(lambda tx: pools.delete(tx, pool, version=if_match()), query)


@blueprint.get(RESERVATIONS)
@allow(TENANT_READERS)
@blueprint.input(ReservationQuery, "query", "query")
@blueprint.output(Reservations)
def reserved(tenant: str, network: str, query: ReservationQuery) -> Json:
    """List the reservations of a network"""
    with reading() as session:
        name = f"{tenant}/{network}"
        found = reservations.find(session, name, **query.model_dump())
        return {"items": present.reservations(name, found.items), "next": found.next}


@blueprint.post(RESERVATIONS)
@allow(TENANT_ADMINS)
@blueprint.input(ReservationCreate, arg_name="body")
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(after(Reserved), 201)
@idempotent
@previewable
def reserve(tenant: str, network: str, body: ReservationCreate, query: ChangeQuery) -> Answer | Response:
    """Reserve addresses for a name"""
    name = f"{tenant}/{network}"
    return added(
        lambda tx: present.reservations(
            name,
            reservations.create(tx, name, body.name, addresses=body.addresses, expires_at=body.expires_at),
        )[0],
        query,
        beside=False,
    )


@blueprint.delete(RESERVATIONS + "/<reservation>")
@allow(TENANT_ADMINS)
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(Gone)
@previewable
def unreserve(tenant: str, network: str, reservation: str, query: ChangeQuery) -> Answer | Response:
    """Delete a reservation

    An endpoint that has its addresses keeps them.
    """
    return removed(lambda tx: reservations.remove(tx, f"{tenant}/{network}", reservation), query)
