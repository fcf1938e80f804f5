"""From one world to the next, host by host: which flows to add and which to take away.

The engine keeps, for each host it was asked about, the fragments that the host carries, and each fragment compiled
once for all hosts. What "compiled" means is the caller's: encoded bytes in the controller, plain flows in tests.
After any sequence of steps a host's fragments equal a fresh `members` of the latest world (tested over random
histories), and the work done is counted so that tests can say what a change may cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import Generic, NamedTuple, TypeVar

from controller.calc.concern import concern
from controller.calc.membership import members, view
from controller.model import Change
from controller.pipeline.program import Key
from controller.world import World

Compiled = TypeVar("Compiled")


class Delta(NamedTuple, Generic[Compiled]):
    """What changes on one host. A flow may be in both when two objects swap it; adding wins."""

    added: list[Compiled]
    removed: list[Compiled]


class Work(NamedTuple):
    """What a step cost. `hosts`: those that get a delta; `fragments`, `flows`: compiled anew; `looks`: (host, fragment)
    pairs examined."""

    hosts: int = 0
    fragments: int = 0
    flows: int = 0
    looks: int = 0


class Engine(Generic[Compiled]):
    def __init__(self, world: World, compile: Callable[[World, Key], tuple[Compiled, ...]]) -> None:
        self.world = world
        self.work = Work()
        self._compile = compile
        self._fragments: dict[Key, tuple[Compiled, ...]] = {}
        self._carried: dict[int, set[Key]] = {}

    def attach(self, host: int) -> list[Compiled]:
        """Begin to follow a host; its whole program."""
        self.work = Work()
        carried = self._carried[host] = members(self.world, host)
        flows = [flow for key in sorted(carried) for flow in self._fragment(key)]
        self.work = self.work._replace(hosts=1, looks=len(carried))
        return flows

    def detach(self, host: int) -> None:
        self._forget_unused(self._carried.pop(host, ()))

    def carried(self, host: int) -> frozenset[Key]:
        return frozenset(self._carried[host])

    @property
    def keeps(self) -> AbstractSet[Key]:
        """The fragments that it has compiled: those that some host carries, and no others."""
        return self._fragments.keys()

    def program(self, host: int) -> Iterator[tuple[Key, tuple[Compiled, ...]]]:
        """The fragments of a followed host, in the order of their keys."""
        return ((key, self._fragment(key)) for key in sorted(self._carried[host]))

    def advance(self, world: World, changes: Iterable[Change]) -> dict[int, Delta[Compiled]]:
        """Step to `world`, which is the engine's world after `changes`. A delta for each followed host that changes."""
        self.work = Work()
        changes = list(changes)
        old, self.world = self.world, world
        concerned = concern(old, world, changes)

        # What hosts have now is taken away by its old text, so keep it until all deltas are made.
        outdated = {key: self._fragments.pop(key) for key in concerned.rewritten if key in self._fragments}

        to_look = concerned.looks(old, world, self._carried.keys())
        for host in concerned.reviewed & self._carried.keys():
            to_look.setdefault(host, set()).update(self._carried[host], members(world, host))

        deltas: dict[int, Delta[Compiled]] = {}
        dropped: set[Key] = set()
        looks = 0
        for host, keys in to_look.items():
            looks += len(keys)
            delta = self._look(host, keys, concerned.rewritten, outdated, dropped)
            if delta.added or delta.removed:
                deltas[host] = delta
        self.work = self.work._replace(hosts=len(deltas), looks=looks)
        self._forget_unused(dropped)
        return deltas

    def _look(
        self,
        host: int,
        keys: set[Key],
        rewritten: frozenset[Key],
        outdated: dict[Key, tuple[Compiled, ...]],
        dropped: set[Key],
    ) -> Delta[Compiled]:
        seen, carried = view(self.world, host), self._carried[host]
        delta: Delta[Compiled] = Delta([], [])
        for key in sorted(keys):
            had, has = key in carried, seen.carries(key)
            if not has:
                if had:
                    carried.discard(key)
                    dropped.add(key)
                    delta.removed.extend(outdated[key] if key in outdated else self._fragments[key])
                continue
            if had and key not in rewritten:
                continue
            carried.add(key)
            now = self._fragment(key)
            was = outdated.get(key, ()) if had else ()
            before, after = set(was), set(now)
            delta.added.extend(flow for flow in now if flow not in before)
            delta.removed.extend(flow for flow in was if flow not in after)
        return delta

    def _fragment(self, key: Key) -> tuple[Compiled, ...]:
        compiled = self._fragments.get(key)
        if compiled is None:
            compiled = self._fragments[key] = self._compile(self.world, key)
            self.work = self.work._replace(fragments=self.work.fragments + 1, flows=self.work.flows + len(compiled))
        return compiled

    def _forget_unused(self, keys: Iterable[Key]) -> None:
        """What no host carries is not named when it reads differently: kept, it would be old when carried again."""
        for key in keys:
            if not any(key in carried for carried in self._carried.values()):
                self._fragments.pop(key, None)
