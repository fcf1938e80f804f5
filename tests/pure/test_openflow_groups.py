"""Groups on the wire: bytes of an independent implementation, and a session that sends what differs and no more."""

from __future__ import annotations

import os_ken.base.app_manager  # noqa: F401  # before its protocol modules, which import it in a circle
import pytest
from os_ken.ofproto import ofproto_v1_4 as ofp
from os_ken.ofproto import ofproto_v1_4_parser as parser
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

from controller.openflow import bundle, groups
from controller.openflow.decode import InstalledGroup, installed_groups
from controller.openflow.encode import WRAPPING, WireFlow, encode
from controller.openflow.events import Confirmed, Drifted, Failed, Synced
from controller.openflow.groups import WireBucket, encode_bucket, in_order
from controller.openflow.text import bucket_text
from controller.pipeline.flow import Flow, Kind, Resubmit, SetField, ToGroup, bucket
from controller.pipeline.stages import Stage
from tests.pure.openflow_switch import Wire, a_flow

DATAPATH = ProtocolDesc(version=ofp.OFP_VERSION)


def to(port: int, group: int = 7) -> WireBucket:
    actions = SetField("reg1", port), SetField("reg12", 5), Resubmit(Stage.ADMIT)
    return encode_bucket(bucket(Stage.REPLICATE, group, actions))


def leads(group: int = 7) -> WireFlow:
    return encode(Flow(Stage.REPLICATE, 100, (), (ToGroup(group),), None, Kind.NETWORK))


EXISTS = encode_bucket(bucket(Stage.REPLICATE, 7))


def theirs(port: int) -> parser.OFPBucket:
    actions = [
        parser.OFPActionSetField(reg1=port),
        parser.OFPActionSetField(reg12=5),
        parser.NXActionResubmitTable(0xFFF8, int(Stage.ADMIT)),
    ]
    return parser.OFPBucket(0, ofp.OFPP_ANY, ofp.OFPG_ANY, actions)


def serialized(message: parser.MsgBase) -> bytes:
    message.set_xid(0)
    message.serialize()
    return bytes(message.buf)


def test_a_group_mod_has_the_bytes_of_an_independent_implementation() -> None:
    buckets = in_order(data for _, data in (to(2), to(1), EXISTS))
    made = parser.OFPGroupMod(DATAPATH, 0x8000, ofp.OFPGT_ALL, 7, [theirs(1), theirs(2)])
    ended = parser.OFPGroupMod(DATAPATH, ofp.OFPGC_DELETE, ofp.OFPGT_ALL, 7, [])
    assert groups.put(7, buckets)[WRAPPING:] == serialized(made)
    assert groups.delete(7)[WRAPPING:] == serialized(ended)
    wrapped = parser.OFPBundleAddMsg(DATAPATH, 1, ofp.OFPBF_ATOMIC | ofp.OFPBF_ORDERED, made, [])
    assert groups.put(7, buckets) == serialized(wrapped)


def test_the_request_for_groups_and_the_action_that_leads_to_one_are_those_of_an_independent_implementation() -> None:
    asked = parser.OFPGroupDescStatsRequest(DATAPATH, 0)
    asked.set_xid(9)
    asked.serialize()
    assert bundle.dump_groups(9) == bytes(asked.buf)
    action = bytearray()
    parser.OFPActionGroup(7).serialize(action, 0)
    assert leads().instructions[8:] == bytes(action)


def test_a_switch_that_tells_its_groups_is_understood() -> None:
    wire = Wire()
    wire.switch.groups = {1: b"\x01", 7: bytes([0]) + to(1).data + to(2).data, 9: bytes([0]) + to(3).data}
    messages = list(wire.switch.answer(bundle.dump_groups(4)))
    assert len(messages) == 2
    assert [group for message in messages for group in installed_groups(message)] == [
        InstalledGroup(1, 1, ()),
        InstalledGroup(7, 0, (to(1).data, to(2).data)),
        InstalledGroup(9, 0, (to(3).data,)),
    ]


def test_a_bucket_that_only_says_that_there_is_the_group_is_not_told() -> None:
    assert WireBucket(7, b"") == EXISTS
    assert in_order([EXISTS.data]) == ()


