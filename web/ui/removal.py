"""Removing several things at once: first a page that says what each of them takes along, then all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from flask import Response, make_response, redirect, request, url_for
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import endpoints, networks, tables
from db.changes import Transaction
from db.errors import Invalid
from web import present
from web.api.preview import in_words, reaching
from web.auth.access import SIGHT, TENANT_ADMINS, TENANT_OPERATORS, allow, sight, unseen
from web.state import changing, reading, state
from web.ui import words
from web.ui.frame import blueprint, render
from web.ui.nouns import endpoints_seen

MOST = 100


class Doomed(NamedTuple):
    """`breaks` is what ends with it; `keeps`, if not empty, why it cannot be removed now; `id`, `version`: of what
    was looked at."""

    id: int
    name: str
    breaks: str
    keeps: str
    version: int


def named() -> list[str]:
    """What the form names, of tenants in which the asker may do this."""
    names = list(dict.fromkeys(request.form.getlist("name")))
    if not names:
        raise Invalid("nothing is chosen", "tick what to remove", "name")
    if len(names) > MOST:
        raise Invalid(f"{len(names)} are too many at once", f"choose {MOST} at most", "name")
    seen = sight()
    for name in names:
        tenant = name.partition("/")[0]
        if seen is not None and tenant not in seen:
            raise unseen(tenant)
    return names


@blueprint.post("/endpoints/removal")
@allow(TENANT_OPERATORS, by=SIGHT)
def endpoints_removal() -> str:
    return confirmation("endpoints", _endpoint, _reached)


@blueprint.post("/networks/removal")
@allow(TENANT_ADMINS, by=SIGHT)
def networks_removal() -> str:
    return confirmation("networks", _network)


@blueprint.post("/endpoints/removed")
@allow(TENANT_OPERATORS, by=SIGHT)
def endpoints_removed() -> Response:
    return remove("endpoints", endpoints.delete)


@blueprint.post("/networks/removed")
@allow(TENANT_ADMINS, by=SIGHT)
def networks_removed() -> Response:
    return remove("networks", networks.delete)


def confirmation(
    noun: str,
    look: Callable[[Session, str], Doomed],
    reached: Callable[[Sequence[Doomed]], dict[str, str]] = lambda gone: {},
) -> str:
    """`reached` says by their names who reaches them now."""
    with reading() as session:
        doomed = [look(session, name) for name in named()]
    kept = [one for one in doomed if one.keeps]
    gone = [one for one in doomed if not one.keeps]
    facts = {"gone": gone, "kept": kept, "lead": lead(noun, gone, kept), "reached": reached(gone)}
    return render("removal.html", noun.capitalize(), noun=noun, **facts)


def lead(noun: str, gone: Sequence[Doomed], kept: Sequence[Doomed]) -> str:
    one = noun.removesuffix("s")
    if not gone:
        return "None of them can be removed now."
    stays = f" {words.many(len(kept), one)} must stay for now." if kept else ""
    return f"{words.many(len(gone), one)} will be removed, all of them or none; this cannot be undone.{stays}"


def remove(noun: str, delete: Callable[..., object]) -> Response:
    names, versions = named(), request.form.getlist("version")
    if len(versions) != len(names) or not all(version.isascii() and version.isdigit() for version in versions):
        raise Invalid("the form is not the one that was shown", "choose again what to remove", "version")

    def each(tx: Transaction) -> None:
        for name, version in zip(names, versions, strict=True):
            delete(tx, name, version=int(version))

    with changing() as tx:
        each(tx)
    return make_response(redirect(url_for(f"ui.{noun}"), 303))


def _endpoint(session: Session, name: str) -> Doomed:
    row = endpoints.get(session, name)
    (item,) = endpoints_seen(session, [row])
    addresses = ", ".join(address.partition("/")[0] for address in item["addresses"])
    runs = {"up": "it is up, and loses its network at once", "down": "its port is down"}
    said = "its host is silent" if item["out_of_sight"] else runs.get(item["state"], "it is not up yet")
    where = f"{item['container_id']} on {item['host']}"
    return Doomed(
        row.id, name, f"{said}; the container {where} stays without it; {addresses} become free.", "", row.version
    )


def _reached(gone: Sequence[Doomed]) -> dict[str, str]:
    world = state().modelled.now()
    there = [world.endpoints[one.id] for one in gone if one.id in world.endpoints]
    return {one.endpoint: in_words(one) for one in reaching(world, there)}


def _network(session: Session, name: str) -> Doomed:
    row = networks.get(session, name)
    (item,) = present.networks(session, [row])
    subnets = ", ".join(subnet["cidr"] for subnet in item["subnets"])
    if item["endpoints"]:
        return Doomed(
            row.id, name, "", f"it has {words.many(item['endpoints'], 'endpoint')}; remove them first.", row.version
        )
    also = [
        words.many(count, what)
        for table, what in ((tables.DnsRecord, "DNS record"), (tables.Reservation, "reserved address"))
        if (count := _held(session, table, row))
    ]
    more = f", with {' and '.join(also)}" if also else ""
    return Doomed(row.id, name, f"{subnets} become free{more}.", "", row.version)


def _held(session: Session, table: Any, network: tables.Network) -> int:
    query = select(func.count()).select_from(table)
    if table is tables.Reservation:
        query = query.join(tables.Subnet, tables.Subnet.id == table.subnet_id).where(
            tables.Subnet.network_id == network.id
        )
    else:
        query = query.where(table.network_id == network.id)
    return int(session.execute(query).scalar_one())
