"""How flows read."""

from __future__ import annotations

from controller.openflow.encode import LOCAL, encode
from controller.openflow.fields import ct_state
from controller.openflow.text import action_text, flow_text, program_text
from controller.pipeline.flow import (
    Ct,
    DecTtl,
    Flow,
    InPort,
    Match,
    Move,
    Nat,
    Output,
    OutputReg,
    PopVlan,
    PushVlan,
    SetField,
    ToController,
)
from controller.pipeline.stages import Stage

WEB = Flow(
    Stage.GUARD,
    100,
    (
        Match("tcp_dst", 80),
        Match("metadata", 7),
        Match("ip_proto", 6),
        Match("ip_src", 0x0A140000, 0xFFFF0000),
        Match("eth_type", 0x0800),
        Match("in_port", 100),
        Match("ct_state", *ct_state("+trk-new")),
    ),
    (SetField("reg1", 5, 0xFFFF), DecTtl(), Ct("reg0[0..15]", True, Stage.OUTPUT)),
    Stage.ANSWER,
    0x7705,
)


def test_a_flow_reads_with_the_names_of_its_stages() -> None:
    assert flow_text(WEB) == (
        "table=GUARD, priority=100,in_port=100,tcp,ip_src=10.20.0.0/16,tcp_dst=80,ct_state=-new+trk,metadata=0x7"
        " actions=set_field:0x5/0xffff->reg1,dec_ttl,ct(commit,table=OUTPUT,zone=reg0[0..15]),goto_table:ANSWER"
    )


def test_what_is_noted_of_a_connection_reads_as_the_tool_wants_it() -> None:
    assert action_text(Ct("reg0[0..15]", True, notes=(Move("reg15", "ct_label", 32, 0, 32),))) == (
        "ct(commit,zone=reg0[0..15],exec(move:reg15[0..31]->ct_label[32..63]))"
    )


def test_translation_reads_as_the_tool_wants_it() -> None:
    assert action_text(Ct(7, True, Stage.LEAVE, nat=Nat("src", 4, 0xF0770064))) == (
        "ct(commit,table=LEAVE,zone=7,nat(src=240.119.0.100))"
    )
    assert action_text(Ct(7, table=Stage.ENTER, nat=Nat())) == "ct(table=ENTER,zone=7,nat)"


def test_a_copy_reads_with_its_meter() -> None:
    assert action_text(ToController(128)) == "controller(max_len=128)"
    assert action_text(ToController(0xFFFF, 1)) == "controller(max_len=65535,meter_id=1)"


def test_for_the_tool_it_has_numbers_and_its_cookie() -> None:
    text = flow_text(WEB, numbers=True)
    assert text.startswith(f"cookie={encode(WEB).cookie:#x}, table={Stage.GUARD:d}, priority=100,")
    assert text.endswith(f"ct(commit,table={Stage.OUTPUT:d},zone=reg0[0..15]),goto_table:{Stage.ANSWER:d}")


def test_every_kind_of_value_is_written_as_people_write_it() -> None:
    flow = Flow(
        Stage.ANSWER,
        1,
        (
            Match("eth_src", 0x020000000001, 0xFFFF00000000),
            Match("eth_type", 0x86DD),
            Match("ip_proto", 58),
            Match("icmpv6_type", 135),
            Match("nd_target", 0xFD00 << 112 | 1),
            Match("ipv6_src", 0xFD00 << 112, 0xFFFF << 112),
            Match("ipv6_dst", 1, 0xFF),
        ),
        (
            Move("eth_src", "eth_dst", 48),
            SetField("eth_src", 0x02776172726E),
            Move("reg0", "reg1", 1, 16, 0),
            Output(LOCAL),
            OutputReg("reg1"),
            InPort(),
        ),
        None,
        0x7705,
    )
    assert flow_text(flow) == (
        "table=ANSWER, priority=1,eth_src=02:00:00:00:00:00/ff:ff:00:00:00:00,icmp6,ipv6_src=fd00::/16,"
        "ipv6_dst=::1/::ff,icmpv6_type=135,nd_target=fd00::1"
        " actions=move:eth_src[0..47]->eth_dst[0..47],set_field:02:77:61:72:72:6e->eth_src,move:reg0[16]->reg1[0],"
        "LOCAL,output:reg1[0..15],in_port"
    )


def test_tags_are_written_as_the_tool_writes_them() -> None:
    match = Match("in_port", 10), Match("vlan_vid", 0x1032)
    flow = Flow(Stage.CLASSIFY, 1, match, (PopVlan(), PushVlan(), SetField("vlan_vid", 0x1033)), Stage.ZONE, 0x7703)
    assert flow_text(flow) == (
        "table=CLASSIFY, priority=1,in_port=10,vlan_vid=4146"
        " actions=pop_vlan,push_vlan:0x8100,set_field:4147->vlan_vid,goto_table:ZONE"
    )


def test_a_program_is_sorted_by_table_then_falling_priority() -> None:
    flows = [Flow(table, priority, (), (), None, 0x77D0) for table in (20, 0) for priority in (1, 300, 2)]  # type: ignore[arg-type]
    assert program_text(flows).splitlines() == [
        f"table={name}, priority={priority} actions=drop" for name in ("CLASSIFY", "GUARD") for priority in (300, 2, 1)
    ]
