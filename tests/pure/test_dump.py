"""What ovs-ofctl says of a bridge's flows, in few words."""

from __future__ import annotations

from ovs_agent import dump

OWN = (
    " cookie=0x7705c9af1b2d3e40, duration=12.5s, table=20, n_packets=12, n_bytes=1176, idle_age=3, "
    "priority=100,in_port=100,dl_src=02:00:0a:14:00:09 actions=goto_table:30"
)
FOREIGN = " cookie=0x0, duration=1s, table=0, n_packets=1, n_bytes=60, priority=7,tcp,tp_dst=80 actions=drop"
BARE = " cookie=0x77d0000000000001, duration=1.1s, table=5, n_packets=0, n_bytes=0, actions=drop"


def test_own_flows_are_told_by_their_counters_and_others_whole() -> None:
    said = dump.parse(f"OFPST_FLOW reply (OF1.4) (xid=0x2):\n{OWN}\n{FOREIGN}\n{BARE}\n")
    assert said.flows == ("7705c9af1b2d3e40 20 100 12 1176", "77d0000000000001 5 32768 0 0")
    assert said.foreign == ("table=0, priority=7,tcp,tp_dst=80 actions=drop",)
    assert said.left_off == 0


def test_there_is_an_end_to_it() -> None:
    said = dump.parse("\n".join([OWN] * (dump.MOST_FLOWS + 3) + [FOREIGN] * 2))
    assert len(said.flows) == dump.MOST_FLOWS and said.left_off == 5
    said = dump.parse("\n".join([FOREIGN] * (dump.MOST_FOREIGN + 3)))
    assert len(said.foreign) == dump.MOST_FOREIGN and said.left_off == 3
    assert len(str(said.document())) < 1 << 20
