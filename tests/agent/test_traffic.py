"""What ports have counted, read off a real Open vSwitch and told by the agent; and nothing, when it does not answer."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from db.engine import reading
from db.tables import HostTraffic
from ovs_agent.traffic import EVERY_SECONDS, Traffic, ask, counts
from tests.agent.conftest import Host
from tests.agent.site import Container, until

NewContainer = Callable[..., Container]
SECONDS = 120.0
"""Open vSwitch writes counters down every five seconds, and the agent tells them every ten, if the machine has time."""


def told(host: Host) -> dict[str, list[int]]:
    with reading(host.site.engine) as session:
        return dict(session.get_one(HostTraffic, host.id).endpoints)


def test_what_a_container_sends_is_told(host: Host, container: NewContainer) -> None:
    one, other = container(), container()
    one.add()
    other.add()
    ids = {each.container_id: str(each.id) for each in host.endpoints()}
    until(lambda: {ids[one.id], ids[other.id]} <= told(host).keys(), "their counters are told", SECONDS)
    before = told(host)[ids[one.id]]
    # Nobody answers, so that each packet is sent once; to the broadcast address, so that nobody is asked for first.
    ping = ["ping", "-b", "-q", "-c", "20", "-i", "0.01", "-s", "972", "-W", "1", "-I", "eth0", "255.255.255.255"]
    subprocess.run(["ip", "netns", "exec", one.netns, *ping], check=False, capture_output=True)
    least = 20 * 1014  # with ICMP's, IP's and Ethernet's headers
    until(lambda: told(host)[ids[one.id]][4] >= before[4] + least, "what it sent is told", SECONDS)
    assert told(host)[ids[one.id]][3] >= before[3] + 20
    assert told(host)[ids[other.id]][4] < 20 * 1014


def test_it_is_told_now_and_then_only(host: Host, container: NewContainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ovs_agent.traffic.PATIENCE", SECONDS)
    container().add()
    now = [100.0]
    traffic = Traffic(f"unix:{host.site.ovs.folder}/db.sock", lambda: now[0])
    until(lambda: counts(ask(traffic._remote, SECONDS)), "the port has counters", SECONDS)
    assert traffic.counted()
    assert traffic.counted() is None
    now[0] += EVERY_SECONDS
    assert traffic.counted()


def test_a_database_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "db.sock"))
        silent.listen()
        with pytest.raises(OSError, match="did not answer"):
            ask(f"unix:{tmp_path}/db.sock", 0.3)
    assert Traffic(f"unix:{tmp_path}/db.sock").counted() is None
    with pytest.raises(OSError):
        ask("unix:/nowhere/db.sock", 0.3)


def test_rows_are_read_as_the_database_spells_them() -> None:
    ours, foreign = ["map", [["warren-endpoint", "12"]]], ["map", []]
    statistics = [["rx_bytes", 7], ["rx_packets", 1], ["tx_bytes", 90], ["tx_packets", 2], ["tx_dropped", 3]]
    rows = [
        {"external_ids": ours, "statistics": ["map", statistics]},
        {"external_ids": foreign, "statistics": ["map", statistics]},
        {"external_ids": ["map", [["warren-endpoint", "x"]]], "statistics": ["map", statistics]},
        {"external_ids": ["map", [["warren-endpoint", "13"]]], "statistics": ["map", []]},
    ]
    assert counts(rows) == {"12": [2, 90, 3, 1, 7, 0]}
