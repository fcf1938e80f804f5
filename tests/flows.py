"""Random flows that Open vSwitch accepts: any match with its prerequisites, any actions that fit it."""

from __future__ import annotations

from hypothesis import strategies as st

from controller.openflow.fields import CT_STATE, FIELDS
from controller.pipeline.flow import (
    Ct,
    DecTtl,
    Flow,
    InPort,
    Kind,
    Match,
    Move,
    Nat,
    Output,
    OutputReg,
    Pop,
    PopVlan,
    Push,
    PushVlan,
    SetField,
    ToController,
)
from controller.pipeline.stages import Stage

_L4 = {
    1: ("icmp_type", "icmp_code"),
    6: ("tcp_src", "tcp_dst", "tcp_flags"),
    17: ("udp_src", "udp_dst"),
    132: ("sctp_src", "sctp_dst"),
}
_ANYWHERE = (
    *("in_port", "tun_id", "tun_src", "tun_dst", "tun_ipv6_src", "tun_ipv6_dst", "metadata", "pkt_mark", "ct_state"),
    *("ct_zone", "ct_mark", "ct_label", "eth_src", "eth_dst", *(f"reg{n}" for n in range(16))),
)
_IP = ("ip_dscp", "nw_ecn", "nw_ttl")
_CT_BITS = sum(CT_STATE.values()) - CT_STATE["inv"]  # what is invalid may not be committed
_REGISTERS = tuple(f"reg{n}" for n in range(16))


@st.composite
def matched(draw: st.DrawFn, name: str, *, exact: bool = False) -> Match:
    """A match on one field, exact or masked, never with an empty mask."""
    row = FIELDS[name]
    if name == "in_port":
        return Match(name, draw(st.integers(1, 0xFEFF)))
    full = _CT_BITS if name == "ct_state" else (1 << row.bits) - 1
    value = draw(st.integers(0, full)) & full
    if exact or not row.maskable or draw(st.booleans()):
        return Match(name, value, full if name == "ct_state" else None)
    mask = draw(st.integers(1, full)) & full or 1
    if row.style == "ipv6":
        mask |= 0xF << 124  # ovs-ofctl takes an address that begins with a digit for a prefix length
    return Match(name, value & mask, mask)


@st.composite
def matches(draw: st.DrawFn) -> tuple[Match, ...]:
    """A match of any kind of packet, in no particular order."""
    found = [draw(matched(name)) for name in draw(st.lists(st.sampled_from(_ANYWHERE), unique=True, max_size=5))]
    kind = draw(st.sampled_from(("any", "vlan", "arp", "ip", "ipv6", "nd")))
    names: list[str] = []
    if kind == "vlan":
        found.append(Match("vlan_vid", draw(st.integers(0x1000, 0x1FFF))))
        found += [draw(matched("vlan_pcp"))] if draw(st.booleans()) else []
    elif kind == "arp":
        found.append(Match("eth_type", 0x0806))
        found += [Match("arp_op", draw(st.integers(1, 2)))] if draw(st.booleans()) else []
        names = ["arp_spa", "arp_tpa", "arp_sha", "arp_tha"]
    elif kind == "nd":
        found += [Match("eth_type", 0x86DD), Match("ip_proto", 58), Match("icmpv6_code", 0)]
        solicit = draw(st.booleans())
        found.append(Match("icmpv6_type", 135 if solicit else 136))
        names = [
            "ipv6_src",
            "ipv6_dst",
            "nd_target",
            "nd_reserved",
            "nd_options_type",
            "nd_sll" if solicit else "nd_tll",
        ]
    elif kind in ("ip", "ipv6"):
        found.append(Match("eth_type", 0x0800 if kind == "ip" else 0x86DD))
        protocol = draw(st.sampled_from((None, 1, 6, 17, 58, 132)))
        names = [*_IP, *(("ip_src", "ip_dst") if kind == "ip" else ("ipv6_src", "ipv6_dst", "ipv6_label"))]
        if protocol is not None and protocol != (58 if kind == "ip" else 1):
            found.append(Match("ip_proto", protocol))
            names += _L4.get(protocol, ())
            if protocol == 58 and draw(st.booleans()):
                found.append(Match("icmpv6_type", draw(st.integers(0, 133))))
    if names:
        found += [draw(matched(name)) for name in draw(st.lists(st.sampled_from(names), unique=True))]
    return tuple(draw(st.permutations(found)))


