"""The packet and metadata fields that flows may name, and how each is spelled on the wire.

One row per field, in the order in which Open vSwitch itself writes a match. A match encoded in this order has
its prerequisites before what needs them, is byte-equal for equal matches, and is byte-equal to what the
switch answers when its flows are dumped. Names are those of ovs-fields(7), one per field, each also understood
by `ovs-ofctl`: `ip_proto` (not `nw_proto`), `nw_ttl`, `icmp_type`, `icmpv6_type`, `tun_id`. The value of
`vlan_vid` includes the present bit 0x1000. This module knows nothing of flows and of what fields are used for.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import NamedTuple


class Field(NamedTuple):
    """`oxm` heads the field in matches and set_field, `nxm` in Nicira's move and load. `size` is in bytes."""

    name: str
    order: int
    size: int
    bits: int
    style: str  # how people write it: "decimal", "hex", "mac", "ipv4", "ipv6", "port", "ct_state"
    maskable: bool
    oxm: bytes
    oxm_masked: bytes
    nxm: bytes
    nxm_masked: bytes


def _header(oxm_class: int, number: int, size: int, masked: bool) -> bytes:
    vendor = ONF if oxm_class == EXPERIMENTER else b""
    word = oxm_class << 16 | number << 9 | masked << 8 | len(vendor) + (size * 2 if masked else size)
    return word.to_bytes(4, "big") + vendor


OPENFLOW, NXM0, NXM1, ERICSSON, EXPERIMENTER = 0x8000, 0x0000, 0x0001, 0x1000, 0xFFFF
ONF = (0x4F4E4600).to_bytes(4, "big")
"""Whose fields of the class EXPERIMENTER are: the Open Networking Foundation's extensions."""

_Code = tuple[int, int]  # class, number

