"""DNS answers, as a real switch copies them: whole, with whom they are from, while they are delivered all the same."""

from __future__ import annotations

import time

import pytest

from controller import dns
from controller.calc.answers import messages
from controller.model import Direction, Tenant
from controller.openflow.bundle import ANSWERS_PER_SECOND, COPIES_PER_SECOND
from controller.openflow.events import Copied, Heard
from controller.openflow.session import State
from controller.pipeline import hearing, output
from controller.pipeline.flow import Flow, Kind, Match, Reason, RuleRef, SetField, ToController
from controller.pipeline.stages import Stage
from controller.world import World
from tests.frames import answer, by_tcp, by_udp, prefixed
from tests.ovs import Ovs
from tests.switch.conftest import DATAPATH_ID, Controller

ACME = Tenant(7, "acme", 7)
TO_ACME = Flow(
    Stage.CLASSIFY,
    5,
    (Match("in_port", 1),),
    (SetField("reg0", 3), SetField("reg1", 2), SetField("reg7", ACME.id)),
    Stage.OUTPUT,
    0x7701,
)
NAME = "www.example.org"
MANY = [(NAME, 60, "A", f"203.0.113.{number}") for number in range(70)]
LONG = answer(NAME, *MANY).to_wire()  # more than 1,100 bytes


def delivered(ovs: Ovs, bridge: str) -> int:
    counters = ovs.ofctl("dump-ports", bridge, "2")
    return int(counters.split("tx pkts=")[1].split(",")[0])


@pytest.mark.parametrize(
    "frame",
    [
        by_udp(LONG),
        by_udp(LONG, "fd00::53", "fd00::9"),
        by_tcp(prefixed([LONG])),
        by_tcp(prefixed([LONG]), "fd00::53", "fd00::9"),
    ],
    ids=["udp4", "udp6", "tcp4", "tcp6"],
)
def test_an_answer_is_delivered_and_its_copy_says_all_of_it(
    ovs: Ovs, controller: Controller, bridge: str, frame: bytes
) -> None:
    controller.want(1, [TO_ACME, *hearing.tenant(World(), ACME), *output.base(World())])
    controller.confirmed(1)
    ovs.appctl("netdev-dummy/receive", "p1", frame.hex())
    controller.until(lambda: any(isinstance(event, Heard) for event in controller.events))
    (heard,) = [event for event in controller.events if isinstance(event, Heard)]
    assert (heard.packet.fields["reg0"], heard.packet.fields["reg7"]) == (3, ACME.id)
    (message,) = messages(heard.packet.packet)
    assert message == LONG
    chain = dns.read(message)
    assert chain is not None
    assert len(chain.addresses) == 70
    assert delivered(ovs, bridge) == 1


def test_a_flood_of_denied_packets_hides_no_answer(ovs: Ovs, controller: Controller, bridge: str) -> None:
    """What is copied of the flood goes to its limit, and each answer comes all the same."""
    rule = RuleRef(7, Direction.INGRESS, 0)
    match = Match("eth_type", 0x0800), Match("ip_proto", 17), Match("udp_src", 54)
    denied = Flow(Stage.CLASSIFY, 9, match, (ToController(128),), None, Kind.DROP + Reason.INGRESS_POLICY, rule)
    controller.want(1, [denied, TO_ACME, *hearing.tenant(World(), ACME), *output.base(World())])
    controller.confirmed(1)
    flood = bytearray(by_udp(b"x" * 100))
    flood[35] = 54  # from another port
    burst = [bytes(flood).hex()] * 50  # as many as a dummy port takes at once
    began = time.monotonic()
    for _ in range(20):
        ovs.appctl("netdev-dummy/receive", "p1", *burst)
    for _ in range(4):
        for _ in range(3):
            ovs.appctl("netdev-dummy/receive", "p1", *burst)
        ovs.appctl("netdev-dummy/receive", "p1", by_udp(LONG).hex())

    def heard() -> int:
        return sum(isinstance(event, Heard) for event in controller.events)

    controller.until(lambda: heard() == 4)
    most = COPIES_PER_SECOND * (time.monotonic() - began + 1) * 1.2
    assert sum(isinstance(event, Copied) for event in controller.events) <= most, "the flood met its limit"
    session = controller.session()
    before = session.counters.flow_mods_sent
    controller.take(DATAPATH_ID, session.audit(time.monotonic()))
    controller.until(lambda: session.state is State.IDLE)
    assert session.counters.flow_mods_sent == before, "the switch writes these flows down as they were sent"
    meters = ovs.ofctl("dump-meters", bridge)
    assert f"rate={ANSWERS_PER_SECOND}" in meters and f"rate={COPIES_PER_SECOND}" in meters


def test_other_packets_are_delivered_and_not_copied(ovs: Ovs, controller: Controller, bridge: str) -> None:
    controller.want(1, [TO_ACME, *hearing.tenant(World(), ACME), *output.base(World())])
    controller.confirmed(1)
    other = bytearray(by_udp(b"x" * 300))
    other[35] = 54  # from another port
    for frame in (bytes(other), by_udp(LONG)):
        ovs.appctl("netdev-dummy/receive", "p1", frame.hex())
    controller.until(lambda: any(isinstance(event, Heard) for event in controller.events))
    (heard,) = [event for event in controller.events if isinstance(event, Heard)]
    assert messages(heard.packet.packet) == [LONG]
    assert delivered(ovs, bridge) == 2
