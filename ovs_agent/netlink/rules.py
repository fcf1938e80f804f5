"""The generation of nftables' rules: a number that each transaction of anybody counts up by one (nf_tables.h)."""

from __future__ import annotations

import struct

from ovs_agent.netlink.wire import NETFILTER, Request, ask, attributes

_GET = 10 << 8 | 16  # NFT_MSG_GETGEN of the subsystem for nftables
_HEAD = struct.Struct("!BBH")  # family, version, resource
_ID = 1


def generation() -> int:
    """In this thread's namespace."""
    said = ask(Request("tell the generation of rules", _GET, _HEAD.pack(0, 0, 0)), NETFILTER)
    return int.from_bytes(attributes(said, _HEAD.size)[_ID], "big")
