"""A real bridge gets the flows that are wanted, exactly them, and keeps them."""

from __future__ import annotations

import ipaddress
import time

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import Ether
from scapy.utils import rdpcap

from controller.openflow.encode import encode
from controller.openflow.events import Confirmed, Drifted, Failed, Synced
from controller.openflow.session import Session
from controller.openflow.text import flow_text
from controller.pipeline.flow import Ct, Flow, InPort, Kind, Match, Move, Output, Reason, SetField
from controller.pipeline.stages import Stage
from tests.flows import flows
from tests.ovs import Ovs, wait_for
from tests.switch.conftest import DATAPATH_ID, Controller
from tests.switch.wire import Wire

# No shrinking: each example is a conversation with a switch.
SEARCH = settings(deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate], database=None)


def to(address: int, port: int = 1) -> Flow:
    match = (Match("eth_type", 0x0800), Match("ip_dst", address))
    return Flow(Stage.DELIVER, 100, match, (Output(port),), None, Kind.ENDPOINT)


PROGRAM = [*(to(0x0A140000 + number) for number in range(50)), Flow(Stage.CLASSIFY, 0, (), (), None, Kind.DROP)]


def test_flows_read_back_as_if_ovs_ofctl_had_added_them(ovs: Ovs, controller: Controller, bridge: str) -> None:
    ovs.add_bridge("peer")
    seen = []

    @settings(SEARCH, max_examples=25)
    @given(st.lists(flows(), min_size=20, max_size=40))
    def check(program: list[Flow]) -> None:
        unique = {encode(flow).key: flow for flow in program}
        seen.append(len(seen) + 1)
        controller.want(seen[-1], list(unique.values()))
        controller.confirmed(seen[-1])
        text = "\n".join(flow_text(flow, numbers=True) for flow in unique.values())
        ovs.ofctl("del-flows", "peer")
        ovs.ofctl("-O", "OpenFlow15", "--bundle", "add-flows", "peer", "-", stdin=text)
        assert sorted(ovs.flows(bridge)) == sorted(ovs.flows("peer"))

    check()
    ovs.vsctl("del-br", "peer")


def test_the_switch_dumps_the_very_bytes_that_it_was_sent(ovs: Ovs) -> None:
    """So that a controller which restarts finds nothing to do, and a flow changed by hand is noticed."""
    ovs.add_bridge("echo")
    seen = []

    with Wire(ovs.folder / "echo.mgmt") as wire:
        session = Session()
        session.connected(0.0)

        @settings(SEARCH, max_examples=100)
        @given(st.lists(flows(), min_size=1, max_size=20))
        def check(program: list[Flow]) -> None:
            unique = list({encoded.key: encoded for encoded in map(encode, program)}.values())
            seen.append(len(seen) + 1)
            assert Confirmed(seen[-1]) in wire.run(session, session.want(seen[-1], unique, 0.0))
            newcomer = Session()
            newcomer.connected(0.0)
            assert Synced(len(unique), 0, 0) in wire.run(newcomer, newcomer.want(1, unique, 0.0))

        check()
    ovs.vsctl("del-br", "echo")


def test_a_controller_that_restarts_sends_no_flow_mods(ovs: Ovs, controller: Controller, bridge: str) -> None:
    controller.want(1, PROGRAM)
    controller.confirmed(1)
    controller.stop()
    again = Controller(controller.switches.port)
    again.want(1, PROGRAM)
    again.confirmed(1)
    assert again.events == [Synced(51, 0, 0), Confirmed(1)]
    assert again.session().counters.flow_mods_sent == 0
    again.stop()


def test_an_audit_repairs_deleted_foreign_and_altered_flows(ovs: Ovs, controller: Controller, bridge: str) -> None:
    controller.want(1, PROGRAM)
    controller.confirmed(1)
    before = ovs.flows(bridge)
    controller.forget()
    ovs.ofctl("--strict", "del-flows", bridge, f"table={Stage.DELIVER:d},priority=100,ip,ip_dst=10.20.0.7")
    ovs.ofctl("add-flow", bridge, "table=3,priority=9,arp,arp_op=1,metadata=5,actions=normal")
    ovs.ofctl("mod-flows", bridge, f"table={Stage.DELIVER:d},ip,ip_dst=10.20.0.8,actions=output:2")
    assert ovs.flows(bridge) != before
    controller.take(DATAPATH_ID, controller.session().audit(time.monotonic()))
    controller.until(lambda: controller.events)
    assert controller.forget() == [Drifted(3)]
    controller.confirmed(1)
    assert sorted(ovs.flows(bridge)) == sorted(before)


def test_a_refused_bundle_is_told_in_the_switchs_words_and_changes_nothing(
    ovs: Ovs, controller: Controller, bridge: str
) -> None:
    controller.want(1, PROGRAM)
    controller.confirmed(1)
    before = ovs.flows(bridge)
    controller.forget()
    # An ICMP type may be set only in a packet that is known to be ICMP.
    bad = Flow(Stage.ANSWER, 5, (), (SetField("icmpv6_type", 136), InPort()), None, Kind.ENDPOINT)
    controller.want(2, [*PROGRAM[1:], to(99), bad])
    controller.until(lambda: len(controller.events) == 2)
    sentence = "the switch refused a flow in table 30 with priority 5: bad action: does not fit the match"
    assert controller.forget() == [Failed(2, sentence, encode(bad).cookie)] * 2
    assert ovs.flows(bridge) == before
    controller.want(3, [*PROGRAM[1:], to(99)])
    controller.confirmed(3)
    assert len(ovs.flows(bridge)) == 51


