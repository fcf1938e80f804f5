"""Attachments: an interface on a host becomes an endpoint, or ceases to be one. The hot path of the API."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint
from sqlalchemy.orm import Session

from db import aliases, attachments, hosts
from web.api.replies import Json
from web.api.schemas.agent import Aliases, Attach, Attached, Renamed, WantedEndpoint
from web.api.schemas.common import Deleted
from web.auth.access import ATTACHERS, allow, whoever
from web.state import changing, reading

blueprint = APIBlueprint("attachments", __name__, tag="Agents")

ATTACHED_ALREADY: dict[int | str, dict[str, str | dict[str, dict[str, Any]]]] = {
    200: {
        "description": "It was attached already, with the same content.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Attached"}}},
    }
}
PATH = "/hosts/<host>/attachments/<container_id>/<ifname>"


@blueprint.put(PATH)
@allow(ATTACHERS, own_host=True)
@blueprint.input(Attach, arg_name="body")
@blueprint.output(Attached, 201)
@blueprint.doc(responses=ATTACHED_ALREADY)
def attach(host: str, container_id: str, ifname: str, body: Attach) -> tuple[Json, int]:
    """Attach an interface

    Sent again with the same content it changes nothing; with another it is refused.
    """
    with changing() as tx:
        attached = attachments.attach(
            tx,
            host_id(tx.session, host),
            container_id,
            ifname,
            network=body.network,
            name=body.name,
            netns=body.netns,
            labels=body.labels,
            ports=[port.model_dump() for port in body.ports],
            addresses=body.addresses or (),
            mac=body.mac,
            interface=body.interface,
            move=body.move,
            entitled=whoever().host_id is None,
            reservation=body.reservation,
            aliases=body.aliases,
            limits=body.bandwidth.model_dump(),
        )
    return attached.endpoint._asdict() | {"revision": tx.revision}, 201 if attached.created else 200


@blueprint.get(PATH)
@allow(ATTACHERS, own_host=True)
@blueprint.output(WantedEndpoint)
def get(host: str, container_id: str, ifname: str) -> Json:
    """Show an attached interface"""
    with reading() as session:
        return attachments.find(session, host_id(session, host), container_id, ifname)._asdict()


@blueprint.delete(PATH)
@allow(ATTACHERS, own_host=True)
@blueprint.output(Deleted)
def detach(host: str, container_id: str, ifname: str) -> Json:
    """Detach an interface

    One that is not attached is as good as detached.
    """
    with changing() as tx:
        attachments.detach(tx, host_id(tx.session, host), container_id, ifname)
    return {"revision": tx.revision}


@blueprint.put(f"{PATH}/aliases")
@allow(ATTACHERS, own_host=True)
@blueprint.input(Aliases, arg_name="body")
@blueprint.output(Renamed)
def rename(host: str, container_id: str, ifname: str, body: Aliases) -> Json:
    """Give an attached interface other names

    They replace all names of its endpoint besides its own; sent again they change nothing.
    """
    with changing() as tx:
        row = attachments.row(tx.session, host_id(tx.session, host), container_id, ifname)
        aliases.change(tx, row, body.aliases)
    return {"revision": tx.revision}


def host_id(session: Session, host: str) -> int:
    """An agent's token carries it; others are looked up."""
    known = whoever().host_id
    return known if known is not None else hosts.get(session, host).id