# name, bits, style, maskable, code in OXM, code in NXM where it differs
_ROWS: list[tuple[str, int, str, bool, _Code, _Code | None]] = [
    ("conj_id", 32, "decimal", False, (NXM1, 37), None),
    ("in_port", 32, "port", False, (OPENFLOW, 0), (NXM0, 0)),
    ("eth_src", 48, "mac", True, (OPENFLOW, 4), (NXM0, 2)),
    ("eth_dst", 48, "mac", True, (OPENFLOW, 3), (NXM0, 1)),
    ("eth_type", 16, "hex", False, (OPENFLOW, 5), (NXM0, 3)),
    ("vlan_vid", 13, "decimal", True, (OPENFLOW, 6), None),
    ("vlan_pcp", 3, "decimal", False, (OPENFLOW, 7), None),
    ("ip_src", 32, "ipv4", True, (OPENFLOW, 11), (NXM0, 7)),
    ("ip_dst", 32, "ipv4", True, (OPENFLOW, 12), (NXM0, 8)),
    ("ipv6_src", 128, "ipv6", True, (OPENFLOW, 26), (NXM1, 19)),
    ("ipv6_dst", 128, "ipv6", True, (OPENFLOW, 27), (NXM1, 20)),
    ("ip_dscp", 6, "decimal", False, (OPENFLOW, 8), None),
    ("nw_ecn", 2, "decimal", False, (OPENFLOW, 9), (NXM1, 28)),
    ("nw_ttl", 8, "decimal", False, (NXM1, 29), None),
    ("ipv6_label", 20, "hex", True, (OPENFLOW, 28), (NXM1, 27)),
    ("ip_proto", 8, "decimal", False, (OPENFLOW, 10), (NXM0, 6)),
    ("tcp_src", 16, "decimal", True, (OPENFLOW, 13), (NXM0, 9)),
    ("tcp_dst", 16, "decimal", True, (OPENFLOW, 14), (NXM0, 10)),
    ("tcp_flags", 12, "hex", True, (EXPERIMENTER, 42), (NXM1, 34)),
    ("udp_src", 16, "decimal", True, (OPENFLOW, 15), (NXM0, 11)),
    ("udp_dst", 16, "decimal", True, (OPENFLOW, 16), (NXM0, 12)),
    ("sctp_src", 16, "decimal", True, (OPENFLOW, 17), None),
    ("sctp_dst", 16, "decimal", True, (OPENFLOW, 18), None),
    ("icmp_type", 8, "decimal", False, (OPENFLOW, 19), (NXM0, 13)),
    ("icmp_code", 8, "decimal", False, (OPENFLOW, 20), (NXM0, 14)),
    ("icmpv6_type", 8, "decimal", False, (OPENFLOW, 29), (NXM1, 21)),
    ("icmpv6_code", 8, "decimal", False, (OPENFLOW, 30), (NXM1, 22)),
    ("nd_reserved", 32, "decimal", False, (ERICSSON, 1), None),
    ("nd_target", 128, "ipv6", True, (OPENFLOW, 31), (NXM1, 23)),
    ("nd_options_type", 8, "decimal", False, (ERICSSON, 2), None),
    ("nd_sll", 48, "mac", True, (OPENFLOW, 32), (NXM1, 24)),
    ("nd_tll", 48, "mac", True, (OPENFLOW, 33), (NXM1, 25)),
    ("arp_op", 16, "decimal", False, (OPENFLOW, 21), (NXM0, 15)),
    ("arp_spa", 32, "ipv4", True, (OPENFLOW, 22), (NXM0, 16)),
    ("arp_tpa", 32, "ipv4", True, (OPENFLOW, 23), (NXM0, 17)),
    ("arp_sha", 48, "mac", True, (OPENFLOW, 24), (NXM1, 17)),
    ("arp_tha", 48, "mac", True, (OPENFLOW, 25), (NXM1, 18)),
    ("tun_id", 64, "hex", True, (OPENFLOW, 38), (NXM1, 16)),
    ("tun_src", 32, "ipv4", True, (NXM1, 31), None),
    ("tun_dst", 32, "ipv4", True, (NXM1, 32), None),
    ("tun_ipv6_src", 128, "ipv6", True, (NXM1, 109), None),
    ("tun_ipv6_dst", 128, "ipv6", True, (NXM1, 110), None),
    *[(f"reg{n}", 32, "hex", True, (NXM1, n), None) for n in range(16)],
    ("pkt_mark", 32, "hex", True, (NXM1, 33), None),
    ("ct_state", 32, "ct_state", True, (NXM1, 105), None),
    ("ct_zone", 16, "hex", False, (NXM1, 106), None),
    ("ct_mark", 32, "hex", True, (NXM1, 107), None),
    ("ct_label", 128, "hex", True, (NXM1, 108), None),
    ("metadata", 64, "hex", True, (OPENFLOW, 2), None),
]


def _table() -> dict[str, Field]:
    fields = {}
    for order, (name, bits, style, maskable, oxm, nxm) in enumerate(_ROWS):
        size = next(size for size in (1, 2, 4, 6, 8, 16) if size * 8 >= bits)
        nxm_size = 2 if name == "in_port" else size  # Nicira's in_port has 16 bits
        fields[name] = Field(
            name,
            order,
            size,
            bits,
            style,
            maskable,
            _header(*oxm, size, False),
            _header(*oxm, size, True),
            _header(*(nxm or oxm), nxm_size, False),
            _header(*(nxm or oxm), nxm_size, True),
        )
    return fields


FIELDS = _table()

CT_STATE = {"new": 0x01, "est": 0x02, "rel": 0x04, "rpl": 0x08, "inv": 0x10, "trk": 0x20, "snat": 0x40, "dnat": 0x80}


def field(name: str) -> Field:
    """The row of `name`. Raises ValueError with the nearest names for an unknown one."""
    try:
        return FIELDS[name]
    except KeyError:
        near = get_close_matches(name, FIELDS, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(f"no field is called {name!r}; names are those of ovs-fields(7){hint}") from None


def ct_state(text: str) -> tuple[int, int]:
    """`+trk+est-rpl` to (value, mask). Raises ValueError for an unknown flag."""
    value = mask = 0
    for flag in text.replace("+", " +").replace("-", " -").split():
        sign, name = flag[0], flag[1:]
        if sign not in "+-" or name not in CT_STATE:
            raise ValueError(f"{flag!r} in ct_state {text!r} is none of +/- {', '.join(CT_STATE)}")
        mask |= CT_STATE[name]
        value |= CT_STATE[name] if sign == "+" else 0
    return value, mask
