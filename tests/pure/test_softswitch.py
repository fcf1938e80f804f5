"""The software pipeline itself: conjunctions and connections as Open vSwitch has them, stricter where it guesses."""

from __future__ import annotations

import pytest

from controller.pipeline.flow import (
    Action,
    Conjunction,
    Ct,
    Flow,
    Kind,
    Match,
    Output,
    OutputReg,
    Pop,
    Push,
    Reason,
    Resubmit,
    SetField,
    ToController,
    ToGroup,
    bucket,
    drop,
)
from controller.pipeline.stages import Stage
from tests.pure.connections import ESTABLISHED, INVALID, NEW, QUERIES, REPLY, TRACKED, Connections, Packet
from tests.pure.softswitch import Always, Outcome, Switch, send

WEB = {"eth_type": 0x0800, "ip_proto": 6, "ip_src": 1, "ip_dst": 2, "tcp_src": 4000, "tcp_dst": 80}


def flow(priority: int, match: dict[str, int], *actions: Action, table: int = 0, goto: Stage | None = None) -> Flow:
    matches = tuple(Match(field, value) for field, value in match.items())
    return Flow(Stage(table), priority, matches, actions, goto, int(Kind.BASE))


FROM_1_TO_PORT_80 = [
    flow(50, {"ip_src": 1}, Conjunction(7, 1, 2)),
    flow(50, {"tcp_dst": 80}, Conjunction(7, 2, 2)),
    flow(50, {"conj_id": 7}, Output(7)),
]
REST = flow(0, {}, Output(9))


def port(flows: list[Flow], packet: Packet = WEB) -> int | None:
    return send(flows, packet).port


def test_a_conjunction_needs_all_of_its_clauses() -> None:
    assert port([*FROM_1_TO_PORT_80, REST]) == 7
    assert port([*FROM_1_TO_PORT_80, REST], WEB | {"tcp_dst": 81}) == 9
    assert port([*FROM_1_TO_PORT_80, REST], WEB | {"ip_src": 3}) == 9


def test_a_higher_flow_beats_a_conjunction_and_a_lower_one_does_not() -> None:
    assert port([*FROM_1_TO_PORT_80, flow(60, {"ip_src": 1}, Output(6)), REST]) == 6
    assert port([*FROM_1_TO_PORT_80, flow(40, {"ip_src": 1}, Output(4)), REST]) == 7


def test_clauses_of_two_priorities_never_add_up() -> None:
    split = [flow(50, {"ip_src": 1}, Conjunction(7, 1, 2)), flow(49, {"tcp_dst": 80}, Conjunction(7, 2, 2))]
    assert port([*split, FROM_1_TO_PORT_80[2], REST]) == 9


def test_one_clause_may_serve_several_conjunctions() -> None:
    shared = [
        flow(50, {"ip_src": 1}, Conjunction(7, 1, 2), Conjunction(8, 1, 2)),
        flow(50, {"tcp_dst": 81}, Conjunction(8, 2, 2)),
        flow(50, {"conj_id": 8}, Output(8)),
    ]
    assert port([*shared, REST], WEB | {"tcp_dst": 81}) == 8
    assert port([*shared, REST]) == 9


def test_what_a_switch_would_decide_by_chance_fails_unless_it_makes_no_difference() -> None:
    same, other = flow(50, {"ip_dst": 2}, Output(7)), flow(50, {"ip_dst": 2}, Output(1))
    assert port([*FROM_1_TO_PORT_80, same]) == 7
    with pytest.raises(AssertionError, match="one priority"):
        port([*FROM_1_TO_PORT_80, other])
    with pytest.raises(AssertionError, match="one priority"):
        port([flow(5, {"ip_src": 1}, Output(1)), flow(5, {"ip_dst": 2}, Output(2))])


def test_a_flow_that_is_half_a_clause_is_refused() -> None:
    with pytest.raises(AssertionError, match="half a clause"):
        Switch([flow(50, {"ip_src": 1}, Conjunction(7, 1, 2), Output(1))])
    with pytest.raises(AssertionError):
        Switch([flow(50, {"ip_src": 1}, Conjunction(7, 3, 2))])


def test_the_stack_swaps_two_fields() -> None:
    swap = (Push("ip_src"), Push("ip_dst"), Pop("ip_src"), Pop("ip_dst"), Output(1))
    packet = send([flow(0, {}, *swap)], WEB).packet
    assert (packet["ip_src"], packet["ip_dst"]) == (2, 1)


