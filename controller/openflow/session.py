"""One switch and its program: bytes and wishes in, bytes and events out.

The session decides what to send so that the switch has exactly what is wanted: after connecting it
dumps its flows and groups, and sends the difference; afterwards it sends only what changes. One bundle is
outstanding at a time, and what is wanted meanwhile is merged until it is answered. It knows no sockets, clocks or
threads: the time is an argument, in seconds of any monotonic clock, and whoever owns the connection sends the bytes.

```
 OFFLINE ─connected─> DUMPING ─difference─> FILLING ─closed─> COMMITTING ─committed─┐
                         ^ └─no difference──────────────> IDLE <────────────────────┤
                         └─────── an error: look again, try once more ──────────────┘
```
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from controller.openflow import bundle, decode, drops
from controller.openflow.decode import InstalledFlow, InstalledGroup, SwitchError
from controller.openflow.diff import Plan
from controller.openflow.events import (
    Broken,
    Confirmed,
    Counters,
    Drifted,
    Event,
    Failed,
    Measured,
    Step,
    Superseded,
    Synced,
)
from controller.openflow.wanted import Wanted, WireItem
from controller.pipeline.flow import Kind

REQUEST_SECONDS = 15.0
"""How long a switch may be silent while something is asked of it."""


class State(Enum):
    OFFLINE = "offline"
    IDLE = "idle"
    DUMPING = "dumping"
    FILLING = "filling"
    COMMITTING = "committing"


class Purpose(Enum):
    """Why the switch's flows are dumped."""

    CONNECT = "connect"
    AUDIT = "audit"
    REPAIR = "repair"


