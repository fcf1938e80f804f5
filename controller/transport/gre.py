"""GRE with Ethernet inside and the VNI as its key (RFC 2890): what the recipes with Open vSwitch and GRE use."""

from __future__ import annotations

from controller.transport.transport import Port
from controller.transport.tunnel import Tunnel

GRE = Tunnel("gre", 3, Port("gre", "gre", 4, None), header=4 + 4)
