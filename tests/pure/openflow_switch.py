"""A switch in memory, for sessions: flows and groups. It takes bundles as Open vSwitch does, and can misbehave.

Like Open vSwitch it refuses a bad message when it is added and keeps the rest of the bundle, and wants an old bundle
gone before a new one is opened. `refuse` are cookies it does not like, `respell` is how it writes instructions down.
`Wire` carries bytes between it and a session.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterator

from controller.openflow.bundle import CLOSE, COMMIT, DISCARD, OPEN
from controller.openflow.encode import WireFlow, encode
from controller.openflow.events import Confirmed, Event, Measured, Step, Synced
from controller.openflow.session import Session
from controller.pipeline.flow import Flow, Kind, Match, Output
from controller.pipeline.stages import Stage

Stored = tuple[int, bytes, int]  # cookie, instructions, packets


def _same(data: bytes) -> bytes:
    return data


class FakeSwitch:
    def __init__(self) -> None:
        self.flows: dict[bytes, Stored] = {}
        self.groups: dict[int, bytes] = {}  # type and buckets
        self.respell: Callable[[bytes], bytes] = _same
        self.respell_match: Callable[[bytes], bytes] = _same
        self.refuse: set[int] = set()
        self.refuse_at_commit: set[int] = set()
        self.generation = 0
        self.flow_mods = self.group_mods = 0
        self.bundles = 0
        self.dumps = 0
        self._bundle: list[bytes] | None = None
        self._closed = False

    def install(self, flow: WireFlow, packets: int = 0) -> None:
        self.flows[flow.key] = flow.cookie, flow.instructions, packets

    def has(self) -> dict[bytes, tuple[int, bytes]]:
        return {key: (cookie, instructions) for key, (cookie, instructions, _) in self.flows.items()}

    def reconnect(self) -> None:
        self._bundle = None

    def answer(self, data: bytes) -> Iterator[bytes]:
        """What it says to these bytes, message by message."""
        while data:
            length = int.from_bytes(data[2:4], "big")
            yield from self._handle(data[:length])
            data = data[length:]

    def _handle(self, message: bytes) -> Iterator[bytes]:
        kind, xid = message[1], int.from_bytes(message[4:8], "big")
        match kind:
            case 18 if message[9] == 7:
                yield from self._dump_groups(xid)
            case 18:
                yield from self._dump(message, xid)
            case 29:
                yield self._error(xid, 12, 0, message)  # it has no meters
            case 24:
                role, generation = struct.unpack_from("!I4xQ", message, 8)
                if generation < self.generation:
                    yield self._error(xid, 11, 0, message)
                else:
                    self.generation = generation
                    yield _message(25, xid, struct.pack("!I4xQ", role, generation))
            case 33:
                yield from self._control(message, xid)
            case 34 if message[17] == 15 and self._bundle is not None:
                self._bundle.append(message[16:])
                self.group_mods += 1
            case 34:
                cookie, command = int.from_bytes(message[24:32], "big"), message[16 + 25]
                if command == 0 and cookie in self.refuse:
                    yield self._error(xid, 4, 9, message)
                elif self._bundle is not None:
                    self._bundle.append(message[16:])
                    self.flow_mods += 1
            case _:
                raise AssertionError(f"message of type {kind}")

    def _control(self, message: bytes, xid: int) -> Iterator[bytes]:
        kind = int.from_bytes(message[12:14], "big")
        if kind == OPEN:
            if self._bundle is not None:
                self._bundle = None
                yield self._error(xid, 17, 2, message)
                return
            self._bundle, self._closed = [], False
        elif self._bundle is None:
            yield self._error(xid, 17, 2, message)
            return
        elif kind == CLOSE:
            self._closed = True
        elif kind == DISCARD:
            self._bundle = None
        elif kind == COMMIT:
            assert self._closed
            bundle, self._bundle = self._bundle, None
            for flow_mod in bundle:
                if int.from_bytes(flow_mod[8:16], "big") in self.refuse_at_commit:
                    yield self._error(0, 5, 1, flow_mod)
                    yield self._error(xid, 17, 13, message)
                    return
            for flow_mod in bundle:
                self._apply(flow_mod)
            self.bundles += 1
        yield _message(33, xid, struct.pack("!IHH", 1, kind + 1, 0))

    def _apply(self, flow_mod: bytes) -> None:
        if flow_mod[1] == 15:
            self._apply_group(flow_mod)
            return
        match_end = 48 + int.from_bytes(flow_mod[50:52], "big")
        key = flow_mod[24:25] + flow_mod[30:32] + self.respell_match(flow_mod[52:match_end])
        if flow_mod[25] == 4:
            self.flows.pop(key, None)
        else:
            instructions = self.respell(flow_mod[match_end + -match_end % 8 :])
            self.flows[key] = int.from_bytes(flow_mod[8:16], "big"), instructions, 0

    def _apply_group(self, group_mod: bytes) -> None:
        """Flows that lead to a group must come after it and go before it, which is all that order is for."""
        command, kind, id = struct.unpack_from("!HBxI", group_mod, 8)
        if command == 2:
            leads = struct.pack("!HHI", 22, 8, id)
            assert id in self.groups and not any(leads in stored[1] for stored in self.flows.values())
            del self.groups[id]
        else:
            assert command == 0x8000
            self.groups[id] = bytes([kind]) + group_mod[16:]

    def _dump_groups(self, xid: int) -> Iterator[bytes]:
        entries = [struct.pack("!HBxI", 7 + len(data), data[0], id) + data[1:] for id, data in self.groups.items()]
        parts = [entries[start : start + 2] for start in range(0, len(entries), 2)] or [[]]
        for number, part in enumerate(parts, 1):
            yield _message(19, xid, struct.pack("!HH4x", 7, int(number < len(parts))) + b"".join(part))

    def _dump(self, message: bytes, xid: int) -> Iterator[bytes]:
        self.dumps += 1
        cookie, mask = struct.unpack_from("!QQ", message, 32)
        entries = [
            _entry(key, *stored) for key, stored in list(self.flows.items()) if stored[0] & mask == cookie & mask
        ]
        parts = [entries[start : start + 3] for start in range(0, len(entries), 3)] or [[]]
        for number, part in enumerate(parts, 1):
            yield _message(19, xid, struct.pack("!HH4x", 1, int(number < len(parts))) + b"".join(part))

    def _error(self, xid: int, kind: int, code: int, refused: bytes) -> bytes:
        return _message(1, xid, struct.pack("!HH", kind, code) + refused)


def _message(kind: int, xid: int, body: bytes) -> bytes:
    return struct.pack("!BBHI", 5, kind, 8 + len(body), xid) + body


def _entry(key: bytes, cookie: int, instructions: bytes, packets: int) -> bytes:
    oxm = key[3:]
    match = struct.pack("!HH", 1, 4 + len(oxm)) + oxm
    match += bytes(-len(match) % 8)
    head = struct.pack(
        "!HBxIIHHHHHxxQQQ",
        *(48 + len(match) + len(instructions), key[0], 1, 2, int.from_bytes(key[1:3], "big"), 0, 0, 0, 0),
        *(cookie, packets, packets * 100),
    )
    return head + match + instructions


def a_flow(number: int, port: int = 1, owner: int = Kind.ENDPOINT) -> WireFlow:
    """The flow for address `number`; with another port it has the same match and other actions."""
    match = (Match("eth_type", 0x0800), Match("ip_dst", number))
    return encode(Flow(Stage.DELIVER, 100, match, (Output(port),), None, owner))


def content(flows: list[WireFlow]) -> dict[bytes, tuple[int, bytes]]:
    return {flow.key: (flow.cookie, flow.instructions) for flow in flows}


class Wire:
    """Carries bytes between a session and a switch, one message at a time."""

    def __init__(self, switch: FakeSwitch | None = None) -> None:
        self.switch = switch or FakeSwitch()
        self.session = Session()
        self.events: list[Event] = []
        self.pending: deque[bytes] = deque()
        self.now = 0.0

    def take(self, step: Step) -> None:
        self.events += step.events
        self.pending += self.switch.answer(step.send)

    def deliver(self) -> None:
        self.take(self.session.received(self.pending.popleft(), self.now))

    def settle(self) -> list[Event]:
        """Until nobody has anything to say; gives what happened since the last time, measurements aside."""
        while self.pending:
            self.deliver()
        events = [event for event in self.events if not isinstance(event, Measured)]
        self.events = []
        return events

    def connect(self, generation: int | None = None) -> None:
        self.switch.reconnect()
        self.pending.clear()
        self.take(self.session.connected(self.now, generation))

    def want(self, revision: int, flows: list[WireFlow]) -> None:
        self.take(self.session.want(revision, flows, self.now))

    def change(self, revision: int, added: list[WireFlow], removed: list[WireFlow]) -> None:
        self.take(self.session.change(revision, added, removed, self.now))


FLOWS = [a_flow(number) for number in range(10)]


def in_step() -> Wire:
    """Connected, and in step with the ten flows at revision 1."""
    wire = Wire()
    wire.want(1, FLOWS)
    wire.connect()
    assert wire.settle() == [Synced(0, 10, 0), Confirmed(1)]
    return wire
