"""How large the packets are with which black holes are looked for; tests/lab/test_transports.py finds some."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event

import pytest

from ovs_agent import underlay
from ovs_agent.document import Peer
from ovs_agent.netlink.look import Underlay
from ovs_agent.underlay import Prober


@pytest.mark.parametrize(
    ("least", "size", "whose"),
    [
        (1500, 1500, "the MTU of eth0"),
        (1400, 1400, "the least MTU of all hosts"),  # of another host, or what an operator said of this one
        (9000, 1500, "the MTU of eth0"),  # it has just been lowered, and the API has not heard of it
    ],
)
def test_what_hosts_send_each_other_is_tried_and_nothing_larger(
    monkeypatch: pytest.MonkeyPatch, least: int, size: int, whose: str
) -> None:
    asked: list[int] = []
    said: list[tuple[str, ...]] = []
    round_ended = Event()

    def unreachable_at(mtu: int, addresses: Sequence[str]) -> list[str]:
        asked.append(mtu)
        return list(addresses)

    def told(sentences: tuple[str, ...]) -> None:
        said.append(sentences)
        round_ended.set()

    monkeypatch.setattr(underlay, "unreachable_at", unreachable_at)
    prober = Prober(lambda: ([Peer("h2", "198.18.0.12")], Underlay("eth0", 1500, 24), least), told)
    prober.start()
    assert round_ended.wait(30)
    prober.stop()
    assert asked == [size]
    assert said[0][0].startswith(f"Packets of {size} bytes, {whose}, do not come to h2 (198.18.0.12) and back")
