"""An endpoint leaves its host or its container for another and stays what it is: id, name, addresses, MAC, labels,
and what it may use.

In the caller's transaction, so that flows everywhere follow in one revision. What both agents do about it, they see in
what is wanted of them.

From another host it is taken only by who is entitled to, or by the host that somebody entitled has named: else one
agent's token would be enough to draw any endpoint's packets to its host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete

from db import allocate, host_ports
from db.addressing import parse_mac
from db.changes import Transaction
from db.errors import Conflict, Forbidden, NotFound
from db.tables import Endpoint, EndpointStatus, Host


def move(
    tx: Transaction,
    row: Any,
    at: Any,
    there: Mapping[str, Any],
    *,
    addresses: Sequence[str],
    mac: str | None,
    entitled: bool,
) -> None:
    """Moves an endpoint to the host and container in `there`. Whatever others know it by stays."""
    session = tx.session
    endpoint = session.get(Endpoint, row.id, with_for_update=True)
    if endpoint is None:  # removed since `row` was read
        raise NotFound(f"there is no endpoint {row.name} any more to move", "attach it without moving", "name")
    name, network = f"{endpoint.tenant.name}/{endpoint.name}", endpoint.network.qualified_name
    if endpoint.network_id != at.network_id:
        raise Conflict(f"endpoint {name} is on network {network}", f"move it within {network}", "network")
    has = {address.ip for address in endpoint.addresses}
    if other := [text for text in addresses if text.split("/")[0] not in has]:
        problem = f"endpoint {name} keeps its addresses when it moves, and {other[0]} is none of them"
        raise Conflict(problem, "leave addresses out", "addresses")
    if mac is not None and parse_mac(mac) != endpoint.mac:
        raise Conflict(f"endpoint {name} keeps its MAC {endpoint.mac} when it moves", "leave the MAC out", "mac")
    old_host, old_ofport = endpoint.host, endpoint.ofport
    stays = old_host.id == there["host_id"]
    if not (stays or entitled or endpoint.move_to == at.host):
        problem = f"endpoint {name} is on host {old_host.name}, and host {at.host} may not take it"
        raise Forbidden(problem, f"allow it with `warren endpoint move {name} --to {at.host}`", "move")
    endpoint.move_to = None
    if not stays:
        host_ports.move(tx, endpoint, session.get_one(Host, there["host_id"]))
        what = f"the range of ofports of host {at.host}"
        endpoint.ofport = allocate.claim(session, at.ofports, tx.now, what=what, remedy="remove endpoints from it")
    for key, value in there.items():
        setattr(endpoint, key, value)
    session.execute(delete(EndpointStatus).where(EndpointStatus.endpoint_id == endpoint.id))
    session.flush()
    tx.record("endpoint", endpoint.id, "update", tenant_id=endpoint.tenant_id, host_id=endpoint.host_id)
    if not stays:
        allocate.release(session, old_host.pool_id, old_ofport, tx.now)
        # The log tells one host of each object that changed; what changed for the host it left is the host.
        tx.record("host", old_host.id, "update", host_id=old_host.id)
