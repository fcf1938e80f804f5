"""A software pipeline: what would this program do with this packet?

Runs `Flow` values on a packet given as a dict of field values, stage by stage, and says where it ends: delivered to a
port, sent to another host, answered, or dropped for a reason; or where its copies end, if it goes through a group. It
knows nothing of worlds, and it is stricter than a switch: a packet whose fate Open vSwitch would decide by chance fails
the test.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple, Protocol

from controller.pipeline.flow import (
    Action,
    Bucket,
    Conjunction,
    Ct,
    DecTtl,
    Flow,
    InPort,
    Item,
    Kind,
    Match,
    Move,
    Nat,
    Output,
    OutputReg,
    Pop,
    PopVlan,
    Push,
    PushVlan,
    Reason,
    Resubmit,
    SetField,
    ToController,
    ToGroup,
)
from controller.pipeline.registers import EGRESS_MARK, INGRESS_MARK
from controller.pipeline.stages import Stage
from controller.transport import TUNNEL_OFPORTS
from controller.transport.host_gw import SEGMENT_OFPORT
from tests.pure.connections import NEW, TRACKED, Packet

OWN_FIELDS = ("reg", "metadata", "ct_", "conj_id")
"""Fields that are the switch's own: zero until it writes them, and gone when the packet leaves."""


PRESENT = 0x1000
"""The bit of `vlan_vid` that says that there is a tag."""


class Conntrack(Protocol):
    def look(self, zone: int, packet: Packet) -> int: ...
    def commit(self, zone: int, packet: Packet, label: int) -> None: ...
    def translate(self, zone: int, packet: Packet, nat: Nat, commit: bool) -> Packet: ...


class Always(NamedTuple):
    """Conntrack reduced to one answer for every look-up."""

    ct_state: int

    def look(self, zone: int, packet: Packet) -> int:
        return self.ct_state

    def commit(self, zone: int, packet: Packet, label: int) -> None:
        pass

    def translate(self, zone: int, packet: Packet, nat: Nat, commit: bool) -> Packet:
        return packet


class Outcome(NamedTuple):
    """`port` is where it left first (None when dropped), `packet` as it left; `logged` when the controller got a copy.
    `ports` are all by which it left."""

    port: int | None
    reason: Reason | None
    packet: Packet
    path: tuple[Stage, ...]
    logged: bool = False
    ports: tuple[int, ...] = ()

    @property
    def delivered(self) -> bool:
        return self.port is not None


class Switch:
    """A program, indexed once for many packets."""

    def __init__(self, program: Iterable[Item]) -> None:
        tables: dict[Stage, list[Flow]] = {}
        self._groups: dict[int, list[Bucket]] = {}
        for item in program:
            if isinstance(item, Flow):
                tables.setdefault(item.table, []).append(item)
            else:
                self._groups.setdefault(item.group, []).append(item)
        self._tables = {stage: _Table(stage, table) for stage, table in tables.items()}

    def send(self, packet: Packet, conntrack: Conntrack) -> Outcome:
        """Of a packet that nothing copies."""
        (outcome,) = self.copies(packet, conntrack)
        return outcome

    def copies(self, packet: Packet, conntrack: Conntrack) -> list[Outcome]:
        """Where a packet ends, and each of its copies; none of a packet that a group without buckets swallows."""
        return self._go(_Run(packet, conntrack), Stage.CLASSIFY)

    def _go(self, run: _Run, stage: Stage | None) -> list[Outcome]:
        copies: list[Outcome] = []
        while stage is not None:
            run.path.append(stage)
            flow = self._tables[stage].look(run.packet) if stage in self._tables else None
            if flow is None:
                raise AssertionError(
                    f"{run.packet} falls out of {stage.name}: every stage must end in an explicit flow"
                )
            if flow.owner >= Kind.DROP:
                run.logged |= any(isinstance(action, ToController) for action in flow.actions)
                return [Outcome(None, Reason(flow.owner - Kind.DROP), run.packet, tuple(run.path), run.logged)]
            stage = flow.goto
            for action in flow.actions:
                match action:
                    case ToGroup(group):
                        copies += self._through(group, run)
                        run.copied = True
                    case Ct():
                        stage = run.track(flow, action)
                    case _:
                        run.do(action)
        if run.copied and not run.ports:
            return copies
        port = next(iter(run.ports), None)
        return [*copies, Outcome(port, None, run.packet, tuple(run.path), run.logged, tuple(run.ports))]

    def _through(self, group: int, run: _Run) -> list[Outcome]:
        assert group in self._groups, f"there is no group {group:#x}"
        found: list[Outcome] = []
        for bucket in self._groups[group]:
            if bucket.actions:
                copy = run.copy()
                found += self._go(copy, copy.resubmit(bucket))
        return found


