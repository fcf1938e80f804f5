"""What a real switch's conntrack remembers of the rules that admitted a connection, as the agent reads it."""

from __future__ import annotations

from scapy.layers.inet import IP, TCP, UDP  # type: ignore[import-untyped]
from scapy.layers.l2 import Ether  # type: ignore[import-untyped]

from controller.pipeline import conntrack, output
from controller.pipeline.flow import Ct, Flow, Match, SetField
from controller.pipeline.registers import NEW_AT_DESTINATION, NEW_AT_SOURCE
from controller.pipeline.stages import Stage
from controller.world import World
from ovs_agent.conntrack import Admitted, Connections
from tests.ovs import Ovs
from tests.switch.conftest import Controller

ACME, BETA = 7, 8
OUT_MARK, IN_MARK = 0x80000001, 0xFFFFFFFE
ENDS = "10.0.0.1", "10.0.0.2"


def to_commit(flags: int) -> list[Flow]:
    """From ACME to BETA on one host; only the first port's packets open connections."""
    ip = Match("eth_type", 0x0800)
    known = SetField("reg0", ACME | flags), SetField("reg7", BETA), SetField("reg1", 2)
    marks = SetField("reg14", OUT_MARK), SetField("reg15", IN_MARK)
    return [
        Flow(Stage.CLASSIFY, 5, (Match("in_port", 1), ip), (*known, *marks), Stage.COMMIT_SOURCE, 0x7701),
        Flow(Stage.CLASSIFY, 5, (Match("in_port", 2), ip), (Ct(ACME, table=Stage.OUTPUT),), None, 0x7701),
        *(flow for flow in conntrack.base(World()) if flow.table in (Stage.COMMIT_SOURCE, Stage.COMMIT_DESTINATION)),
        *output.base(World()),
    ]


def send(ovs: Ovs, port: str, layer4: object) -> None:
    source, destination = ENDS if port == "p1" else ENDS[::-1]
    link = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    ovs.appctl("netdev-dummy/receive", port, bytes(link / IP(src=source, dst=destination) / layer4).hex())


def counted(ovs: Ovs) -> dict[Admitted, int]:
    found = Connections(ovs.folder, "dummy").counted()
    assert found is not None
    return {Admitted(item["tenant"], item["direction"], item["mark"]): item["open"] for item in found}


def test_each_end_counts_the_rule_about_it(ovs: Ovs, controller: Controller, bridge: str) -> None:
    controller.want(1, to_commit(NEW_AT_SOURCE | NEW_AT_DESTINATION))
    controller.confirmed(1)
    ovs.appctl("dpctl/flush-conntrack")
    assert counted(ovs) == {}
    for port in (4000, 4001, 4002):
        send(ovs, "p1", UDP(sport=port, dport=53))
    assert counted(ovs) == {Admitted(ACME, "egress", OUT_MARK): 3, Admitted(BETA, "ingress", IN_MARK): 3}
    ovs.appctl("dpctl/flush-conntrack")
    assert counted(ovs) == {}


def test_a_tcp_connection_that_was_reset_is_not_open(ovs: Ovs, controller: Controller, bridge: str) -> None:
    controller.want(1, to_commit(NEW_AT_SOURCE))
    controller.confirmed(1)
    ovs.appctl("dpctl/flush-conntrack")
    send(ovs, "p1", TCP(sport=4000, dport=80, flags="S", seq=1))
    assert counted(ovs) == {Admitted(ACME, "egress", OUT_MARK): 1}
    send(ovs, "p2", TCP(sport=80, dport=4000, flags="RA", seq=0, ack=2))
    assert counted(ovs) == {}
    assert "TIME_WAIT" in ovs.appctl("dpctl/dump-conntrack"), "conntrack remembers it"


def test_a_data_path_that_is_not_there_is_not_taken_for_one_without_connections(ovs: Ovs) -> None:
    assert Connections(ovs.folder, "nothing").counted() is None
    assert Connections(ovs.folder / "nowhere", "dummy").counted() is None
