"""A real bridge gets the groups that are wanted, keeps them over a restart of the controller, and has them repaired."""

from __future__ import annotations

import time

import pytest

from controller.calc.membership import members
from controller.loop import compile_fragment
from controller.model import format_mac
from controller.openflow.encode import encode
from controller.openflow.events import Confirmed, Drifted, Event, Failed, Synced
from controller.openflow.groups import encode_bucket
from controller.openflow.session import Session, State
from controller.openflow.wanted import WireItem
from controller.pipeline.flow import (
    Bucket,
    Flow,
    Item,
    Kind,
    Match,
    Output,
    OutputReg,
    Resubmit,
    SetField,
    ToGroup,
    bucket,
)
from controller.pipeline.stages import Stage
from tests.ovs import Ovs
from tests.pure import worlds
from tests.switch.conftest import DATAPATH_ID, Controller
from tests.switch.wire import Wire


def to(port: int, group: int = 7) -> Bucket:
    return bucket(Stage.REPLICATE, group, (SetField("reg1", port), Resubmit(Stage.ADMIT)))


def leads(group: int = 7, priority: int = 100) -> Flow:
    return Flow(Stage.CLASSIFY, priority, (Match("in_port", 1),), (ToGroup(group),), None, Kind.NETWORK)


DELIVERED = Flow(Stage.ADMIT, 0, (), (OutputReg("reg1"),), None, Kind.BASE)
PROGRAM: list[Item] = [leads(), DELIVERED, bucket(Stage.REPLICATE, 7), to(2), to(3), to(1)]


def wired(items: list[Item]) -> list[WireItem]:
    return [encode(item) if isinstance(item, Flow) else encode_bucket(item) for item in items]


def want(controller: Controller, revision: int, items: list[Item]) -> None:
    controller.take(DATAPATH_ID, controller.session().want(revision, wired(items), time.monotonic()))


def change(controller: Controller, revision: int, added: list[Item], removed: list[Item]) -> None:
    step = controller.session().change(revision, wired(added), wired(removed), time.monotonic())
    controller.take(DATAPATH_ID, step)
    controller.confirmed(revision)


def audit(controller: Controller) -> list[Event]:
    controller.forget()
    controller.take(DATAPATH_ID, controller.session().audit(time.monotonic()))
    controller.until(lambda: controller.session().state is State.IDLE)
    return controller.forget()


def told(ovs: Ovs, bridge: str) -> list[str]:
    return [line.strip() for line in ovs.ofctl("dump-groups", bridge).splitlines()[1:]]


@pytest.fixture
def settled(controller: Controller, bridge: str) -> Controller:
    want(controller, 1, PROGRAM)
    controller.confirmed(1)
    return controller


def test_a_packet_goes_through_every_bucket_but_to_the_port_it_came_from(
    ovs: Ovs, settled: Controller, bridge: str
) -> None:
    ovs.vsctl("add-port", bridge, "p3", "--", "set", "interface", "p3", "type=dummy", "ofport_request=3")
    traced = ovs.appctl("ofproto/trace", bridge, "in_port=1,udp,nw_dst=255.255.255.255")
    left = [line.split()[-1] for line in traced.splitlines() if "output port is" in line]
    assert left == ["1", "2", "3"]
    assert traced.count("skipping output to input port") == 1
    assert traced.splitlines()[-1].count(",") == 1, "two copies"


def test_a_controller_that_restarts_sends_no_group_mods(ovs: Ovs, settled: Controller, bridge: str) -> None:
    assert settled.session().counters.group_mods_sent == 1
    settled.stop()
    again = Controller(settled.switches.port)
    want(again, 1, PROGRAM)
    again.confirmed(1)
    assert again.events == [Synced(2, 0, 0), Confirmed(1)]
    assert again.session().counters.group_mods_sent == again.session().counters.flow_mods_sent == 0
    again.stop()