def send(flows: Iterable[Item], packet: Packet, ct_state: int = TRACKED | NEW) -> Outcome:
    """One packet through one program. Every look-up of a connection is answered with `ct_state`."""
    return _switch(frozenset(flows)).send(packet, Always(ct_state))


@lru_cache(maxsize=16)
def _switch(flows: frozenset[Item]) -> Switch:
    return Switch(flows)


def arrive(sent: Outcome, source: tuple[int, int]) -> Packet:
    """The packet that comes to the other host; `source` is the sending host's (version, address)."""
    assert sent.port in {*TUNNEL_OFPORTS, SEGMENT_OFPORT}, f"not sent to a host: {sent}"
    inner = {
        field: value for field, value in sent.packet.items() if not field.startswith((*OWN_FIELDS, "tun_", "in_port"))
    }
    if sent.port == SEGMENT_OFPORT:
        return {**inner, "in_port": SEGMENT_OFPORT}
    source_field = "tun_src" if source[0] == 4 else "tun_ipv6_src"
    return {**inner, "in_port": sent.port, "tun_id": sent.packet["tun_id"], source_field: source[1]}


class _Run:
    """One packet on its way: its fields, the stack, and where it was told to go."""

    def __init__(self, packet: Packet, conntrack: Conntrack) -> None:
        self.packet = dict(packet)
        self.path: list[Stage] = []
        self.ports: list[int] = []
        self.logged = False
        self.copied = False
        self._stack: list[int] = []
        self._conntrack = conntrack

    def copy(self) -> _Run:
        copy = _Run(self.packet, self._conntrack)
        copy.path, copy.logged, copy._stack = list(self.path), self.logged, list(self._stack)
        return copy

    def resubmit(self, bucket: Bucket) -> Stage:
        """A bucket's actions are a set: all that set fields, and one that comes last."""
        *sets, last = bucket.actions
        assert isinstance(last, Resubmit) and all(isinstance(action, SetField | Move) for action in sets), bucket
        for action in sets:
            self.do(action)
        return last.stage

    def do(self, action: Action) -> None:
        packet = self.packet
        match action:
            case SetField(field, value, mask):
                mask = -1 if mask is None else mask
                packet[field] = (packet.get(field, 0) & ~mask) | (value & mask)
            case Move():
                _move(packet, packet, action)
            case Push(field):
                self._stack.append(packet.get(field, 0))
            case Pop(field):
                assert self._stack, f"{action} takes from an empty stack"
                packet[field] = self._stack.pop()
            case Output(number):
                self.ports.append(number)
            case OutputReg(register):
                self.ports.append(packet[register])
            case InPort():
                self.ports.append(packet["in_port"])
            case DecTtl():
                packet["nw_ttl"] -= 1
            case PushVlan():
                assert not packet.get("vlan_vid"), f"a second tag on {packet}"
                packet["vlan_vid"] = PRESENT
            case PopVlan():
                assert packet.get("vlan_vid", 0) & PRESENT, f"there is no tag to take off {packet}"
                packet["vlan_vid"] = 0
            case ToController():
                self.logged = True
            case _:
                raise AssertionError(f"no way to execute {action}")

    def track(self, flow: Flow, action: Ct) -> Stage | None:
        zone = action.zone if isinstance(action.zone, int) else _bits(self.packet, action.zone)
        state = self._conntrack.look(zone, self.packet)
        if action.commit:
            label = {"ct_label": 0}
            for note in action.notes:
                assert note.destination == "ct_label", f"{note} writes to what no connection keeps"
                _move(self.packet, label, note)
            self._conntrack.commit(zone, self.packet, label["ct_label"])
        if action.nat is not None:
            self.packet = self._conntrack.translate(zone, self.packet, action.nat, action.commit)
        if action.table is None:
            return flow.goto
        assert flow.goto is None, f"{flow} sends two packets on, one of them untracked"
        self.packet |= {"ct_state": state, "ct_zone": zone}
        return action.table


def _move(packet: Packet, into: Packet, move: Move) -> None:
    source, destination, bits, low, to = move
    value = (packet.get(source, 0) >> low) & ((1 << bits) - 1)
    clear = ~(((1 << bits) - 1) << to)
    into[destination] = (into.get(destination, 0) & clear) | value << to


