"""What a transport is: how packets of a network come from one host to another.

A transport says which port every bridge has for it, how many bytes it takes of the underlay's, and which flows carry
packets over it. It refuses to know networks' addresses, zones and policies: those are the same whatever carries them.
"""

from __future__ import annotations

from typing import NamedTuple

from controller.model import Endpoint, Host, Network
from controller.pipeline.flow import Flow
from controller.world import World


class TunnelPort(NamedTuple):
    """The port that a bridge has for a tunnel. `udp_port` None: the tunnel is a protocol of IP's own."""

    suffix: str  # of the port's name, after the bridge's
    type: str  # of Open vSwitch
    ofport: int
    udp_port: int | None


class Transport:
    """`number` is what `registers.CARRIER` holds on a packet's way; those that have no flows to add leave them out.
    `on_segment`: endpoints share a physical segment with strangers, one of which is their gateway."""

    name: str
    number: int
    port: TunnelPort | None = None
    leaves_host = True
    on_segment = False

    def overhead(self, version: int) -> int:
        """Bytes of each packet that the underlay of this IP version needs besides the endpoint's own IP packet."""
        return 0

    def base(self, world: World) -> list[Flow]:
        """How packets arrive and leave, on every host."""
        return []

    def itself(self, world: World, host: Host) -> list[Flow]:
        """What the host's own bridge says of it."""
        return []

    def network(self, world: World, network: Network) -> list[Flow]:
        """What is to know of a network that is carried so."""
        return []

    def local(self, world: World, endpoint: Endpoint) -> list[Flow]:
        """What is to know of an endpoint of such a network, where it is."""
        return []
