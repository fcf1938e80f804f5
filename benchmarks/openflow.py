"""How fast flows get into a switch, and how fast an unchanged one is found unchanged, next to Open vSwitch's own tool.

Both sides talk to the same bridge of a private ovs-vswitchd, in turns. Ours starts from compiled values and counts
encoding, sending and the confirmation; the tool starts from a file of the same flows as text and counts its whole run.

    python -m benchmarks.openflow [--flows 10000] [--rounds 7]
"""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Callable
from queue import SimpleQueue
from statistics import median
from typing import Any

from controller.openflow.encode import encode
from controller.openflow.events import Confirmed, Event, Step
from controller.openflow.session import Session
from controller.openflow.text import flow_text
from controller.pipeline.flow import Flow, Kind, Match, Output, SetField
from controller.pipeline.stages import Stage
from controller.switch.app import Connected, Received, Switches
from tests.ovs import Ovs

DATAPATH_ID = 1


def make_flows(count: int) -> list[Flow]:
    """Six fields matched, four actions and a jump each, like the larger flows of a program."""
    return [
        Flow(
            Stage.ROUTE,
            100,
            (
                *(Match("in_port", 100 + number % 50), Match("eth_type", 0x0800)),
                *(Match("ip_src", 0x0A140000, 0xFFFF0000), Match("ip_dst", 0x0A000000 + number)),
                *(Match("ip_proto", 6), Match("reg0", number % 1000, 0xFFFF)),
            ),
            (
                *(SetField("reg1", number), SetField("tun_id", 4096 + number % 100)),
                *(SetField("tun_dst", 0xC6120000 + number % 200), Output(1)),
            ),
            Stage.DELIVER,
            Kind.ENDPOINT,
        )
        for number in range(count)
    ]


class Ours:
    """The controller's session and connection, with a loop that waits for one confirmation."""

    def __init__(self) -> None:
        self.mailbox: SimpleQueue[Any] = SimpleQueue()
        self.switches = Switches("127.0.0.1", 0, self.mailbox.put)
        self.switches.start()
        self.session = Session()
        self.revision = 0

    def wait_for_switch(self) -> None:
        while not isinstance(self.mailbox.get(timeout=20), Connected):
            pass

    def begin(self) -> None:
        """In step with an empty switch."""
        self.session = Session()
        self.session.want(self.revision, [], 0.0)
        self._finish(self.session.connected(time.monotonic()))

    def bring(self, flows: list[Flow]) -> None:
        """From compiled values to a confirmed bundle."""
        self.revision += 1
        self._finish(self.session.want(self.revision, map(encode, flows), time.monotonic()))

    def resync(self, encoded: list[Any]) -> None:
        """What a controller does that starts anew: dump, compare, and find nothing to do."""
        self.session = Session()
        self.session.want(self.revision, encoded, 0.0)
        self._finish(self.session.connected(time.monotonic()))
        assert self.session.counters.flow_mods_sent == 0

    def _finish(self, step: Step) -> None:
        events: list[Event] = []
        while True:
            self.switches.send(DATAPATH_ID, step.send)
            events += step.events
            if Confirmed(self.revision) in events:
                return
            event = self.mailbox.get(timeout=60)
            assert isinstance(event, Received), event
            step = self.session.received(event.message, time.monotonic())


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flows", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    flows = make_flows(options.flows)
    figures: dict[str, list[float]] = {name: [] for name in ("our add", "tool add", "our look", "tool look", "encode")}
    ours = Ours()
    with Ovs() as ovs:
        text = ovs.folder / "flows.txt"
        text.write_text("\n".join(flow_text(flow, numbers=True) for flow in flows))
        ovs.add_bridge("br", datapath_id=DATAPATH_ID)
        ovs.set_controller("br", f"tcp:127.0.0.1:{ours.switches.port}")
        ours.wait_for_switch()
        encoded = [encode(flow) for flow in flows]
        bridge = f"unix:{ovs.folder / 'br.mgmt'}"

        def run_tool(*command: str) -> None:
            subprocess.run(["ovs-ofctl", "-O", "OpenFlow14", *command], check=True, stdout=subprocess.DEVNULL)

        for _ in range(options.rounds):
            figures["encode"].append(timed(lambda: [encode(flow) for flow in flows]))
            ovs.ofctl("del-flows", "br")
            figures["tool add"].append(timed(lambda: run_tool("--bundle", "add-flows", bridge, str(text))))
            assert len(ovs.flows("br")) == options.flows
            ovs.ofctl("del-flows", "br")
            ours.begin()
            figures["our add"].append(timed(lambda: ours.bring(flows)))
            assert len(ovs.flows("br")) == options.flows
            figures["our look"].append(timed(lambda: ours.resync(encoded)))
            figures["tool look"].append(timed(lambda: run_tool("dump-flows", bridge)))
    report(options.flows, figures)
    ours.switches.stop()


def report(count: int, figures: dict[str, list[float]]) -> None:
    print(f"{count} flows, milliseconds, {len(figures['our add'])} alternating rounds")
    print(f"{'':46} {'median':>8} {'best':>8}")
    for name, label in (
        ("our add", "Warren: compiled values to confirmed bundle"),
        ("encode", "  of which encoding"),
        ("tool add", "ovs-ofctl --bundle add-flows"),
        ("our look", "Warren: resync of an unchanged switch"),
        ("tool look", "ovs-ofctl dump-flows"),
    ):
        print(f"{label:46} {median(figures[name]):8.1f} {min(figures[name]):8.1f}")
    ratios = [statistic(figures["our add"]) / statistic(figures["tool add"]) for statistic in (median, min)]
    print(f"ratio of adding: median {ratios[0]:.2f}, best {ratios[1]:.2f} (target at most 1.0)")
    print(
        f"resync: median {median(figures['our look']):.0f} ms, best {min(figures['our look']):.0f} (target below 100)"
    )


if __name__ == "__main__":
    main()
