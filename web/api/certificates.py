"""Certificates: the authority's for everybody, and each host's for its bridge."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response, current_app, request

from db.authority import Authority
from db.errors import Conflict
from web.api.attachments import host_id
from web.api.replies import Json
from web.api.schemas.agent import HostCertificate
from web.auth.access import AGENTS, allow, public
from web.problems import Problem
from web.state import reading

blueprint = APIBlueprint("certificates", __name__, tag="Agents")
authority = APIBlueprint("authority", __name__, tag="Access")
AUTHORITY, SHOWN = "WARREN_AUTHORITY", "WARREN_SHOWS_AUTHORITY"
"""Settings of the application: the `Authority` that signs, or None; and whether it signed the API's own certificate."""


@authority.get("/ca.pem")
@public
@authority.doc(hide=True)
def certificate() -> Response:
    """The certificate that signed the API's."""
    signer: Authority | None = current_app.config.get(AUTHORITY)
    if signer is None or not current_app.config.get(SHOWN):
        raise Problem("not-found", "This API's certificate is of somebody else's authority; ask whoever runs it.")
    return Response(signer.pem, mimetype="application/x-pem-file")


@blueprint.post("/hosts/<host>/certificate")
@allow(AGENTS, own_host=True)
@blueprint.output(HostCertificate)
def sign(host: str) -> Json:
    """Sign a certificate for a host

    Its bridge shows it to controllers whose address begins with `ssl:`. The key is made here and kept nowhere.
    """
    with reading() as session:
        host_id(session, host)
    signer: Authority | None = current_app.config.get(AUTHORITY)
    if signer is None:
        raise Conflict("this API signs no certificates", "give the bridge one with `ovs-vsctl set-ssl`", "host")
    if not request.is_secure:
        raise Conflict("a private key is not sent unencrypted", "ask over https://", "host")
    signed = signer.sign(host)
    return {
        "certificate": signed.certificate,
        "key": signed.key,
        "authority": signer.pem,
        "renew_at": signed.renew_at,
    }
