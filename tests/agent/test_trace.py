"""Asked about a packet, the agent tells what its switch says; and that it says nothing, when it does not."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

from controller.calc.known import owned
from controller.openflow.encode import encode
from controller.world import World
from db import snapshot, traces
from db.engine import reading, writing
from db.tables import utcnow
from ovs_agent.wanted import POLL
from tests.agent.conftest import Host
from tests.agent.site import Container, until

NewContainer = Callable[..., Container]


def ask(host: Host, packet: str, seconds: float = 60, kind: str = traces.PACKET) -> dict[str, Any]:
    with writing(host.site.engine) as session:
        id = traces.ask(session, {host.id: packet}, utcnow(), kind)[host.id]

    def answered() -> dict[str, Any] | None:
        with reading(host.site.engine) as session:
            return traces.answers(session, [id]).get(id)

    try:
        return until(answered, "the agent answers", seconds)
    finally:
        with writing(host.site.engine) as session:
            traces.forget(session, [id])


def opening(source: Any, destination: Any, more: str = "") -> str:
    ends = f"ip_src={bare(source.addresses[0])},ip_dst={bare(destination.addresses[0])}"
    link = f"in_port={source.ofport},eth_src={source.mac},eth_dst={destination.mac}"
    return f"{link},tcp,{ends},nw_ttl=64,tcp_src=40000,tcp_dst=80,tcp_flags=0x2{more}"


def bare(address: str) -> str:
    return address.split("/")[0]


def two(host: Host, container: NewContainer) -> tuple[Any, Any]:
    """Endpoints of two new containers."""
    ids = []
    for one in (container(), container()):
        one.add()
        ids.append(one.id)
    first, second = ({each.container_id: each for each in host.endpoints()}[id] for id in ids)
    return first, second


def test_the_switch_delivers_what_its_flows_allow(host: Host, container: NewContainer) -> None:
    one, other = two(host, container)
    began = time.monotonic()
    said = ask(host, opening(one, other))
    assert (said["outputs"], said["tunnel"], said["trouble"]) == ([other.ofport], None, "")
    assert int(said["cookie"], 16) >> 48 == 0x7701
    spoofed = ask(host, opening(one, other).replace(f"ip_src={bare(one.addresses[0])}", "ip_src=10.20.0.250"))
    assert time.monotonic() - began < POLL, "a waiting agent is woken, for the second question as well"
    assert spoofed["outputs"] == []
    assert int(spoofed["cookie"], 16) >> 48 == 0x77D0 + 4, "a drop tells its reason"


def test_what_the_switch_does_not_understand_is_told_in_its_words(host: Host) -> None:
    said = ask(host, "nonsense=1")
    assert said["table"] is None
    assert "ovs-vswitchd cannot trace the packet" in said["trouble"] and "nonsense" in said["trouble"]


def test_a_switch_that_hangs_is_told_and_holds_nobody_up(host: Host, container: NewContainer) -> None:
    one, other = two(host, container)
    switch = int((host.site.ovs.folder / "ovs-vswitchd.pid").read_text())
    os.kill(switch, signal.SIGSTOP)
    try:
        said = ask(host, opening(one, other))
        assert said["table"] is None
        assert said["trouble"] == "ovs-vswitchd does not answer: timed out"
    finally:
        os.kill(switch, signal.SIGCONT)
    assert ask(host, opening(one, other))["outputs"] == [other.ofport]


def test_the_flows_that_are_installed_are_told(host: Host, container: NewContainer) -> None:
    one, _ = two(host, container)
    bridge = f"unix:{host.site.ovs.folder}/{host.bridge}.mgmt"
    foreign = "cookie=0x1,table=0,priority=7,udp,tp_dst=7 actions=drop"
    subprocess.run(["ovs-ofctl", "-O", "OpenFlow14", "add-flow", bridge, foreign], check=True)
    said = ask(host, "", kind=traces.FLOWS)
    assert said["trouble"] == "" and said["left_off"] == 0
    assert len(said["flows"]) > 100 and all(line.startswith("77") for line in said["flows"])
    assert said["foreign"] == ["table=0, priority=7,udp,tp_dst=7 actions=drop"]
    with reading(host.site.engine) as session:
        world = World().apply(*snapshot.snapshot(session))
    wanted = {f"{encode(flow.flow).cookie:016x} {int(flow.flow.table)}" for flow in owned(world, host.id)}
    told = {" ".join(line.split()[:2]) for line in said["flows"]}
    assert told == wanted, "they are those of the model"
    assert any(flow.owner == one.name and flow.what == "endpoint" for flow in owned(world, host.id))
