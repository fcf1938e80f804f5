"""What can be done with several items of a list at once, and what each of it does to an item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db import endpoints, hosts, isolation, networks, tables, tenants
from db.changes import Transaction
from web import present
from web.api.preview import in_words, reaching
from web.api.replies import Json
from web.api.schemas.endpoint import EndpointChange
from web.auth.access import CHANGERS, TENANT_ADMINS, TENANT_OPERATORS
from web.state import state
from web.ui import hosts as host_pages
from web.ui import tenants as tenant_pages
from web.ui import words
from web.ui.chosen import Bulk, Looked, offered
from web.ui.forms import Field, Values, body, invalid, lines, pairs
from web.ui.nouns import endpoints_seen

LABELS = (Field("labels", "Labels", "lines", "One a line: app=web sets one, app- takes it away.", required=True),)


def relabelling(values: Values) -> dict[str, str | None]:
    """`app=web tier-` to `{"app": "web", "tier": None}`."""
    given = lines(values["labels"])
    gone = [one.removesuffix("-") for one in given if "=" not in one and one.endswith("-")]
    found: dict[str, str | None] = dict(
        pairs("\n".join(one for one in given if "=" in one or one[-1] != "-"), "labels")
    )
    if not given or found.keys() & set(gone):
        raise invalid("labels", "Give the labels to set or to take away, each once.")
    found |= dict.fromkeys(gone)
    return body(EndpointChange, labels=found).labels


def labelling(
    noun: str, roles: frozenset[str], find: Callable[[Session, str], Any], update: Callable[..., Any]
) -> Bulk:
    def look(session: Session, name: str) -> Looked:
        row = find(session, name)
        has = ", ".join(f"{key}={value}" if value else key for key, value in sorted(row.labels.items()))
        return Looked(row.id, name, f"has {has or 'no labels'} now.", row.version)

    def change(tx: Transaction, name: str, version: int, labels: dict[str, str | None]) -> None:
        update(tx, name, labels=labels, version=version)

    title, will = f"Label {noun}", "labelled"
    return Bulk(
        noun, "labelling", "labelled", roles, "Label", title, "Label", will, look, change, LABELS, read=relabelling
    )


def removing(
    noun: str,
    roles: frozenset[str],
    look: Callable[[Session, str], Looked],
    delete: Callable[[Transaction, str, int, Any], object],
    reached: Callable[[Sequence[Looked]], dict[str, str]] | None = None,
) -> Bulk:
    title, will = f"Remove {noun}", "removed"
    return Bulk(
        noun, "removal", "removed", roles, "Remove", title, "Remove", will, look, delete, reached=reached, danger=True
    )


def _endpoint(session: Session, name: str) -> Looked:
    row = endpoints.get(session, name)
    (item,) = endpoints_seen(session, [row])
    addresses = ", ".join(address.partition("/")[0] for address in item["addresses"])
    runs = {"up": "it is up, and loses its network at once", "down": "its port is down"}
    said = "its host is silent" if item["out_of_sight"] else runs.get(item["state"], "it is not up yet")
    where = f"{item['container_id']} on {item['host']}"
    breaks = f"{said}; the container {where} stays without it; {addresses} become free."
    return Looked(row.id, name, breaks, row.version)


def _reached(gone: Sequence[Looked]) -> dict[str, str]:
    world = state().modelled.now()
    there = [world.endpoints[one.id] for one in gone if one.id in world.endpoints]
    return {one.endpoint: in_words(one) for one in reaching(world, there)}


def _network(session: Session, name: str) -> Looked:
    row = networks.get(session, name)
    (item,) = present.networks(session, [row])
    subnets = ", ".join(subnet["cidr"] for subnet in item["subnets"])
    if item["endpoints"]:
        keeps = f"it has {words.many(item['endpoints'], 'endpoint')}; remove them first."
        return Looked(row.id, name, "", row.version, keeps)
    also = [
        words.many(count, what)
        for table, what in ((tables.DnsRecord, "DNS record"), (tables.Reservation, "reserved address"))
        if (count := _held(session, table, row))
    ]
    more = f", with {' and '.join(also)}" if also else ""
    return Looked(row.id, name, f"{subnets} become free{more}.", row.version)


def _held(session: Session, table: Any, network: tables.Network) -> int:
    query = select(func.count()).select_from(table)
    if table is tables.Reservation:
        query = query.join(tables.Subnet, tables.Subnet.id == table.subnet_id).where(
            tables.Subnet.network_id == network.id
        )
    else:
        query = query.where(table.network_id == network.id)
    return int(session.execute(query).scalar_one())


def _tenant(said: Callable[[Json], Sequence[str]], otherwise: str) -> Callable[[Session, str], Looked]:
    def look(session: Session, name: str) -> Looked:
        row = tenants.get(session, name)
        item = present.tenant(session, row)
        return Looked(row.id, name, " ".join(said(item)) or otherwise, row.version)

    return look


def _host(session: Session, name: str) -> Looked:
    row = hosts.get(session, name)
    lost = " ".join(host_pages.lost_with(present.host(row)))
    return Looked(row.id, name, lost or "it holds no endpoints.", row.version)


TENANTS = (
    labelling("tenants", CHANGERS, tenants.get, tenants.update),
    Bulk(
        "tenants",
        "isolation",
        "isolated",
        CHANGERS,
        "Isolate",
        "Isolate tenants",
        "Isolate",
        "isolated",
        _tenant(tenant_pages.lost_by_isolation, "it has a zone of its own."),
        lambda tx, name, version, _: isolation.isolate(tx, name, version=version),
    ),
    Bulk(
        "tenants",
        "opening",
        "opened",
        CHANGERS,
        "Make global",
        "Make tenants global",
        "Make global",
        "made global",
        _tenant(tenant_pages.lost_by_opening, "every tenant's networks that are not private will reach it."),
        lambda tx, name, version, _: isolation.make_global(tx, name, version=version),
    ),
    removing(
        "tenants",
        CHANGERS,
        _tenant(tenant_pages.lost_with, ""),
        lambda tx, name, version, _: tenants.delete(tx, name, version=version),
    ),
)
NETWORKS = (
    labelling("networks", TENANT_ADMINS, networks.get, networks.update),
    removing(
        "networks", TENANT_ADMINS, _network, lambda tx, name, version, _: networks.delete(tx, name, version=version)
    ),
)
ENDPOINTS = (
    labelling("endpoints", TENANT_OPERATORS, endpoints.get, endpoints.update),
    removing(
        "endpoints",
        TENANT_OPERATORS,
        _endpoint,
        lambda tx, name, version, _: endpoints.delete(tx, name, version=version),
        _reached,
    ),
)
HOSTS = (
    labelling("hosts", CHANGERS, hosts.get, hosts.update),
    removing(
        "hosts",
        CHANGERS,
        _host,
        lambda tx, name, version, _: hosts.delete(tx, name, force=True, version=version),
    ),
)
BULKS = {"tenants": TENANTS, "networks": NETWORKS, "endpoints": ENDPOINTS, "hosts": HOSTS}
for _bulk in (one for bulks in BULKS.values() for one in bulks):
    offered(_bulk)
