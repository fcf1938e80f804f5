"""What `ofproto/trace` prints is read for where the packet ends, whatever else it says."""

from __future__ import annotations

from ovs_agent.trace import Traced, parse

HEAD = """Flow: tcp,in_port=100,dl_src=02:00:0a:80:00:02,dl_dst=02:77:61:72:72:6e,nw_src=10.128.0.2,tp_dst=5432

bridge("warren0")
-----------------
 0. in_port=100, priority 100, cookie 0x7705b179aa5c6c52
    set_field:0x1->reg2
    goto_table:10
"""
TUNNELLED = """110. reg0=0/0x10000,reg8=0x2, priority 100, cookie 0x77028602e0079be0
    set_field:198.18.0.12->tun_dst
    move:NXM_NX_REG2[]->NXM_NX_TUN_ID[0..31]
     -> NXM_NX_TUN_ID[0..31] is now 0x1
    output:1
     -> output to native tunnel
"""
TAIL = """
Final flow: tcp,reg0=0x1,in_port=100
Megaflow: recirc_id=0,eth,tcp,in_port=100
Datapath actions: drop
"""


def read(*parts: str) -> Traced:
    return parse("".join((HEAD, *parts, TAIL)), "warren0")


def test_the_last_flow_that_matches_is_where_the_packet_ends() -> None:
    dropped = read("75. priority 0, cookie 0x77dcf3bde61d179f\n    drop\n")
    assert dropped == Traced(75, "0x77dcf3bde61d179f")
    logged = read("96. reg12=0xc11b4a85, priority 10, cookie 0x77e0886250e377da\n    CONTROLLER:128\n")
    assert logged == Traced(96, "0x77e0886250e377da")


def test_a_cookie_that_is_not_printed_is_zero_and_no_match_has_none() -> None:
    assert read("70. ip,nw_dst=10.0.0.1, priority 65000\n    drop\n") == Traced(70, "0x0")
    assert read("70. No match.\n    drop\n") == Traced(70, None)


def test_a_packet_that_conntrack_gives_back_is_followed() -> None:
    looked_up = """40. ip, priority 120, cookie 0x7707bb3ac8752e06
    load:0x1->NXM_NX_REG0[17]
    ct(table=45,zone=1)
    drop
     -> A clone of the packet is forked to recirculate. The forked pipeline will be resumed at table 45.
     -> Sets the packet to an untracked state, and clears all the conntrack fields.
"""
    resumed = """
===============================================================================
recirc(0x1) - resume conntrack with ct_state=new|trk
===============================================================================

Flow: recirc_id=0x1,ct_state=new|trk,ct_zone=1,eth,tcp,reg0=0x20001

bridge("warren0")
-----------------
    thaw
        Resuming from table 45
45. ct_state=+new+trk, priority 70, cookie 0x7701ec30e14184bf
    goto_table:110
110. reg8=0, priority 100, cookie 0x7701578ba0a9be5b
    output:NXM_NX_REG1[0..15]
     -> output port is 1104
"""
    assert read(looked_up, TAIL, resumed) == Traced(110, "0x7701578ba0a9be5b", (1104,))


def test_the_bridge_below_the_tunnel_is_nobodys_business() -> None:
    below = """     -> tunneling to 198.18.0.12 via br-phy

bridge("br-phy")
----------------
 0. priority 0
    NORMAL
     -> forwarding to learned port
"""
    assert read(TUNNELLED, below) == Traced(110, "0x77028602e0079be0", (1,), "198.18.0.12")


def test_what_is_lost_on_its_way_out_is_told_with_the_reason() -> None:
    lost = read(TUNNELLED, "     >> native tunnel routing failed\n")
    assert lost == Traced(110, "0x77028602e0079be0", (1,), "198.18.0.12", "native tunnel routing failed")
    absent = read(
        "110. reg8=0, priority 100, cookie 0x1\n    output:NXM_NX_REG1[0..15]\n", "     -> output port is 7\n"
    )
    assert absent.outputs == (7,)
    assert read(TUNNELLED.replace("198.18.0.12->tun_dst", "fd00::2->tun_ipv6_dst")).tunnel == "fd00::2"


def test_what_is_no_trace_is_told_as_the_switch_said_it() -> None:
    said = parse("Unknown bridge warren0\nMust specify a bridge", "warren0")
    assert said == Traced(trouble="ovs-vswitchd cannot trace the packet: Unknown bridge warren0 Must specify a bridge")
    assert parse("", "warren0").trouble.endswith("no answer")
