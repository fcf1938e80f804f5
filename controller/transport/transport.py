"""What a transport is: how packets of a network come from one host to another.

A transport says which port every bridge has for it, how many bytes it takes of the underlay's, and which flows carry
packets over it. It refuses to know networks' addresses, zones and policies: those are the same whatever carries them.
"""

from __future__ import annotations

from typing import NamedTuple

from controller.model import Endpoint, Host, Network
from controller.pipeline.flow import Action, Flow, Match, Resubmit, SetField
from controller.pipeline.registers import DESTINATION_HOST
from controller.pipeline.stages import Stage
from controller.world import World


class Port(NamedTuple):
    """The port that a bridge has for a tunnel. `udp_port` None: it is none over UDP."""

    suffix: str  # of the port's name, after the bridge's
    type: str  # of Open vSwitch
    ofport: int
    udp_port: int | None


class Transport:
    """`number` is what `registers.CARRIER` holds on a packet's way, `ofport` the port that packets leave and arrive by.
    `on_segment`: endpoints share a physical segment with strangers, one of which is their gateway. Those that have no
    flows to add leave them out."""

    name: str
    number: int
    ofport: int = 0
    port: Port | None = None
    leaves_host = True
    on_segment = False

    def carrier(self, network: Network) -> int:
        """What `registers.CARRIER` says of the network's packets."""
        return self.number

    def overhead(self, version: int) -> int:
        """Bytes of each packet that the underlay of this IP version needs besides the endpoint's own IP packet."""
        return 0

    def base(self, world: World) -> list[Flow]:
        """How packets arrive and leave, on every host."""
        return []

    def itself(self, world: World, host: Host) -> list[Flow]:
        """What the host's own bridge says of it."""
        return []

    def near(self, world: World, host: Host) -> list[Flow]:
        """What bridges of other hosts on the host's segment say of it."""
        return []

    def network(self, world: World, network: Network) -> list[Flow]:
        """What is to know of a network that is carried so."""
        return []

    def local(self, world: World, endpoint: Endpoint) -> list[Flow]:
        """What is to know of an endpoint of such a network, where it is."""
        return []

    def arrival(self, near: Host, far: Host, network: Network) -> tuple[Match, ...]:
        """As what a packet of the network comes to `far` from `near`; nothing when it does not."""
        return ()

    def to_host(self, world: World, network: Network, host: Host) -> tuple[Action, ...]:
        """How a broadcast of the network goes to another host that has endpoints of it, as the actions of a bucket;
        none if it does not."""
        return (SetField(DESTINATION_HOST, host.id), Resubmit(Stage.OUTPUT)) if host.address else ()

    def outside(self, world: World, network: Network) -> list[tuple[Action, ...]]:
        """Where a broadcast of the network goes besides, as the actions of buckets."""
        return []
