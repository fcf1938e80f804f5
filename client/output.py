"""What a command prints: an aligned table for people, JSON or YAML for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import click

Column = tuple[str, Callable[[Any], Any]]
"""A heading and how its cell is read from an item."""


def column(heading: str, key: str | None = None) -> Column:
    name = key or heading.lower().replace(" ", "_")
    return heading, lambda item: item.get(name)


def listing(output: str, items: Iterable[Any], columns: Sequence[Column], empty: str = "None yet.") -> None:
    """A list: `{"items": [...]}` for programs."""
    found = list(items)
    if output != "table":
        data(output, {"items": found})
    elif not found:
        click.echo(empty, err=True)
    else:
        rows = [[cell(read(item)) for _, read in columns] for item in found]
        for line in aligned([[heading for heading, _ in columns], *rows]):
            click.echo(line)


def thing(output: str, item: Mapping[str, Any]) -> None:
    """One object: its fields, a line each."""
    if output != "table":
        data(output, item)
        return
    rows = [[name.replace("_", " "), line] for name, value in item.items() for line in _lines(value)]
    previous = ""
    for row in rows:
        row[0], previous = ("" if row[0] == previous else row[0]), row[0]
    for line in aligned(rows):
        click.echo(line)


def said(output: str, sentence: str, value: Mapping[str, Any]) -> None:
    """What was done: a sentence for people, the facts for programs."""
    if output == "table":
        click.echo(sentence)
    else:
        data(output, value)


def data(output: str, value: Any) -> None:
    if output == "yaml":
        import yaml

        click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)
    else:
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))] if rows else []
    return ["  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def cell(value: Any) -> str:
    """A value in a table's cell."""
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ",".join(f"{key}={cell(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ",".join(cell(inner) for inner in value)
    return str(value)


def moment(text: str | None) -> str:
    """`2026-11-20T12:36:55.838685Z` to the second."""
    return text[:19].replace("T", " ") if text else "-"


def _lines(value: Any) -> list[str]:
    """A value of `show`: what has several parts gets a line for each."""
    if isinstance(value, list) and value and isinstance(value[0], Mapping):
        return ["  ".join(f"{key} {cell(inner)}" for key, inner in part.items()) for part in value]
    if isinstance(value, Mapping) and value:
        return [f"{key}={cell(inner)}" for key, inner in _flat(value)]
    if isinstance(value, list) and value:
        return [cell(part) for part in value]
    return [cell(value)]


def _flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """`{"bridge": {"name": "warren0"}}` as `bridge.name`."""
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from _flat(inner, f"{path}{key}.")
        else:
            yield path + key, inner
