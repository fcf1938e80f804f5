"""A real Open vSwitch, the real os-ken application, and a loop of a few lines between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from controller.openflow.encode import encode
from controller.openflow.events import Confirmed, Event, Measured, Reading, Step
from controller.openflow.session import Session
from controller.pipeline.flow import Flow
from controller.switch.app import Connected, Disconnected, Received, Switches
from tests.ovs import Ovs

DATAPATH_ID = 0x7761_0000_0000_0001


class Controller:
    """Sessions by datapath id, fed by the application's mailbox while `until` waits for something."""

    def __init__(self, port: int = 0) -> None:
        self.mailbox: SimpleQueue[Any] = SimpleQueue()
        self.switches = Switches("127.0.0.1", port, self.mailbox.put)
        self.switches.start()
        self.sessions: dict[int, Session] = {}
        self.connections: dict[int, int] = {}
        self.heard: list[Any] = []  # connects and disconnects
        self.events: list[Event] = []
        self.drops: dict[int, int] = {}
        self.rules: list[Reading] = []

    @property
    def target(self) -> str:
        return f"tcp:127.0.0.1:{self.switches.port}"

    def session(self, datapath_id: int = DATAPATH_ID) -> Session:
        return self.sessions.setdefault(datapath_id, Session())

    def want(self, revision: int, flows: list[Flow], datapath_id: int = DATAPATH_ID) -> None:
        step = self.session(datapath_id).want(revision, map(encode, flows), time.monotonic())
        self.take(datapath_id, step)

    def take(self, datapath_id: int, step: Step) -> None:
        for event in step.events:
            if isinstance(event, Measured):
                self.drops, self.rules = event.drops, event.rules
            else:
                self.events.append(event)
        self.switches.send(datapath_id, step.send)

    def until(self, condition: Callable[[], object], seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        while not condition():
            left = end - time.monotonic()
            assert left > 0, f"not within {seconds} s; heard {self.heard}, events {self.events}"
            self._handle(self.mailbox.get(timeout=left))

    def confirmed(self, revision: int) -> None:
        self.until(lambda: Confirmed(revision) in self.events)

    def forget(self) -> list[Event]:
        events, self.events = self.events, []
        return events

    def stop(self) -> None:
        self.switches.stop()

    def _handle(self, event: Any) -> None:
        session = self.session(event.datapath_id)
        match event:
            case Received(datapath_id, connection, message):
                if self.connections.get(datapath_id) == connection:
                    self.take(datapath_id, session.received(message, time.monotonic()))
            case Connected(datapath_id, connection):
                self.heard.append(event)
                self.connections[datapath_id] = connection
                self.take(datapath_id, session.connected(time.monotonic()))
            case Disconnected(datapath_id, connection):
                self.heard.append(event)
                if self.connections.get(datapath_id) == connection:
                    session.disconnected()


@pytest.fixture(scope="module")
def ovs() -> Iterator[Ovs]:
    with Ovs() as ovs:
        yield ovs


@pytest.fixture
def controller() -> Iterator[Controller]:
    controller = Controller()
    yield controller
    controller.stop()


@pytest.fixture
def bridge(ovs: Ovs, controller: Controller) -> Iterator[str]:
    """An empty bridge that is connected to the controller."""
    ovs.add_bridge("br", ports={"p1": 1, "p2": 2}, datapath_id=DATAPATH_ID)
    ovs.set_controller("br", controller.target)
    controller.until(lambda: controller.heard)
    yield "br"
    ovs.vsctl("del-br", "br")
