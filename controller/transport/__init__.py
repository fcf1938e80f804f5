"""How packets of a network come from one host to another: a module for each way, and the list of them all."""

from __future__ import annotations

from collections.abc import Mapping

from controller.transport.geneve import GENEVE
from controller.transport.gre import GRE
from controller.transport.host_gw import HOST_GW
from controller.transport.local import LOCAL
from controller.transport.transport import Transport
from controller.transport.tunnel import Tunnel
from controller.transport.vxlan import VXLAN

TRANSPORTS: Mapping[str, Transport] = {one.name: one for one in (VXLAN, GENEVE, GRE, HOST_GW, LOCAL)}
DEFAULT = VXLAN
TUNNEL_OFPORTS = frozenset(one.ofport for one in TRANSPORTS.values() if isinstance(one, Tunnel))


def transport(name: str) -> Transport:
    """Raises KeyError when there is no such transport."""
    return TRANSPORTS[name]
