"""The controller's one thread of decisions: changes in, flows out, confirmations noted.

Everything that happens arrives in one mailbox: the database has something new, a switch came, spoke or went, time
passed. The loop steps the engine from world to world and each switch's session from wish to confirmation; both are
pure. It sends bytes through `switch` and notes progress through `status`; it never waits for either.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import NamedTuple

from controller.account import Account
from controller.calc.engine import Delta, Engine
from controller.model import DATAPATH_PREFIX, Change
from controller.openflow.decode import PacketIn
from controller.openflow.encode import encode
from controller.openflow.events import (
    Announced,
    Broken,
    Confirmed,
    Copied,
    Drifted,
    Failed,
    Heard,
    Measured,
    Step,
    Superseded,
    Synced,
)
from controller.openflow.groups import encode_bucket
from controller.openflow.session import Session
from controller.openflow.wanted import WireItem
from controller.pipeline.flow import Flow, Reason
from controller.pipeline.program import Key, fragment
from controller.status import Recorder
from controller.switch.app import Connected, Disconnected, Received, Switches
from controller.world import World

log = logging.getLogger("warren.controller")

TICK_SECONDS = 1.0
MEASURE_SECONDS = 5.0
"""How often the counters of drops and rules are read: a few flows, where an audit reads all."""


class Changed(NamedTuple):
    """The world after the changes that the database reported."""

    world: World
    changes: list[Change]


class Stop(NamedTuple):
    pass


Event = Connected | Received | Disconnected | Changed | Stop


@dataclass
class _Host:
    """A host and its bridge's session, which keeps what is wanted while the bridge is away (connection None)."""

    session: Session = field(default_factory=Session)
    connection: int | None = None
    audited: float = 0.0
    measured: float = 0.0


def compile_fragment(world: World, key: Key) -> tuple[WireItem, ...]:
    return tuple(encode(item) if isinstance(item, Flow) else encode_bucket(item) for item in fragment(world, key))


