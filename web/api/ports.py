"""Published ports in words: where they are, why they rest, and which of them a change closes or opens beside itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from controller.calc.gone import going
from controller.model import Change
from controller.pipeline.gateway import is_open
from controller.world import World
from db import endpoints, publications, tables
from web.api.replies import Json
from web.api.selecting import selecting
from web.state import reading, reading_all

MOST_TOLD = 20


def document(row: tables.Publication, problems: Sequence[str] = ()) -> Json:
    return {
        "id": row.id,
        "endpoint": row.endpoint.qualified_name,
        "tenant": row.endpoint.tenant.name,
        "host": row.endpoint.host.name,
        "protocol": row.protocol,
        "host_ip": row.host_ip or None,
        "host_port": row.host_port,
        "port": row.port,
        "count": row.count,
        "mesh": row.mesh > 0,
        "by_runtime": row.by_runtime,
        "problems": list(problems),
        "created_at": row.created_at,
    }


def at(item: Json) -> str:
    """`TCP port 8080 of h1`, `UDP ports 53 to 54 of all hosts by 0.0.0.0`."""
    by = f" by {item['host_ip']}" if item["host_ip"] else ""
    whose = "all hosts" if item["mesh"] else item["host"]
    return f"{item['protocol'].upper()} {span(item['host_port'], item['count'])} of {whose}{by}"


def span(first: int, count: int) -> str:
    return f"port {first}" if count == 1 else f"ports {first} to {first + count - 1}"


def opens(made: Json) -> Sequence[str]:
    """What a port that is published does, and who decides who gets in."""
    name = made["endpoint"]
    with reading_all() as session:
        row = endpoints.get(session, name)
        deciding = [one["name"] for one in selecting(session, row.id) if one["ingress"] is not None]
        closed = "ingress" in row.tenant.default_deny
    said = [f"Whoever reaches {at(made)} reaches {span(made['port'], made['count'])} of {name}."]
    said += made.get("told", [])
    if deciding:
        some = ", ".join(deciding[:3]) + (f" and {len(deciding) - 3} more" if len(deciding) > 3 else "")
        said.append(f"Who gets in is decided by the address that the client has: by {some}.")
    elif closed:
        said.append(f"Nobody gets in yet: {made['tenant']} denies ingress by default, and no policy lets anybody.")
    else:
        said.append(f"Everybody gets in: no policy is about what comes to {name}.")
    return said


def closes(item: Json) -> str:
    return f"{at(item)} leads nowhere."


def turned(old: World, new: World, changes: Iterable[Change], tenants: Collection[str] | None) -> list[str]:
    """The ports that lead nowhere any more, as their endpoint goes or its network closes, or lead there again; those of
    `tenants` alone unless it is None."""
    changes = list(changes)
    gone = {endpoint.id for endpoint in going(old, new, changes)}
    both = {one.id for one in changes if one.noun == "network"} & old.networks.keys() & new.networks.keys()
    networks = {id for id in both if is_open(old.networks[id]) != is_open(new.networks[id])}
    if not gone and not networks:
        return []
    with reading() as session:
        rows = publications.leading_to(session, gone, networks)
        shown = [row for row in rows if tenants is None or row.endpoint.tenant.name in tenants]
        told = [f"{at(document(row))} {_becomes(new, row, gone)}" for row in shown[:MOST_TOLD]]
    left = len(shown) - len(told)
    return told + ([f"so it is with {left} more published port{'s' if left > 1 else ''}"] if left else [])


def _becomes(new: World, row: tables.Publication, gone: Collection[int]) -> str:
    if row.endpoint_id in gone:
        return f"leads nowhere any more, as {row.endpoint.qualified_name} goes"
    network = new.networks[row.endpoint.network_id]
    if is_open(network):
        return f"leads to {span(row.port, row.count)} of {row.endpoint.qualified_name} again"
    return f"leads nowhere while network {network.name} is {publications.shut(network.outbound)}"
