"""The state of addresses over HTTP: usage, differences, repair; and all usage as metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from apiflask import APIBlueprint
from flask import Response
from sqlalchemy.orm import Session

from db import ipam, networks
from db.changes import current_revision
from web import present
from web.api.applied import live
from web.api.replies import Json, listed
from web.api.schemas.address import Collected, Differences, UsagePage, UsageQuery, Warnings
from web.api.schemas.isolation import ChangeQuery, after
from web.api.traffic import lines as traffic_lines
from web.auth.access import CHANGERS, READERS, allow
from web.state import changing, reading

blueprint = APIBlueprint("ipam", __name__, tag="Addresses")
TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
TEXT: dict[int | str, dict[str, str | dict[str, dict[str, dict[str, str]]]]] = {
    200: {"description": "Gauges.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


@blueprint.get("/ipam")
@allow(READERS)
@blueprint.input(UsageQuery, "query", "query")
@blueprint.output(UsagePage)
def usage(query: UsageQuery) -> Json:
    """Show how full networks are"""
    return listed(
        lambda session: networks.find(session, **query.model_dump()),
        present.address_usage,
    )


@blueprint.get("/ipam/warnings")
@allow(READERS)
@blueprint.output(Warnings)
def warnings() -> Json:
    """List what is nearly full"""
    with reading() as session:
        return {"warnings": ipam.warnings(session, datetime.now(UTC))}


@blueprint.get("/ipam/check")
@allow(READERS)
@blueprint.output(Differences)
def check() -> Json:
    """Compare the database, Open vSwitch and containers

    Lists every difference. Open vSwitch and containers are known from agents' reports, every 10 seconds or sooner.
    """
    with reading() as session:
        return {"items": present.differences(ipam.check(session, datetime.now(UTC)))}


@blueprint.post("/ipam/gc")
@allow(CHANGERS)
@blueprint.input(ChangeQuery, "query", "query")
@blueprint.output(after(Collected))
def collect(query: ChangeQuery) -> Json:
    """Repair differences

    Frees addresses, numbers and blocks that nobody uses, and removes endpoints whose container is gone.
    """
    if query.dry_run:
        with reading() as session:
            found = ipam.check(session, datetime.now(UTC))
            answer = {"items": present.differences(found), "revision": current_revision(session)}
    else:
        with changing() as tx:
            found = ipam.collect(tx)
        answer = {"items": present.differences(found), "revision": tx.revision}
    return answer | live(answer, query)


@blueprint.get("/metrics")
@allow(READERS)
@blueprint.doc(responses=TEXT)
def prometheus() -> Response:
    """Show how full pools and subnets are, and hosts' traffic, in Prometheus' text format"""
    with reading() as session:
        return Response("".join(f"{line}\n" for line in _lines(session)), content_type=TEXT_FORMAT)


def _lines(session: Session) -> Iterator[str]:
    named = ipam.subnets(session)
    by_subnet = ipam.usage(session, [subnet for _, subnet in named], datetime.now(UTC))
    subnets = [(f'network="{name}",subnet="{subnet.cidr}"', by_subnet[subnet.id]) for name, subnet in named]
    pools = [(f'pool="{pool.name}",cidr="{pool.cidr}"', one) for pool, one in ipam.pool_usage(session)]
    blocks = [(f'network="{name}",subnet="{subnet.cidr}"', one) for name, subnet, one in ipam.block_usage(session)]
    yield from traffic_lines(session)
    yield from _family("subnet_addresses", "Addresses that a subnet gives out by itself.", subnets, "size")
    yield from _family("subnet_addresses_used", "Those that endpoints and reservations have.", subnets, "used")
    yield from _family("subnet_blocks", "Blocks of a subnet, where hosts have such.", blocks, "size")
    yield from _family("subnet_blocks_used", "Those that hosts have.", blocks, "used")
    yield from _family("pool_subnets", "Subnets that a pool can give out.", pools, "size")
    yield from _family("pool_subnets_used", "Those that networks have.", pools, "used")


def _family(name: str, help: str, samples: Sequence[tuple[str, ipam.Usage]], field: str) -> Iterator[str]:
    yield f"# HELP warren_{name} {help}"
    yield f"# TYPE warren_{name} gauge"
    for labels, one in samples:
        yield f"warren_{name}{{{labels}}} {getattr(one, field)}"
