"""Geneve (RFC 8926), over UDP and without options: what OVN uses."""

from __future__ import annotations

from controller.transport.transport import Port
from controller.transport.tunnel import Tunnel

GENEVE = Tunnel("geneve", 2, Port("gnv", "geneve", 5, 6081), header=8 + 8)