class Session:
    """Each method returns the `Step` that follows from it; the owner sends its bytes and acts on its events."""

    def __init__(self) -> None:
        self.state = State.OFFLINE
        self.counters = Counters()
        self.revision = 0  # wanted
        self.confirmed: int | None = None  # on this connection, and with no failure or drift since
        self._wanted = Wanted()
        self._in_step = False  # the switch has what it was sent
        self._failures = 0  # in a row, of the same wish
        self._master = True
        self._purpose = Purpose.CONNECT  # of the next or present dump
        self._installed = 0
        self._dumped: list[InstalledFlow] = []
        self._dumped_groups: list[InstalledGroup] = []
        self._refused: SwitchError | None = None  # why the present bundle will fail
        self._sent_revision = 0
        self._unproven: dict[int, bytes] = {}  # by cookie: instructions that were not ours before a repair
        self._spellings: dict[int, bytes] = {}  # ... and still were not after it: how this switch writes them down
        self._measured: list[InstalledFlow] = []
        self._xid = 0
        self._awaited = self._opened = self._asked_groups = self._measuring = self._claiming = 0  # xids
        self._deadline: float | None = None
        self._out: list[bytes] = []
        self._events: list[Event] = []

    @property
    def flows(self) -> int:
        """How many flows the switch has, as far as is known."""
        return self._installed if self.confirmed is None or not self._wanted.known else len(self._wanted.flows)

    # What the switch should have.

    def want(self, revision: int, program: Iterable[WireItem], now: float) -> Step:
        """The whole program. Raises ValueError, and changes nothing, if two of its flows have the same match."""
        self._wanted.replace(program)
        return self._wish(revision, now)

    def change(self, revision: int, added: Iterable[WireItem], removed: Iterable[WireItem], now: float) -> Step:
        """A change to the program, as of `Wanted.change`."""
        self._wanted.change(added, removed)
        return self._wish(revision, now)

    def _wish(self, revision: int, now: float) -> Step:
        self.revision = revision
        self._failures = 0
        self._proceed(now)
        return self._step()

    # What happens.

    def connected(self, now: float, generation: int | None = None) -> Step:
        """A new connection; `generation` claims to be master with it. Whatever was outstanding is forgotten."""
        self.disconnected()
        self.state = State.IDLE
        self._master = True
        self._failures = 0
        self._send(bundle.limit_copies(*(self._next_xid() for _ in range(4))))
        if generation is not None:
            self._send_claim(generation)
        self._proceed(now)
        return self._step()

    def disconnected(self) -> None:
        """The connection is gone. The program stays, and is compared again after `connected`."""
        self._purpose = Purpose.CONNECT
        self._claiming = self._measuring = 0
        self._spellings = {}
        self._lose_step()
        self.state = State.OFFLINE

    def claim(self, now: float, generation: int) -> Step:
        """Claims to be master again, with the generation of a newer lease."""
        if self.state is not State.OFFLINE:
            self._lose_step()
            self._master = True
            self._failures = 0
            self._send_claim(generation)
            self._proceed(now)
        return self._step()

    def audit(self, now: float) -> Step:
        """Looks at all flows again and repairs. Does nothing while something is outstanding anyway."""
        if self.state is State.IDLE and self._master and self._wanted.known:
            self._failures = 0
            if self._in_step:
                self._in_step = False
                self._purpose = Purpose.AUDIT
            self._proceed(now)
        return self._step()

    def measure(self, now: float) -> Step:
        """Asks for the counters of drops and rules only. Does nothing while something is outstanding."""
        if self.state is State.IDLE and not self._measuring:
            self._measuring = self._next_xid()
            self._measured = []
            self._send(bundle.dump(self._measuring, cookie=drops.COOKIE, mask=drops.MASK))
            self._deadline = now + REQUEST_SECONDS
        return self._step()

    def tick(self, now: float) -> Step:
        """To be called now and then: notices a switch that does not answer."""
        if self._deadline is not None and now >= self._deadline:
            asked = {State.DUMPING: "what flows it has", State.FILLING: "to take a bundle"}.get(self.state)
            doing = asked or ("to commit a bundle" if self.state is State.COMMITTING else "what it has counted")
            self._break(f"the switch did not answer within {REQUEST_SECONDS:.0f} s when asked {doing}")
        return self._step()

    def received(self, message: bytes, now: float) -> Step:
        """One whole message from the switch. What was not asked for, or asked by others, is ignored."""
        if self.state is State.OFFLINE:
            return self._step()
        _, kind, _, xid = decode.header(message)
        if kind == decode.MULTIPART_REPLY and xid and xid in (self._awaited, self._asked_groups, self._measuring):
            self._stats(message, xid, now)
        elif kind == decode.BUNDLE_CONTROL and xid == self._awaited:
            self._bundle_reply(decode.bundle_control(message), now)
        elif kind == decode.PACKET_IN:
            self._events += self._wanted.ruled.copied(message, now)
        elif kind == decode.ERROR:
            self._error(decode.error(message), now)
        elif kind == decode.ROLE_REPLY and xid == self._claiming:
            self._claiming = 0
        elif kind == decode.ROLE_STATUS and decode.role(message)[0] == bundle.SLAVE:
            self._supersede("another controller became the switch's master")
        return self._step()

    # How it goes on.

    def _proceed(self, now: float) -> None:
        """Starts what is next to do, if nothing is outstanding and there is something."""
        if self.state is not State.IDLE or not self._master or not self._wanted.known or self._failures > 1:
            return
        if not self._in_step:
            self.state = State.DUMPING
            self._dumped, self._dumped_groups = [], []
            self._asked_groups = self._next_xid()
            self._awaited = self._next_xid()
            self.counters.dumps += 1
            self._send(bundle.dump_groups(self._asked_groups))  # answered first
            self._send(bundle.dump(self._awaited))
            self._deadline = now + REQUEST_SECONDS
        elif self._wanted.changed:
            self._apply(self._wanted.changes(), now)
        else:
            self._confirm(self.revision)

    def _apply(self, plan: Plan, now: float) -> None:
        self._wanted.sent()
        messages = plan.messages()
        if not messages:
            self._in_step = True
            self._confirm(self.revision)
            return
        self.state = State.FILLING
        self._refused = None
        self._unproven = plan.respelled
        self._sent_revision = self.revision
        self._opened = self._next_xid()
        self._awaited = self._next_xid()
        groups = len(plan.puts) + len(plan.ends)
        self.counters.group_mods_sent += groups
        self.counters.flow_mods_sent += len(messages) - groups
        self.counters.bundles_sent += 1
        self._send(bundle.fill(messages, open_xid=self._opened, close_xid=self._awaited))
        self._deadline = now + REQUEST_SECONDS

    def _stats(self, message: bytes, xid: int, now: float) -> None:
        kind, more = decode.multipart(message)
        if kind == decode.GROUP_DESC:
            self._dumped_groups += decode.installed_groups(message)
            return
        flows = decode.flows(message) if kind == decode.FLOW_STATS else []
        self._deadline = now + REQUEST_SECONDS
        if xid == self._awaited:
            self._dumped += flows
            if not more:
                self._compare(now)
            return
        self._measured += flows
        if not more:
            self._measuring = 0
            self._events.append(Measured(drops.count(self._measured), self._wanted.ruled.readings(self._measured)))
            if self.state is State.IDLE:
                self._deadline = None

    def _compare(self, now: float) -> None:
        """The switch said all it has."""
        installed, self._dumped = self._dumped, []
        for flow in installed:
            if self._unproven and self._unproven.get(flow.cookie) == flow.instructions:
                self._spellings[flow.cookie] = flow.instructions
        self._unproven = {}
        plan = self._wanted.compare(installed, self._dumped_groups, self._spellings)
        self._installed = len(installed)
        of_hosts = {flow.cookie: (flow.packets, flow.bytes) for flow in installed if flow.cookie >> 48 == Kind.HOST}
        self._events.append(Measured(drops.count(installed), self._wanted.ruled.readings(installed), of_hosts))
        if self._purpose is Purpose.CONNECT:
            more, less = len(plan.adds) + len(plan.puts), len(plan.deletes) + len(plan.ends)
            self._events.append(Synced(len(installed), more, less))
        elif self._purpose is Purpose.AUDIT and (strange := self._wanted.unexpected(plan)):
            self.confirmed = None
            self._events.append(Drifted(strange))
        self._purpose = Purpose.REPAIR
        self._rest()
        self._apply(plan, now)

    def _bundle_reply(self, kind: int, now: float) -> None:
        if self.state is State.FILLING and kind == bundle.CLOSED:
            if self._refused is not None:
                self._send(bundle.discard(self._next_xid()))
                self._fail(self._refused, now)
                return
            self.state = State.COMMITTING
            self._awaited = self._next_xid()
            self._send(bundle.commit(self._awaited))
            self._deadline = now + REQUEST_SECONDS
        elif self.state is State.COMMITTING and kind == bundle.COMMITTED:
            self._rest()
            self._failures = 0
            self._in_step = True
            self._confirm(self._sent_revision)
            self._in_step = not self._unproven  # else look again
            self._proceed(now)
        else:
            self._break(f"the switch answered a bundle out of turn (control message {kind})")

    def _error(self, error: SwitchError, now: float) -> None:
        if error.xid == self._claiming and error.xid:
            self._claiming = 0
            self._supersede(f"the switch refused to make this controller its master: {error.words}")
        elif self.state in (State.FILLING, State.COMMITTING) and error.xid in (0, self._opened, self._awaited):
            # Flow-mods have the xid 0. Their errors come first, and say more than that of the whole bundle.
            self._refused = self._refused or error
            if error.xid == self._awaited:
                self._fail(self._refused, now)
        elif error.xid and error.xid in (self._awaited, self._asked_groups, self._measuring):
            self._break(f"the switch does not tell its flows: {error.words}")

    def _fail(self, error: SwitchError, now: float) -> None:
        if error.not_master:
            self._supersede("the switch takes no changes from a controller that is not its master")
            return
        self._lose_step()
        self._failures += 1
        where = ""
        if error.key is not None:
            table, priority = decode.table_and_priority(error.key)
            where = f" a flow in table {table} with priority {priority}"
        self._events.append(Failed(self._sent_revision, f"the switch refused{where}: {error.words}", error.cookie))
        self._proceed(now)

    def _supersede(self, sentence: str) -> None:
        if self._master:
            self._master = False
            self._lose_step()
            self._events.append(Superseded(sentence))

    def _break(self, sentence: str) -> None:
        self.disconnected()
        self._events.append(Broken(sentence))

    def _lose_step(self) -> None:
        """What the switch has is no longer known."""
        self._rest()
        self._in_step = False
        self._unproven = {}
        self.confirmed = None

    def _rest(self) -> None:
        if self.state is not State.OFFLINE:
            self.state = State.IDLE
        self._awaited = self._opened = self._asked_groups = 0
        if not self._measuring:
            self._deadline = None

    def _confirm(self, revision: int) -> None:
        if revision != self.confirmed:
            self.confirmed = revision
            self._events.append(Confirmed(revision))

    def _send_claim(self, generation: int) -> None:
        self._claiming = self._next_xid()
        self._send(bundle.claim(self._claiming, generation))

    def _next_xid(self) -> int:
        self._xid = self._xid % 0x7FFFFFFF + 1
        return self._xid

    def _send(self, data: bytes) -> None:
        self.counters.bytes_sent += len(data)
        self._out.append(data)

    def _step(self) -> Step:
        step = Step(b"".join(self._out), self._events)
        self._out, self._events = [], []
        return step
