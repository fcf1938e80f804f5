"""Restarts lose nothing: 200 packets a second across hosts while each part is stopped, killed and started again."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab import netns
from lab.lab import Lab
from lab.state import Placed
from tests.lab.test_first_packet import ask
from tests.lab.test_spoofing import ip
from tests.lab.world import World
from tests.ovs import wait_for

RATE = 200


class Stream:
    """Numbered echoes at a steady rate; what is lost is known by its number."""

    def __init__(self, source: Placed, target: Placed) -> None:
        with netns.inside(source.netns):
            self._process = subprocess.Popen(
                ["ping", "-n", "-i", str(1 / RATE), ip(target)], stdout=subprocess.PIPE, text=True
            )
        # Read as it comes: a full pipe would stop the sender.
        self._lines: list[str] = []
        self._reader = threading.Thread(target=lambda: self._lines.extend(self._process.stdout or ()))
        self._reader.start()

    def finish(self) -> tuple[int, set[int]]:
        """How many were answered, and the numbers of those that were not, up to the last that was."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)
        self._reader.join(60)
        answered = {int(found[1]) for line in self._lines if (found := re.search(r"icmp_seq=(\d+) ttl", line))}
        assert answered, self._lines[-3:]
        return len(answered), set(range(1, max(answered))) - answered


@contextmanager
def streams(*pairs: tuple[Placed, Placed]) -> Iterator[list[tuple[int, set[int]]]]:
    running = [Stream(*pair) for pair in pairs]
    results: list[tuple[int, set[int]]] = []
    try:
        time.sleep(0.5)
        yield results
    finally:
        results += [stream.finish() for stream in running]


@pytest.mark.parametrize("part", ["controller", "web", "agent:h1", "agent:h2"])
@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_no_packet_is_lost_and_no_flow_is_sent(lab: Lab, world: World, part: str, kill: bool) -> None:
    one, two, three = world.endpoints(f"{world.tenant('red')}/default", per_host=1)
    world.settle()
    log = lab.folder / "controller.log"
    at = log.stat().st_size
    with streams((one, two), (two, three), (three, one)) as results:
        lab.restart(part, kill=kill)
        connected(lab)
        sent = resumed(lab, at) if part == "controller" else []
        time.sleep(1)
    assert all(answered > RATE for answered, _ in results), "the streams ran"
    assert [lost for _, lost in results] == [set(), set(), set()]
    said = log.read_bytes()[at:].decode()
    assert sent == [0, 0, 0] if part == "controller" else "flow-mods" not in said, said
    assert "repaired" not in said


def resumed(lab: Lab, at: int) -> list[int]:
    """How many flows and groups the controller sent to each bridge as it came back, by its log from there on. What the
    API says of connections is what the one before has said."""

    def counts() -> list[int]:
        said = (lab.folder / "controller.log").read_bytes()[at:].decode()
        return [int(number) for number in re.findall(r"flow-mods: (\d+)", said)]

    wait_for(lambda: len(counts()) >= len(lab.hosts), "return of every bridge")
    return counts()


def connected(lab: Lab) -> None:
    end = time.monotonic() + 90
    while True:
        try:
            hosts = list(lab.rest.items("/hosts"))
            if all(host["connected"] and host["state"] == "up" for host in hosts):
                return
        except Exception as fault:  # the web process is what is being restarted
            hosts = [str(fault)]
        assert time.monotonic() < end, hosts
        time.sleep(0.1)


def test_changes_made_while_the_controller_is_down_converge_when_it_returns(lab: Lab, world: World) -> None:
    network = f"{world.tenant('red')}/default"
    stay, go = world.endpoint(network, "h2"), world.endpoint(network, "h1")
    controller = lab.part("controller")
    controller.daemon.stop(kill=True)
    new: list[Placed] = []
    try:
        world.remove(go)
        # Attaching waits for its flows, so it ends only when the controller is back.
        attaching = threading.Thread(target=lambda: new.append(world.endpoint(network, "h3")))
        attaching.start()
        attaching.join(1)
        assert attaching.is_alive(), "nobody can have confirmed the flows"
    finally:
        controller.start()
    attaching.join(120)
    world.settle()
    assert ask(new[0], stay) == stay.name.encode()


def test_traffic_returns_within_five_seconds_of_a_killed_vswitchd_without_touching_a_container(
    lab: Lab, world: World
) -> None:
    one, two = world.endpoints(f"{world.tenant('red')}/default", hosts=("h1", "h2"), per_host=1)
    world.settle()
    before = interface(one)
    took: list[float] = []
    while not took or min(took) > 5:  # a machine that is busy with something else may take longer at times
        assert len(took) < 6, f"traffic was back after {took} s"
        lab.restart("ovs:h1", kill=True)
        back = time.monotonic()
        while ask(one, two, 0.1) is None:
            assert time.monotonic() - back < 60, "traffic is not back"
        took.append(time.monotonic() - back)
    assert interface(one) == before


def interface(placed: Placed) -> str:
    with netns.inside(placed.netns):
        return subprocess.run(["ip", "-o", "link", "show", "eth0"], check=True, capture_output=True, text=True).stdout