def test_a_group_holds_no_more_than_one_message_can() -> None:
    many = in_order(to(port).data for port in range(1, 2000))
    assert 500 < len(many) < 1000
    assert len(groups.put(7, many)) < 1 << 16


def test_a_bucket_that_jumps_where_its_group_may_not_is_refused_where_it_is_written() -> None:
    with pytest.raises(ValueError, match="no way from stage REPLICATE to GUARD"):
        bucket(Stage.REPLICATE, 1, (Resubmit(Stage.GUARD),))


def test_a_bucket_reads_with_the_names_of_its_stages() -> None:
    its = bucket(Stage.REPLICATE, 7, (SetField("reg1", 2), Resubmit(Stage.ADMIT)))
    assert bucket_text(its) == "group=0x7, bucket=set_field:0x2->reg1,resubmit(,ADMIT)"
    assert bucket_text(bucket(Stage.REPLICATE, 7)) == "group=0x7, bucket=drop"


def in_step() -> Wire:
    wire = Wire()
    wire.take(wire.session.want(1, [a_flow(1), leads(), EXISTS, to(1), to(2)], 0.0))
    wire.connect()
    assert wire.settle() == [Synced(0, 3, 0), Confirmed(1)]
    assert wire.switch.groups == {7: bytes([0]) + to(1).data + to(2).data}
    return wire


def test_a_restart_finds_unchanged_groups_and_sends_nothing() -> None:
    wire = in_step()
    again = Wire(wire.switch)
    again.take(again.session.want(1, [to(2), a_flow(1), leads(), to(1), EXISTS], 0.0))
    again.connect()
    assert again.settle() == [Synced(2, 0, 0), Confirmed(1)]
    assert again.session.counters.group_mods_sent == again.session.counters.flow_mods_sent == 0


def test_a_new_bucket_is_one_group_mod_and_no_flow_mod() -> None:
    wire = in_step()
    wire.take(wire.session.change(2, [to(3)], [to(1)], 0.0))
    assert wire.settle() == [Confirmed(2)]
    assert wire.switch.groups == {7: bytes([0]) + to(2).data + to(3).data}
    assert (wire.session.counters.group_mods_sent, wire.session.counters.flow_mods_sent) == (2, 2)


def test_a_bucket_that_came_and_went_before_it_was_sent_costs_nothing() -> None:
    wire = in_step()
    wire.session.disconnected()
    wire.take(wire.session.change(2, [to(3)], [], 0.0))
    wire.take(wire.session.change(3, [], [to(3)], 0.0))
    wire.connect()
    assert wire.settle() == [Synced(2, 0, 0), Confirmed(3)]


def test_a_group_that_lost_all_buckets_but_the_first_stays_until_that_goes_too() -> None:
    wire = in_step()
    wire.take(wire.session.change(2, [], [to(1), to(2)], 0.0))
    assert wire.settle() == [Confirmed(2)]
    assert wire.switch.groups == {7: b"\x00"}
    wire.take(wire.session.change(3, [], [leads(), EXISTS], 0.0))
    assert wire.settle() == [Confirmed(3)]
    assert wire.switch.groups == {}


@pytest.mark.parametrize("strange", [{}, {7: b"\x01"}, {7: bytes([0]) + to(9).data}, {7: None, 8: b"\x00"}])
def test_an_audit_repairs_groups(strange: dict[int, bytes | None]) -> None:
    wire = in_step()
    right = dict(wire.switch.groups)
    wire.switch.groups = {id: data or right[id] for id, data in strange.items()}
    wire.take(wire.session.audit(0.0))
    assert wire.settle() == [Drifted(1), Confirmed(1)]
    assert wire.switch.groups == right
    wire.take(wire.session.audit(0.0))
    assert wire.settle() == []


def test_groups_of_a_refused_bundle_are_not_there() -> None:
    wire = in_step()
    refused = a_flow(5)
    wire.switch.refuse.add(refused.cookie)
    wire.take(wire.session.change(2, [refused, to(3)], [], 0.0))
    assert any(isinstance(event, Failed) for event in wire.settle())
    assert wire.switch.groups == {7: bytes([0]) + to(1).data + to(2).data}
