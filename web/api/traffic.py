"""Traffic of endpoints, networks and hosts over HTTP: counters, and rates of the last hour."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from apiflask import APIBlueprint
from sqlalchemy import select
from sqlalchemy.orm import Session

from db import endpoints, hosts, networks, tables, traffic
from db.traffic import Count, Total, Tunnel
from web.api.replies import Json
from web.api.schemas.traffic import HostTraffic, Traffic
from web.auth.access import READERS, TENANT_READERS, allow
from web.state import reading, state
from web.traffic import Rates, rates

blueprint = APIBlueprint("traffic", __name__, tag="Traffic")


class Seen(NamedTuple):
    """The counters as they are, and how they grew."""

    total: Total
    rates: Rates

    def document(self) -> Json:
        times = [datetime.fromtimestamp(at, UTC) for at in self.rates.times]
        return {
            "counted_at": self.total.at,
            "received": self.total.received._asdict(),
            "sent": self.total.sent._asdict(),
            "last_hour": {**self.rates._asdict(), "times": times},
        }


def seen(session: Session, placed: Sequence[tuple[int, int]]) -> Seen:
    """Of endpoints by their ids and their hosts'."""
    chosen: dict[int, set[int]] = {}
    for id, host_id in placed:
        chosen.setdefault(host_id, set()).add(id)
    return Seen(traffic.of_endpoints(session, placed), rates(state().history.traffic(), chosen))


@blueprint.get("/endpoints/<tenant>/<endpoint>/traffic")
@allow(TENANT_READERS)
@blueprint.output(Traffic)
def endpoint(tenant: str, endpoint: str) -> Json:
    """Show what an endpoint received and sent"""
    with reading() as session:
        row = endpoints.get(session, f"{tenant}/{endpoint}")
        return seen(session, [(row.id, row.host_id)]).document()


@blueprint.get("/networks/<tenant>/<network>/traffic")
@allow(TENANT_READERS)
@blueprint.output(Traffic)
def network(tenant: str, network: str) -> Json:
    """Show what a network's endpoints received and sent"""
    with reading() as session:
        row = networks.get(session, f"{tenant}/{network}")
        return seen(session, traffic.placed(session, network=row.id)).document()


@blueprint.get("/hosts/<host>/traffic")
@allow(READERS)
@blueprint.output(HostTraffic)
def host(host: str) -> Json:
    """Show what a host's endpoints received and sent, and what went to other hosts"""
    with reading() as session:
        found = seen(session, traffic.placed(session, host=hosts.get(session, host).id)).document()
        tunnels = [{**one._asdict(), "host": one.peer} for one in traffic.tunnels(session, host)]
        for one in tunnels:
            del one["peer"]
    return {**found, "tunnels": tunnels}


def lines(session: Session) -> Iterator[str]:
    """The same of hosts, in Prometheus' text format. Of endpoints there may be tens of thousands: ask for those."""
    names = dict(session.execute(select(tables.Host.id, tables.Host.name).order_by(tables.Host.name)).all())
    totals = {name: traffic.of_endpoints(session, traffic.placed(session, host=id)) for id, name in names.items()}
    for way in ("received", "sent"):
        for what in Count._fields:
            samples = [(f'host="{name}"', getattr(getattr(one, way), what)) for name, one in totals.items()]
            yield from _family(f"host_{way}_{what}", f"What the endpoints of a host {way}.", samples)
    tunnels = traffic.tunnels(session)
    for field in Tunnel._fields[2:]:
        samples = [(f'host="{one.host}",peer="{one.peer}"', getattr(one, field)) for one in tunnels]
        yield from _family(f"tunnel_{field}", "Of a host, to and from another one.", samples)


def _family(name: str, help: str, samples: Iterable[tuple[str, int]]) -> Iterator[str]:
    yield f"# HELP warren_{name}_total {help}"
    yield f"# TYPE warren_{name}_total counter"
    for labels, value in samples:
        yield f"warren_{name}_total{{{labels}}} {value}"