@pytest.mark.parametrize(
    ("damage", "strange"),
    [
        (("mod-group", "group_id=7,type=all,bucket=actions=output:2"), 1),
        (("mod-group", "group_id=7,type=indirect,bucket=actions=output:2"), 1),
        (("add-group", "group_id=99,type=all,bucket=actions=output:2"), 1),
        (("del-groups", "group_id=7"), 2),  # with it goes the flow that leads to it
    ],
)
def test_an_audit_repairs_groups(
    ovs: Ovs, settled: Controller, bridge: str, damage: tuple[str, str], strange: int
) -> None:
    groups, flows = told(ovs, bridge), ovs.flows(bridge)
    ovs.ofctl(damage[0], bridge, damage[1])
    assert (told(ovs, bridge), ovs.flows(bridge)) != (groups, flows)
    assert audit(settled) == [Drifted(strange), Confirmed(1)]
    assert (told(ovs, bridge), ovs.flows(bridge)) == (groups, flows)
    assert audit(settled) == []


def test_a_group_changes_by_one_message_and_ends_after_its_flows(ovs: Ovs, settled: Controller, bridge: str) -> None:
    counters = settled.session().counters
    before = counters.group_mods_sent, counters.flow_mods_sent
    change(settled, 2, [to(5)], [to(2)])
    assert (counters.group_mods_sent, counters.flow_mods_sent) == (before[0] + 1, before[1])
    assert "0x5->reg1" in told(ovs, bridge)[0] and "0x2->reg1" not in told(ovs, bridge)[0]
    other: list[Item] = [leads(8, 200), bucket(Stage.REPLICATE, 8), to(2, 8)]
    change(settled, 3, other, [leads(), bucket(Stage.REPLICATE, 7), to(5), to(3), to(1)])
    assert [line.split(",")[0] for line in told(ovs, bridge)] == ["group_id=8"]
    assert audit(settled) == []


def test_a_bundle_that_is_refused_changes_no_group(ovs: Ovs, settled: Controller, bridge: str) -> None:
    before = told(ovs, bridge), ovs.flows(bridge)
    impossible = Flow(Stage.CLASSIFY, 9, (), (ToGroup(55),), None, Kind.BASE)
    step = settled.session().change(2, wired([to(9), impossible]), [], time.monotonic())
    settled.take(DATAPATH_ID, step)
    settled.until(lambda: any(isinstance(event, Failed) for event in settled.events))
    assert (told(ovs, bridge), ovs.flows(bridge)) == before
    failed = next(event for event in settled.events if isinstance(event, Failed))
    assert "unknown group" in failed.sentence


def test_a_group_as_large_as_a_message_is_taken(ovs: Ovs, controller: Controller, bridge: str) -> None:
    many = [Bucket(7, (Output(port),)) for port in range(1, 4000)]
    want(controller, 1, [leads(), bucket(Stage.REPLICATE, 7), *many])
    controller.confirmed(1)
    assert audit(controller) == []
    assert told(ovs, bridge)[0].count("bucket=") > 1000


def test_three_hundred_endpoints_on_a_host_and_fifty_other_hosts_all_get_a_copy(ovs: Ovs) -> None:
    """Of a broadcast, through the whole pipeline: Open vSwitch resubmits a packet 4,096 times at most."""
    receivers = [worlds.endpoint(1000 + n, 10, 1, 2 + n % 250, 10 + n // 250, ipv6=False) for n in range(300)]
    elsewhere = [worlds.endpoint(5000 + host, 10, host, host, 90, ipv6=False) for host in range(2, 52)]
    world = worlds.world(
        *(worlds.tenant(1), worlds.network(10, 1, broadcast=True), *map(worlds.host, range(1, 52))),
        *(*receivers, *elsewhere),
    )
    items = [item for key in members(world, 1) for item in compile_fragment(world, key)]
    ovs.add_bridge("many")
    with Wire(ovs.folder / "many.mgmt") as wire:
        session = Session()
        session.connected(0.0)
        assert Confirmed(1) in wire.run(session, session.want(1, items, 0.0))
    source = world.endpoints[1000]
    sent = f"in_port={source.ofport},udp,dl_src={format_mac(source.mac)},dl_dst=ff:ff:ff:ff:ff:ff"
    said = ovs.appctl("ofproto/trace", "many", f"{sent},nw_src={source.addresses[0].ip},nw_dst=255.255.255.255")
    assert (said.count("output port is"), said.count("            output:1\n")) == (299, 50)
    assert ">>>>" not in said
    ovs.vsctl("del-br", "many")
