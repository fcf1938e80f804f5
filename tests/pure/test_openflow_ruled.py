"""Rules in a session: flows tell by their cookies which rule they are of, in readings and in copies of packets."""

from __future__ import annotations

import struct

from controller.model import Direction
from controller.openflow import decode
from controller.openflow.events import Copied, Measured, Reading
from controller.openflow.ruled import MOST_COPIES
from controller.pipeline.flow import Kind, Reason, RuleRef
from tests.pure.openflow_switch import Wire, a_flow


def copy_of(cookie: int) -> bytes:
    """A packet-in from the flow with this cookie, without fields."""
    body = struct.pack("!IHBBQHH4x2x", 0xFFFFFFFF, 4, 1, 80, cookie, 1, 4) + b"copy"
    return struct.pack("!BBHI", 5, decode.PACKET_IN, 8 + len(body), 0) + body


def test_a_copied_packet_is_told_with_the_rule_of_its_flow_as_long_as_that_is_wanted() -> None:
    wire = Wire()
    rule, other = RuleRef(7, Direction.INGRESS, 0), RuleRef(7, Direction.INGRESS, 1)
    flow = a_flow(1, owner=Kind.DROP + Reason.INGRESS_POLICY)._replace(rule=rule)
    wire.want(1, [flow, a_flow(2)])
    wire.connect()
    wire.settle()
    (event,) = wire.session.received(copy_of(flow.cookie), 0.0).events
    assert isinstance(event, Copied) and (event.rule, event.packet.packet) == (rule, b"copy")
    assert not wire.session.received(copy_of(a_flow(2).cookie), 0.0).events
    wire.change(2, [flow._replace(rule=other)], [flow])
    (event,) = wire.session.received(copy_of(flow.cookie), 0.0).events
    assert isinstance(event, Copied) and event.rule == other
    wire.change(3, [], [flow._replace(rule=other)])
    assert not wire.session.received(copy_of(flow.cookie), 0.0).events


def test_of_a_switch_without_meters_only_so_many_copies_are_looked_at() -> None:
    wire = Wire()
    flow = a_flow(1, owner=Kind.DROP + Reason.INGRESS_POLICY)._replace(rule=RuleRef(7, Direction.INGRESS, 0))
    wire.want(1, [flow])
    wire.connect()
    wire.settle()
    told = [
        len(wire.session.received(copy_of(flow.cookie), second).events) for second in (1.0, 2.5) for _ in range(999)
    ]
    assert sum(told[:999]) == sum(told[999:]) == MOST_COPIES


def test_rules_are_read_with_the_drops_and_their_clauses_are_not() -> None:
    wire = Wire()
    rule = RuleRef(7, Direction.EGRESS, 2)
    flows = [
        a_flow(1, owner=Kind.POLICY)._replace(rule=rule),
        a_flow(2, owner=Kind.DROP + Reason.EGRESS_POLICY)._replace(rule=rule),
        a_flow(3, owner=Kind.CLAUSE),
    ]
    for flow, packets in zip(flows, (5, 3, 9), strict=True):
        wire.switch.install(flow, packets)
    wire.want(1, flows)
    wire.connect()
    wire.settle()
    wire.take(wire.session.measure(0.0))
    while wire.pending:
        wire.deliver()
    readings = [
        Reading(flow.cookie, rule, packets, 100 * packets) for flow, packets in zip(flows, (5, 3), strict=False)
    ]
    assert wire.events == [Measured({Reason.EGRESS_POLICY: 3}, readings)]
