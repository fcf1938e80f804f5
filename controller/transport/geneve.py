"""Geneve (RFC 8926), over UDP and without options: what OVN uses."""

from __future__ import annotations

from controller.transport.transport import TunnelPort
from controller.transport.tunnel import Tunnel

GENEVE = Tunnel("geneve", 2, TunnelPort("gnv", "geneve", 3, 6081), header=8 + 8)