def test_a_switch_that_was_killed_gets_everything_again(controller: Controller) -> None:
    with Ovs() as mortal:
        mortal.add_bridge("br", ports={"p1": 1}, datapath_id=DATAPATH_ID)
        mortal.set_controller("br", controller.target)
        controller.want(1, PROGRAM)
        controller.confirmed(1)
        before = mortal.flows("br")
        controller.forget()
        mortal.kill_switch()
        controller.until(lambda: len(controller.heard) == 2, 9)  # not when a probe fails, after ten seconds
        mortal.start_switch()
        controller.confirmed(1)
        assert controller.events == [Synced(0, 51, 0), Confirmed(1)]
        assert mortal.flows("br") == before


def test_connection_tracking_is_accepted_by_the_user_space_data_path(
    ovs: Ovs, controller: Controller, bridge: str
) -> None:
    match = (Match("eth_type", 0x0800), Match("reg0", 7, 0xFFFF))
    tracked = Flow(Stage.TRACK_SOURCE, 9, match, (Ct("reg0[0..15]", False, Stage.STATE_SOURCE),), None, Kind.TENANT)
    controller.want(1, [tracked])
    controller.confirmed(1)
    assert "ct(table=45,zone=NXM_NX_REG0[0..15])" in ovs.flows(bridge)[0]


def test_dropped_packets_are_counted_by_reason(ovs: Ovs, controller: Controller, bridge: str) -> None:
    drop = Flow(Stage.CLASSIFY, 5, (Match("in_port", 1),), (), None, Kind.DROP + Reason.SPOOFED)
    controller.want(1, [*PROGRAM[:3], drop])
    controller.confirmed(1)
    for _ in range(3):
        ovs.appctl("netdev-dummy/receive", "p1", "02000000000102000000000208004500")

    def counted() -> bool:
        controller.take(DATAPATH_ID, controller.session().measure(time.monotonic()))
        return controller.drops.get(Reason.SPOOFED) == 3

    controller.until(counted)


EXTENSIONS = {
    "set": (SetField("nd_options_type", 2), SetField("nd_reserved", 0xE0000000)),
    "moved": (
        *(SetField("reg14", 0xE0000000), SetField("reg15", 2)),
        *(Move("reg15", "nd_options_type", 8), Move("reg14", "nd_reserved", 32)),
    ),
}


@pytest.mark.parametrize("how", EXTENSIONS)
def test_a_solicitation_is_answered_by_two_flows(ovs: Ovs, controller: Controller, bridge: str, how: str) -> None:
    """The link-layer address of the answer can be set only where the packet is known to be an advertisement.

    Open vSwitch refuses a flow that sets these extensions on a data path without them, but not one that moves them.
    """
    address, mac = int(ipaddress.IPv6Address("fd00::1")), 0x02776172726E
    neighbour = (Match("eth_type", 0x86DD), Match("ip_proto", 58), Match("icmpv6_code", 0))
    asked = Flow(
        Stage.ANSWER,
        10,
        (*neighbour, Match("icmpv6_type", 135), Match("nd_target", address)),
        (
            *(Move("eth_src", "eth_dst", 48), SetField("eth_src", mac)),
            *(Move("ipv6_src", "ipv6_dst", 128), SetField("ipv6_src", address), SetField("nw_ttl", 255)),
            *(*EXTENSIONS[how], SetField("icmpv6_type", 136)),
        ),
        Stage.ADVERTISE,
        Kind.NETWORK,
    )
    told = Flow(
        *(Stage.ADVERTISE, 10, (*neighbour, Match("icmpv6_type", 136)), (SetField("nd_tll", mac), InPort())),
        *(None, Kind.BASE),
    )
    first = Flow(Stage.CLASSIFY, 1, (), (), Stage.ANSWER, Kind.BASE)
    controller.want(1, [first, asked, told])
    controller.confirmed(1)
    capture = ovs.folder / f"{how}.pcap"
    ovs.vsctl("set", "interface", "p1", f"options:tx_pcap={capture}")
    solicitation = (
        Ether(src="02:00:00:00:00:09", dst="33:33:ff:00:00:01")
        / IPv6(src="fd00::9", dst="ff02::1:ff00:1", hlim=255)
        / ICMPv6ND_NS(tgt="fd00::1")
        / ICMPv6NDOptSrcLLAddr(lladdr="02:00:00:00:00:09")
    )
    ovs.appctl("netdev-dummy/receive", "p1", bytes(solicitation).hex())
    wait_for(lambda: capture.stat().st_size > 24, "an answer")
    [answer] = rdpcap(str(capture))
    expected = (
        Ether(src="02:77:61:72:72:6e", dst="02:00:00:00:00:09")
        / IPv6(src="fd00::1", dst="fd00::9", hlim=255)
        / ICMPv6ND_NA(tgt="fd00::1", R=1, S=1, O=1)
        / ICMPv6NDOptDstLLAddr(lladdr="02:77:61:72:72:6e")
    )
    assert bytes(answer) == bytes(expected)  # checksum included
