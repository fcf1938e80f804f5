"""What rules decide, as a real switch tells it: copies of packets with all they carried, never a flood; counters."""

from __future__ import annotations

import time

from controller.model import Direction
from controller.openflow.bundle import COPIES_PER_SECOND
from controller.openflow.events import Confirmed, Copied
from controller.pipeline.flow import Flow, Kind, Match, Reason, RuleRef, SetField, ToController
from controller.pipeline.stages import Stage
from tests.ovs import Ovs
from tests.switch.conftest import DATAPATH_ID, Controller

RULE = RuleRef(7, Direction.INGRESS, 2)
MARKED = Flow(
    Stage.CLASSIFY, 5, (Match("in_port", 1),), (SetField("reg0", 0x50003), SetField("reg6", 17 << 16 | 53)), 65, 0x7701
)
DENIED = Flow(
    Stage.ROUTE, 5, (Match("reg0", 0x50003),), (ToController(128),), None, Kind.DROP + Reason.INGRESS_POLICY, RULE
)
PACKET = (
    bytes.fromhex(
        "02000000000202000000000108004500"  # Ethernet, IPv4, UDP from 10.20.0.9 to 10.20.0.10
        "00e40000000040115ef00a1400090a14000a0fa0003500d00000"
    )
    + b"x" * 200
)


def copies(controller: Controller) -> list[Copied]:
    return [event for event in controller.events if isinstance(event, Copied)]


def send(ovs: Ovs, packet: bytes, times: int = 1) -> None:
    ovs.appctl("netdev-dummy/receive", "p1", *[packet.hex()] * times)


def test_a_denied_packet_comes_with_its_rule_its_registers_and_its_beginning(
    ovs: Ovs, controller: Controller, bridge: str
) -> None:
    controller.want(1, [MARKED, DENIED])
    controller.confirmed(1)
    send(ovs, PACKET)
    controller.until(lambda: copies(controller))
    (copied,) = copies(controller)
    assert copied.rule == RULE
    assert copied.packet.packet[:128] == PACKET[:128]  # more may come
    assert {name: copied.packet.fields[name] for name in ("in_port", "reg0", "reg6")} == {
        "in_port": 1,
        "reg0": 0x50003,
        "reg6": 17 << 16 | 53,
    }


def test_a_flood_of_denied_packets_is_cut_before_it_reaches_the_controller_and_counted_all_the_same(
    ovs: Ovs, controller: Controller, bridge: str
) -> None:
    controller.want(1, [MARKED, DENIED])
    controller.confirmed(1)
    began = time.monotonic()
    for _ in range(50):
        send(ovs, PACKET, 50)  # as many as a dummy port takes at once

    def counted() -> bool:
        controller.take(DATAPATH_ID, controller.session().measure(time.monotonic()))
        return [(reading.rule, reading.packets) for reading in controller.rules] == [(RULE, 2500)]

    controller.until(counted)
    seconds = time.monotonic() - began  # until the switch has had them all
    most = COPIES_PER_SECOND * (seconds + 1) * 1.2
    assert COPIES_PER_SECOND / 2 <= len(copies(controller)) <= most, f"{seconds} s"


def test_a_switch_that_has_the_limit_already_is_none_the_worse_for_hearing_it_again(
    ovs: Ovs, controller: Controller, bridge: str
) -> None:
    controller.want(1, [MARKED, DENIED])
    controller.confirmed(1)
    ovs.vsctl("del-controller", bridge)
    controller.until(lambda: len(controller.heard) == 2)
    controller.forget()
    ovs.set_controller(bridge, controller.target)
    controller.confirmed(1)
    assert Confirmed(1) in controller.events
    limit = ovs.ofctl("dump-meters", bridge)
    assert "meter=controller pktps burst" in limit and f"rate={COPIES_PER_SECOND}" in limit


def test_a_flow_that_now_carries_out_another_rule_counts_for_that(
    ovs: Ovs, controller: Controller, bridge: str
) -> None:
    controller.want(1, [MARKED, DENIED])
    controller.confirmed(1)
    send(ovs, PACKET, 3)
    controller.want(2, [MARKED, DENIED._replace(rule=RuleRef(7, Direction.INGRESS, 0))])
    controller.confirmed(2)
    send(ovs, PACKET)

    def counted() -> bool:
        controller.take(DATAPATH_ID, controller.session().measure(time.monotonic()))
        return [(reading.rule.number, reading.packets) for reading in controller.rules] == [(0, 4)]

    controller.until(counted)
