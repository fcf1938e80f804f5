"""Networks as a host's container engine asks for them. See `db.engine_networks` for what it may do."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint

from db import engine_networks, hosts, networks
from web import present
from web.api.replies import Answer, Json, deleted, etag, shown
from web.api.schemas.common import Deleted
from web.api.schemas.network import EngineNetwork, Network
from web.auth.access import ENGINES, allow
from web.state import changing

blueprint = APIBlueprint("engine_networks", __name__, tag="Agents")

PATH = "/hosts/<host>/networks/<tenant>/<network>"
FOUND: dict[int | str, dict[str, str | dict[str, dict[str, Any]]]] = {
    200: {
        "description": "It was there, and agrees.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Network"}}},
    }
}


@blueprint.get(PATH)
@allow(ENGINES, own_host=True)
@blueprint.output(Network)
def get(host: str, tenant: str, network: str) -> Answer:
    """Show a network to a host"""

    def show(session: Any) -> Json:
        hosts.get(session, host)
        return present.network(session, networks.get(session, f"{tenant}/{network}"))

    return shown(show)


@blueprint.put(PATH)
@allow(ENGINES, own_host=True)
@blueprint.input(EngineNetwork, arg_name="body")
@blueprint.output(Network, 201)
@blueprint.doc(responses=FOUND)
def provide(host: str, tenant: str, network: str, body: EngineNetwork) -> Answer:
    """Find a network for a host, or make it

    One that is there must agree with what is said of it. One is made only in a tenant with the label
    `warren/engine-networks=create`.
    """
    with changing() as tx:
        provided = engine_networks.provide(
            tx,
            host,
            f"{tenant}/{network}",
            engine_networks.Said(
                subnets=body.subnets,
                gateways=body.gateways,
                ranges=body.ip_ranges,
                aux=body.aux_addresses,
                isolated=body.isolated,
                mtu=body.mtu,
                carried_by=body.transport,
                physical=body.physical,
                vlan=body.vlan,
            ),
        )
        shown = present.network(tx.session, provided.network)
    shown["revision"] = tx.revision
    return shown, 201 if provided.created else 200, etag(shown)


@blueprint.delete(PATH)
@allow(ENGINES, own_host=True)
@blueprint.output(Deleted)
def withdraw(host: str, tenant: str, network: str) -> Json:
    """Remove a network that the host made

    One that is not there is as good as removed.
    """
    return deleted(lambda tx: engine_networks.withdraw(tx, host, f"{tenant}/{network}"))