def test_a_copy_for_the_log_is_remembered_also_of_a_drop() -> None:
    assert send([flow(0, {}, ToController(128), Output(1))], WEB).logged
    denied = drop(Reason.TENANT_ISOLATION, Stage.CLASSIFY, 0)._replace(actions=(ToController(128),))
    assert send([denied], WEB).logged
    assert not send([REST], WEB).logged


def test_a_register_nobody_wrote_is_zero_also_under_a_mask() -> None:
    masked = Flow(Stage.CLASSIFY, 5, (Match("reg9", 0, 0xFF00),), (Output(5),), None, int(Kind.BASE))
    assert port([masked, REST]) == 5


def track(connections: Connections | Always, packet: Packet, zone: int = 5) -> Outcome:
    """Look up in the zone that reg0 names, commit what is new, and leave."""
    flows = [
        flow(0, {}, SetField("reg0", zone), Ct("reg0[0..15]", table=Stage.STATE_SOURCE)),
        flow(9, {"ct_state": TRACKED | NEW}, Ct("reg0[0..15]", commit=True), Output(1), table=Stage.STATE_SOURCE),
        flow(0, {}, Output(1), table=Stage.STATE_SOURCE),
    ]
    return Switch(flows).send(packet, connections)


def state(connections: Connections, packet: Packet, zone: int = 5) -> int:
    return track(connections, packet, zone).packet["ct_state"]


REPLY_FROM_WEB = WEB | {"ip_src": 2, "ip_dst": 1, "tcp_src": 80, "tcp_dst": 4000}


def test_a_committed_connection_is_established_and_its_replies_are_replies() -> None:
    connections = Connections()
    assert state(connections, WEB) == TRACKED | NEW
    assert state(connections, WEB) == TRACKED | ESTABLISHED
    assert state(connections, REPLY_FROM_WEB) == TRACKED | ESTABLISHED | REPLY
    assert state(connections, WEB | {"tcp_src": 4001}) == TRACKED | NEW
    assert track(connections, WEB).packet["ct_zone"] == 5


def test_zones_and_protocols_know_nothing_of_each_other() -> None:
    connections = Connections()
    track(connections, WEB)
    sctp = {"eth_type": 0x0800, "ip_proto": 132, "ip_src": 1, "ip_dst": 2, "sctp_src": 4000, "sctp_dst": 80}
    assert state(connections, WEB, zone=6) == state(connections, sctp) == TRACKED | NEW


@pytest.mark.parametrize(("query", "answer"), QUERIES.items())
def test_icmp_queries_open_connections_and_nothing_else_does(query: int, answer: int) -> None:
    name, protocol = ("icmp", 1) if query < 128 else ("icmpv6", 58)
    ping = {"eth_type": 0x0800, "ip_proto": protocol, "ip_src": 1, "ip_dst": 2, f"{name}_type": query}
    pong = ping | {"ip_src": 2, "ip_dst": 1, f"{name}_type": answer}
    connections = Connections()
    assert state(connections, pong) == TRACKED | INVALID
    assert state(connections, ping) == TRACKED | NEW
    assert state(connections, pong) == TRACKED | ESTABLISHED | REPLY
    assert state(connections, ping | {"ip_src": 2, "ip_dst": 1}) == TRACKED | NEW, "the other end asks for itself"
    assert state(connections, ping | {f"{name}_type": 3}) == TRACKED | INVALID


def test_a_group_copies_the_packet_as_it_is_for_each_of_its_buckets() -> None:
    program = [
        flow(9, {"in_port": 1}, SetField("reg3", 5), ToGroup(7), ToGroup(8)),
        bucket(Stage.REPLICATE, 7, (SetField("reg1", 20), Resubmit(Stage.ADMIT))),
        bucket(Stage.REPLICATE, 7, (SetField("reg1", 30), SetField("reg3", 6), Resubmit(Stage.ADMIT))),
        bucket(Stage.REPLICATE, 8),
        flow(9, {"reg3": 5}, OutputReg("reg1"), table=Stage.ADMIT),
        drop(Reason.TENANT_ISOLATION, Stage.ADMIT, 0),
    ]
    copies = Switch(program).copies({"in_port": 1}, Connections())
    assert [(copy.port, copy.reason) for copy in copies] == [(20, None), (None, Reason.TENANT_ISOLATION)]
    nobody = [program[0], bucket(Stage.REPLICATE, 7), *program[3:]]
    assert Switch(nobody).copies({"in_port": 1}, Connections()) == []
