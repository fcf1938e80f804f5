"""VXLAN (RFC 7348), over UDP: what Docker's overlay, Flannel, Weave and OpenShift SDN use. The default."""

from __future__ import annotations

from controller.transport.transport import Port
from controller.transport.tunnel import Tunnel

VXLAN = Tunnel("vxlan", 1, Port("tun", "vxlan", 1, 4789), header=8 + 8)