_SETTABLE = {
    0: (*_REGISTERS, "metadata", "tun_id", "tun_dst", "tun_ipv6_dst", "pkt_mark", "eth_src", "eth_dst"),
    0x0806: ("arp_spa", "arp_tpa", "arp_sha", "arp_tha"),
    0x0800: ("ip_src", "ip_dst", "nw_ttl"),
    0x86DD: ("ipv6_src", "ipv6_dst", "nw_ttl"),
}


def actions(ethernet: int, tagged: bool = False) -> st.SearchStrategy[object]:
    """One action that a flow which matches this Ethernet type may have; 0 for none. `tagged`: it matches a VLAN."""
    settable = (*_SETTABLE[0], *(_SETTABLE.get(ethernet, ()) if ethernet else ()))
    registers = st.sampled_from(_REGISTERS)
    tables = st.sampled_from((Stage.RESTORE, Stage.OUTPUT))
    zones = st.integers(0, 0xFFFF) | registers.map(lambda name: f"{name}[16..31]")
    notes = st.builds(lambda a, n, t: Move(a, "ct_label", n, 0, t), registers, st.integers(1, 32), st.integers(0, 96))
    ends, no_nat = st.sampled_from(("src", "dst")), st.just(None)
    version, bits = (4, 32) if ethernet == 0x0800 else (6, 128)
    nat = no_nat | st.just(Nat()) | st.builds(Nat, ends, st.just(version), st.integers(0, (1 << bits) - 1))
    labels = st.lists(notes, max_size=3).map(tuple)
    only_ip = (
        st.just(DecTtl()),
        st.builds(Ct, zones, st.just(False), st.none() | tables, st.just(()), st.sampled_from((None, Nat()))),
        st.builds(Ct, zones, st.just(True), st.none() | tables, labels, nat),
    )
    return st.one_of(
        *([st.sampled_from((SetField("arp_op", 1), SetField("arp_op", 2)))] if ethernet == 0x0806 else []),
        *(only_ip if ethernet in (0x0800, 0x86DD) else ()),
        st.sampled_from(settable).flatmap(matched).map(lambda match: SetField(*match)),
        st.builds(lambda a, b, n, f, t: Move(a, b, n, f, t), registers, registers, *[st.integers(1, 16)] * 3),
        st.just(Move("eth_src", "eth_dst", 48)),
        st.just(Move("metadata", "tun_id", 32, 16)),
        st.builds(Output, st.integers(1, 0xFEFF)),
        st.builds(OutputReg, registers),
        st.just(InPort()),
        st.just(PushVlan()),
        *([st.just(SetField("vlan_vid", 0x1032)), st.just(PopVlan())] if tagged else []),
        st.sampled_from(settable).map(Push),
        st.sampled_from(_REGISTERS).map(Pop),
        st.builds(ToController, st.integers(0, 0xFFFF), st.none()),
    )


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    """Any flow of the first stages, not checked against the stage graph."""
    match = draw(matches())
    ethernet = next((item.value for item in match if item.field == "eth_type"), 0)
    tagged = any(item.field == "vlan_vid" for item in match)
    done = draw(st.lists(actions(ethernet, tagged), max_size=5))
    # Whatever follows may ask for the tag that is gone.
    done.sort(key=lambda action: isinstance(action, PopVlan))
    while done.count(PopVlan()) > 1:
        done.remove(PopVlan())
    goto = draw(st.sampled_from((None, Stage.RESTORE, Stage.OUTPUT)))
    stage = draw(st.sampled_from((Stage.CLASSIFY, Stage.GUARD, Stage.ROUTE)))
    return Flow(stage, draw(st.integers(0, 0xFFFF)), match, tuple(done), goto, draw(st.sampled_from(list(Kind))))