class Loop:
    """`heard` gets the DNS answers that switches copied, `announced` what endpoints said that take a shared address
    over, with the host's id. `audit_seconds`: how often each switch's flows are read back
    and repaired."""

    def __init__(
        self,
        world: World,
        mailbox: SimpleQueue[Event],
        switches: Switches,
        recorder: Recorder,
        account: Account,
        heard: Callable[[PacketIn], None],
        announced: Callable[[int, PacketIn], None],
        audit_seconds: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = Engine(world, compile_fragment)
        self._mailbox = mailbox
        self._wire = switches
        self._recorder = recorder
        self._account = account
        self._heard = heard
        self._announced = announced
        self._audit_seconds = audit_seconds
        self._clock = clock
        self._hosts: dict[int, _Host] = {}
        self._strangers: dict[int, int] = {}  # datapath id to connection

    def run(self) -> None:
        """Returns after `Stop`."""
        world = self._engine.world
        for host in world.hosts:
            self._begin(host, self._clock())
        self._recorder.computed(world.revision, dict.fromkeys(world.hosts, world.revision))
        next_tick = self._clock() + TICK_SECONDS
        while True:
            try:
                event = self._mailbox.get(timeout=max(0.0, next_tick - self._clock()))
            except Empty:
                event = None
            if isinstance(event, Stop):
                return
            now = self._clock()
            if event is not None:
                self._handle(event, now)
            if now >= next_tick:
                self._tick(now)
                next_tick = now + TICK_SECONDS

    def _handle(self, event: Event, now: float) -> None:
        match event:
            case Received(datapath_id, connection, message):
                known = self._hosts.get(_host_id(datapath_id))
                if known is not None and known.connection == connection:
                    self._follow(_host_id(datapath_id), known.session.received(message, now))
            case Changed(world, changes):
                self._advance(world, changes, now)
            case Connected(datapath_id, connection):
                self._strangers[datapath_id] = connection
                self._recognise(datapath_id, now)
            case Disconnected(datapath_id, connection):
                self._leave(datapath_id, connection)

    # The world moves on.

    def _advance(self, world: World, changes: list[Change], now: float) -> None:
        deltas = self._engine.advance(world, changes)
        work = self._engine.work
        log.debug("revision %d: %d hosts, %d flows compiled", world.revision, work.hosts, work.flows)
        hosts = {change.id for change in changes if change.noun == "host"}
        for id in hosts & self._hosts.keys() - world.hosts.keys():
            self._end(id)
            deltas.pop(id, None)
        for id in hosts & world.hosts.keys() - self._hosts.keys():
            self._begin(id, now)
            deltas.setdefault(id, Delta([], []))
        self._recorder.computed(world.revision, dict.fromkeys(deltas, world.revision))
        for id, delta in deltas.items():
            self._follow(id, self._hosts[id].session.change(world.revision, delta.added, delta.removed, now))
        if hosts:
            for datapath_id in list(self._strangers):
                self._recognise(datapath_id, now)

    def _begin(self, id: int, now: float) -> None:
        self._hosts[id] = host = _Host()
        host.session.want(self._engine.world.revision, self._engine.attach(id), now)

    def _end(self, id: int) -> None:
        log.warning("host %d was removed; its bridge is let go and keeps the flows it has", id)
        self._engine.detach(id)
        self._recorder.removed(id)
        self._account.removed(id)
        connection = self._hosts.pop(id).connection
        if connection is not None:
            self._wire.disconnect(DATAPATH_PREFIX | id, connection)

    # Bridges come and go.

    def _recognise(self, datapath_id: int, now: float) -> None:
        id = _host_id(datapath_id)
        host = self._hosts.get(id)
        if host is None:
            log.warning("a bridge with datapath id %016x connected, which is no host's; it gets no flows", datapath_id)
            return
        host.connection = self._strangers.pop(datapath_id)
        host.audited = host.measured = now
        self._recorder.connected(id, True)
        self._follow(id, host.session.connected(now))

    def _leave(self, datapath_id: int, connection: int) -> None:
        if self._strangers.get(datapath_id) == connection:
            del self._strangers[datapath_id]
        id = _host_id(datapath_id)
        host = self._hosts.get(id)
        if host is not None and host.connection == connection:
            log.info("%s: bridge disconnected", self._name(id))
            host.connection = None
            host.session.disconnected()
            self._recorder.connected(id, False)

    # What sessions say.

    def _follow(self, id: int, step: Step) -> None:
        session, connection = self._hosts[id].session, self._hosts[id].connection
        if step.send:
            self._wire.send(DATAPATH_PREFIX | id, step.send, connection)
        for event in step.events:
            match event:
                case Confirmed(revision):
                    self._recorder.confirmed(id, revision, session.flows)
                case Failed(revision, sentence):
                    log.error("%s: revision %d: %s", self._name(id), revision, sentence)
                    self._recorder.failed(id, revision, sentence)
                case Synced(flows, added, deleted):
                    log.info(
                        "%s: the bridge had %d flows; group- and flow-mods: %d",
                        self._name(id),
                        flows,
                        added + deleted,
                    )
                case Drifted(flows):
                    log.warning("%s: %d flows were not as they should be; repaired", self._name(id), flows)
                    self._recorder.drifted(id, flows)
                case Measured(drops, rules, of_hosts):
                    self._recorder.measured(id, _by_name(drops), session.flows)
                    self._account.counted(self._engine.world, id, rules)
                    self._account.carried(self._engine.world, id, of_hosts)
                case Copied(rule, packet):
                    self._account.copied(self._engine.world, id, rule, packet.fields, packet.packet)
                case Heard(packet):
                    self._heard(packet)
                case Announced(packet):
                    self._announced(id, packet)
                case Superseded(sentence) | Broken(sentence):
                    log.warning("%s: %s", self._name(id), sentence)
                    self._wire.disconnect(DATAPATH_PREFIX | id, connection)

    def _tick(self, now: float) -> None:
        for id, host in self._hosts.items():
            self._follow(id, host.session.tick(now))
            if host.connection is None:
                continue
            if now - host.audited >= self._audit_seconds:
                host.audited = host.measured = now
                self._follow(id, host.session.audit(now))
            elif now - host.measured >= MEASURE_SECONDS:
                host.measured = now
                self._follow(id, host.session.measure(now))

    def _name(self, id: int) -> str:
        known = self._engine.world.hosts.get(id)
        return known.name if known else f"host {id}"


def _host_id(datapath_id: int) -> int:
    """The host whose bridge has this datapath id, or 0, which is no host's."""
    return datapath_id - DATAPATH_PREFIX if datapath_id >> 48 == DATAPATH_PREFIX >> 48 else 0


def _by_name(drops: dict[int, int]) -> dict[str, int]:
    return {Reason(reason).name.lower(): packets for reason, packets in sorted(drops.items()) if packets}
