"""Two-level maps that are copied only where they change: what the world's indexes are made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Index(Generic[Key, Value]):
    """A two-level map that copies a level only when it first changes, and keeps no empty inner map."""

    def __init__(self, old: Mapping[Key, Mapping[int, Value]]) -> None:
        self._old = old
        self._outer: dict[Key, Mapping[int, Value]] | None = None
        self._inner: dict[Key, dict[int, Value]] = {}

    @property
    def nested(self) -> Mapping[Key, Mapping[int, Value]]:
        if self._outer is None:
            return self._old
        for key, inner in self._inner.items():
            if inner:
                self._outer[key] = inner
            else:
                self._outer.pop(key, None)
        return self._outer

    def holds(self, key: Key) -> bool:
        return bool(self._inner[key] if key in self._inner else self._old.get(key))

    def writable(self, key: Key) -> dict[int, Value]:
        if self._outer is None:
            self._outer = dict(self._old)
        inner = self._inner.get(key)
        if inner is None:
            inner = self._inner[key] = dict(self._outer.get(key, {}))
        return inner

    def put(self, key: Key, id: int, value: Value) -> None:
        self.writable(key)[id] = value

    def discard(self, key: Key, id: int) -> None:
        self.writable(key).pop(id, None)


def count(index: Index[int, int], key: int, id: int, amount: int) -> None:
    inner = index.writable(key)
    inner[id] = inner.get(id, 0) + amount
    if not inner[id]:
        del inner[id]
