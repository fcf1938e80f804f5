"""A document's fields, one at a time: each is what it should be, or is refused by its path, its value and the remedy.

Null counts as not given, as it does in Kubernetes; a field that nobody knows does not, for a misspelt `ports` would
allow every port. Knows how values may be shaped, and not what they mean.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterator
from typing import Any, NoReturn

Path = tuple[str | int, ...]
"""Where a value stands: `("spec", "ingress", 0)`."""

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_LONGEST_SHOWN = 60


class Refused(ValueError):  # noqa: N818 - a refusal is not an error of the program
    """What is wrong with the value at `path`, and what to do."""

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        super().__init__(f"{written(path)}: {problem}; {remedy}")
        self.path = path
        self.problem = problem
        self.remedy = remedy


def refuse(path: Path, problem: str, remedy: str) -> NoReturn:
    raise Refused(path, problem, remedy)


def written(path: Path) -> str:
    """`spec.ingress[0].ports[1].port`."""
    text = ""
    for step in path:
        if isinstance(step, int) or not _PLAIN.fullmatch(step):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text or "the document"


def shown(value: object) -> str:
    """A value in a sentence, as JSON, and cut when long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


def mapping(value: Any, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        refuse(path, f"{shown(value)} is not a mapping", "write KEY: VALUE lines below it")
    return value


def fields(value: Any, path: Path, known: Collection[str]) -> dict[str, Any]:
    """A mapping's fields that are given, all of which must be `known`."""
    found = mapping(value, path)
    for name in found:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            remedy = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
            refuse((*path, name), "this field is not known here", remedy)
    return {name: inner for name, inner in found.items() if inner is not None}


def needed(found: dict[str, Any], name: str, path: Path, remedy: str = "add it") -> Any:
    value = found.get(name)
    if value is None:
        refuse((*path, name), "it is missing", remedy)
    return value


def only(found: dict[str, Any], path: Path, choices: Collection[str]) -> str:
    """The name of the only field that is given."""
    if len(found) != 1:
        given = " and ".join(sorted(found)) if found else "nothing"
        remedy = f"give exactly one of {', '.join(choices)}" if len(choices) > 1 else f"give {next(iter(choices))}"
        refuse(path, f"it has {given}", remedy)
    return next(iter(found))


def items(value: Any, path: Path, *, least: int = 0, most: int | None = None) -> Iterator[tuple[Path, Any]]:
    """A list's items with their paths; nothing at all is the empty list."""
    if value is None:
        value = []
    if not isinstance(value, list):
        refuse(path, f"{shown(value)} is not a list", 'write a list, with "- " before each item')
    if len(value) < least:
        refuse(path, "it is empty", "give at least one item")
    if most is not None and len(value) > most:
        refuse(path, f"{len(value)} items are too many", f"give at most {most}")
    for number, item in enumerate(value):
        yield (*path, number), item


def text(value: Any, path: Path, what: str = "a string") -> str:
    if not isinstance(value, str):
        scalar = isinstance(value, bool | int | float)
        refuse(path, f"{shown(value)} is not {what}", "put it in quotes" if scalar else "write a string")
    return value


def integer(value: Any, path: Path, what: str, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        refuse(path, f"{shown(value)} is not {what}", f"use {low} to {high}")
    return value


def flag(value: Any, path: Path) -> bool:
    if not isinstance(value, bool):
        refuse(path, f"{shown(value)} is neither true nor false", "write true or false")
    return value


def choice(value: Any, path: Path, choices: Collection[str]) -> str:
    if not isinstance(value, str) or value not in choices:
        refuse(path, f"{shown(value)} is not possible", f"use {' or '.join(choices)}")
    return value