def _bits(packet: Packet, name: str) -> int:
    """The value of `reg0[0..15]`."""
    field, _, span = name.removesuffix("]").partition("[")
    first, _, last = span.partition("..")
    return (packet.get(field, 0) >> int(first)) & ((1 << (int(last) - int(first) + 1)) - 1)


_Shape = tuple[tuple[str, int, int | None], ...]
"""(field, mask, value where the packet lacks it) for each field that a flow matches."""


class _Table:
    """Flows by falling priority; within a priority by shape, and within a shape by the values they ask for."""

    def __init__(self, stage: Stage, flows: Iterable[Flow]) -> None:
        self._stage = stage
        levels: dict[int, dict[_Shape, dict[tuple[int, ...], list[Flow]]]] = {}
        self._clauses: dict[int, int] = {}
        for flow in flows:
            shape, values = _shape(flow)
            levels.setdefault(flow.priority, {}).setdefault(shape, {}).setdefault(values, []).append(flow)
            for conjunction in _conjunctions(flow):
                clauses = self._clauses.setdefault(conjunction.id, conjunction.clauses)
                assert 1 <= conjunction.clause <= clauses == conjunction.clauses > 1, f"{flow} against {clauses}"
        self._levels = [list(levels[priority].items()) for priority in sorted(levels, reverse=True)]

    def look(self, packet: Packet) -> Flow | None:
        """The flow that the packet hits. A conjunction of which every clause is hit is looked up by its id."""
        for plain, clauses in self._hits(packet):
            winners = list(plain)
            for id in self._complete(clauses):
                of_id = next((plain for plain, _ in self._hits({**packet, "conj_id": id}) if plain), [])
                winners.extend(of_id)
            if winners:
                effects = {_effect(flow) for flow in winners}
                assert len(effects) == 1, f"{packet} hits flows of one priority that differ: {winners}"
                return winners[0]
        return None

    def _hits(self, packet: Packet) -> Iterator[tuple[list[Flow], list[Flow]]]:
        """For each priority at which something is hit: flows, and clauses of conjunctions."""
        keys: dict[_Shape, tuple[int, ...] | None] = {}
        for shapes in self._levels:
            hits: list[Flow] = []
            for shape, by_values in shapes:
                if shape not in keys:
                    keys[shape] = _key(packet, shape)
                key = keys[shape]
                if key is not None and key in by_values:
                    hits += by_values[key]
            if hits:
                clauses = [flow for flow in hits if flow.actions and isinstance(flow.actions[0], Conjunction)]
                yield [flow for flow in hits if flow not in clauses] if clauses else hits, clauses

    def _complete(self, clauses: list[Flow]) -> list[int]:
        seen: dict[int, set[int]] = {}
        for flow in clauses:
            for conjunction in _conjunctions(flow):
                seen.setdefault(conjunction.id, set()).add(conjunction.clause)
        return [id for id, hit in seen.items() if len(hit) == self._clauses[id]]


def _shape(flow: Flow) -> tuple[_Shape, tuple[int, ...]]:
    matches = sorted(flow.match, key=lambda match: match.field)
    assert len({match.field for match in matches}) == len(matches), f"{flow} matches one field twice"
    return tuple(map(_field, matches)), tuple(match.value for match in matches)


def _field(match: Match) -> tuple[str, int, int | None]:
    mask = -1 if match.mask is None else match.mask
    assert match.value & mask == match.value, f"{match} can never be true"
    return match.field, mask, 0 if match.field.startswith((*OWN_FIELDS, "vlan_vid")) else None


def _key(packet: Packet, shape: _Shape) -> tuple[int, ...] | None:
    """The packet's values under the shape's masks; None when it lacks a field."""
    key = []
    for field, mask, default in shape:
        value = packet.get(field, default)
        if value is None:
            return None
        key.append(value & mask)
    return tuple(key)


def _conjunctions(flow: Flow) -> list[Conjunction]:
    found = [action for action in flow.actions if isinstance(action, Conjunction)]
    assert not found or (len(found) == len(flow.actions) and flow.goto is None), f"{flow} is half a clause"
    return found


def _effect(flow: Flow) -> tuple[object, ...]:
    """What a flow does, whoever owns it; which of several rules that accept is noted may be chance."""
    does = tuple(a for a in flow.actions if not (isinstance(a, SetField) and a.field in (EGRESS_MARK, INGRESS_MARK)))
    return does, flow.goto, flow.owner if flow.owner >= Kind.DROP else None
